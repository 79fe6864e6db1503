/* What pictures add around a step, against plain C. */
#include "tests/gpu/support_ops.h"

enum { N = 3, H = 5, W = 7, C = 4, COUNT = N * H * W * C };

static void outside_the_mask_lies_the_known_picture(void **state)
{
    float x[COUNT], z[COUNT], noise[COUNT], mask[H * W];
    for (int i = 0; i < COUNT; i++) {
        x[i] = sinf((float)i);
        z[i] = cosf((float)i * 2);
        noise[i] = sinf((float)i * 3);
    }
    for (int i = 0; i < H * W; i++)
        mask[i] = (float)(i % 3 == 0);
    struct tensor device[] = {tensor_from(DTYPE_F32, N, H, W, C, x),
                              tensor_from(DTYPE_F32, N, H, W, C, z),
                              tensor_from(DTYPE_F32, N, H, W, C, noise),
                              tensor_from(DTYPE_F32, 1, H, W, 1, mask)};
    struct error error = {0};
    struct stream *s = stream_new(gpu, DTYPE_F32, &error);
    assert_non_null(s);
    stream_plan(s);
    blend_known(s, device[0], device[1], device[2], device[3], 0.75F, 0.5F);
    assert_true(stream_ready(s, &error));
    stream_run(s);
    blend_known(s, device[0], device[1], device[2], device[3], 0.75F, 0.5F);
    assert_true(stream_end(s, &error));
    float *found = tensor_values(&device[0]);
    for (int i = 0; i < COUNT; i++) {
        if (mask[i / C % (H * W)] == 1)
            assert_true(found[i] == x[i]);
        else
            assert_true(fabsf(found[i] - (0.75F * z[i] + 0.5F * noise[i])) < 1e-6F);
    }
    free(found);
    for (int i = 0; i < 4; i++)
        tensor_destroy(&device[i], gpu);
    stream_destroy(&s);
}

static void
outside_the_mask_input_and_output_are_held_to_the_known_picture(void **state)
{
    static const struct hold hold = {0.5F, 0.25F, 2, -3};
    float x[COUNT], z[COUNT], e[2 * COUNT], mask[H * W], none[COUNT] = {0};
    for (int i = 0; i < 2 * COUNT; i++)
        e[i] = sinf((float)i * 5);
    for (int i = 0; i < COUNT; i++) {
        x[i] = sinf((float)i);
        z[i] = cosf((float)i * 2);
    }
    for (int i = 0; i < H * W; i++)
        mask[i] = (float)(i % 3) / 2;
    for (int half = 0; half < 2; half++) {
        enum dtype dtype = half ? DTYPE_F16 : DTYPE_F32;
        struct tensor device[] = {tensor_from(DTYPE_F32, N, H, W, C, x),
                                  tensor_from(DTYPE_F32, N, H, W, C, z),
                                  tensor_from(DTYPE_F32, 1, H, W, 1, mask),
                                  tensor_from(DTYPE_F32, N, H, W, C, none),
                                  tensor_from(dtype, 2 * N, H, W, C, e)};
        struct error error = {0};
        struct stream *s = stream_new(gpu, dtype, &error);
        assert_non_null(s);
        for (int runs = 0; runs < 2; runs++) {
            (runs ? stream_run : stream_plan)(s);
            hold_input(s, device[3], device[0], device[1], device[2], &hold);
            hold_output(s, device[4], device[0], device[1], device[2], &hold);
            assert_true(runs ? stream_end(s, &error) : stream_ready(s, &error));
        }
        float *input = tensor_values(&device[3]), *output = tensor_values(&device[4]);
        for (int i = 0; i < 2 * COUNT; i++) {
            int j = i % COUNT;
            float m = mask[j / C % (H * W)];
            float held = 0.25F * e[i] + 2 * z[j] - 3 * x[j];
            float want = m * e[i] + (1 - m) * held;
            assert_true(fabsf(output[i] - want) < (half ? 1e-2F : 1e-5F));
            want = x[j] + (1 - m) * 0.5F * (z[j] - x[j]);
            assert_true(fabsf(input[j] - want) < 1e-6F);
        }
        free(input);
        free(output);
        for (int i = 0; i < 5; i++)
            tensor_destroy(&device[i], gpu);
        stream_destroy(&s);
    }
}

static void three_sets_of_rows_are_mixed_by_their_factors(void **state)
{
    float e[3 * COUNT], none[COUNT] = {0};
    const float factors[] = {-0.5F, -5.0F, 6.5F};
    for (int i = 0; i < 3 * COUNT; i++)
        e[i] = sinf((float)i);
    for (int half = 0; half < 2; half++) {
        enum dtype dtype = half ? DTYPE_F16 : DTYPE_F32;
        struct tensor from = tensor_from(dtype, 3 * N, H, W, C, e);
        struct tensor to = tensor_from(dtype, N, H, W, C, none);
        struct error error = {0};
        struct stream *s = stream_new(gpu, dtype, &error);
        assert_non_null(s);
        stream_plan(s);
        mix_three(s, to, from, factors);
        assert_true(stream_ready(s, &error));
        stream_run(s);
        mix_three(s, to, from, factors);
        assert_true(stream_end(s, &error));
        float *found = tensor_values(&to);
        for (int i = 0; i < COUNT; i++) {
            float want = -0.5F * e[i] - 5.0F * e[COUNT + i] + 6.5F * e[2 * COUNT + i];
            assert_true(fabsf(found[i] - want) < (half ? 2e-2F : 1e-5F));
        }
        free(found);
        tensor_destroy(&from, gpu);
        tensor_destroy(&to, gpu);
        stream_destroy(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outside_the_mask_lies_the_known_picture),
        cmocka_unit_test(
            outside_the_mask_input_and_output_are_held_to_the_known_picture),
        cmocka_unit_test(three_sets_of_rows_are_mixed_by_their_factors),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
