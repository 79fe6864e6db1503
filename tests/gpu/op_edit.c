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

/* Latents, the picture's own, noise, the mask, and the outputs of two rows an image. */
struct values {
    float x[COUNT], z[COUNT], noise[COUNT], mask[H * W], e[2 * COUNT];
};

static struct values make_values(void)
{
    struct values values;
    for (int i = 0; i < 2 * COUNT; i++)
        values.e[i] = sinf((float)i * 5);
    for (int i = 0; i < COUNT; i++) {
        values.x[i] = sinf((float)i);
        values.z[i] = cosf((float)i * 2);
        values.noise[i] = cosf((float)i * 3);
    }
    for (int i = 0; i < H * W; i++)
        values.mask[i] = (float)(i % 3) / 2;
    return values;
}

/* What the device makes of the input and, in place, of the output. */
static void hold_both(struct values *values, const struct hold *hold, enum dtype dtype,
                      float input[COUNT])
{
    float none[COUNT] = {0};
    struct tensor x = tensor_from(DTYPE_F32, N, H, W, C, values->x);
    struct tensor y = tensor_from(DTYPE_F32, N, H, W, C, none);
    struct tensor e = tensor_from(dtype, 2 * N, H, W, C, values->e);
    struct anchor held = {tensor_from(DTYPE_F32, N, H, W, C, values->z),
                          tensor_from(DTYPE_F32, N, H, W, C, values->noise),
                          tensor_from(DTYPE_F32, 1, H, W, 1, values->mask)};
    struct tensor *all[] = {&x, &y, &e, &held.z, &held.noise, &held.mask};
    struct error error = {0};
    struct stream *s = stream_new(gpu, dtype, &error);
    assert_non_null(s);
    for (int runs = 0; runs < 2; runs++) {
        (runs ? stream_run : stream_plan)(s);
        hold_input(s, y, x, &held, hold);
        hold_output(s, e, x, &held, hold);
        assert_true(runs ? stream_end(s, &error) : stream_ready(s, &error));
    }
    float *made = tensor_values(&y), *output = tensor_values(&e);
    memcpy(input, made, COUNT * sizeof *input);
    memcpy(values->e, output, 2 * COUNT * sizeof *output);
    free(made);
    free(output);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tensor_destroy(all[i], gpu);
    stream_destroy(&s);
}

/* What lies there of the picture, and by how much a row is changed, at place j. */
static float known_at(const struct values *v, const struct hold *hold, int j)
{
    return hold->image * v->z[j] + hold->noise * v->noise[j];
}

static float held_at(const struct values *v, const struct hold *hold, int j, float e)
{
    float m = v->mask[j / C % (H * W)], gap = v->x[j] - known_at(v, hold, j);
    return m * e + (1 - m) * (hold->of_e * e + hold->of_z * v->z[j] +
                              hold->of_x * v->x[j] + m * hold->of_gap * gap);
}

static void
outside_the_mask_input_and_output_are_held_to_the_known_picture(void **state)
{
    static const struct hold hold = {.sees = 0.5F,
                                     .image = 0.75F,
                                     .noise = 2,
                                     .of_e = 0.25F,
                                     .of_z = 2,
                                     .of_x = -3,
                                     .of_gap = 1.5F};
    const struct values was = make_values();
    for (int half = 0; half < 2; half++) {
        struct values made = was;
        float input[COUNT];
        hold_both(&made, &hold, half ? DTYPE_F16 : DTYPE_F32, input);
        for (int i = 0; i < 2 * COUNT; i++) {
            int j = i % COUNT;
            float want = held_at(&was, &hold, j, was.e[i]);
            float m = was.mask[j / C % (H * W)];
            assert_true(fabsf(made.e[i] - want) < (half ? 2e-2F : 1e-5F));
            want = was.x[j] + (1 - m) * 0.5F * (known_at(&was, &hold, j) - was.x[j]);
            assert_true(fabsf(input[j] - want) < 1e-6F);
        }
    }
}

static void rows_read_by_themselves_are_held_so_that_both_guided_are(void **state)
{
    static const struct hold hold = {.sees = 1,
                                     .image = 1,
                                     .noise = 2,
                                     .of_z = -0.5F,
                                     .of_x = 0.5F,
                                     .of_gap = 0.5F,
                                     .guidance = 3};
    const struct values was = make_values();
    struct values made = was;
    float input[COUNT];
    hold_both(&made, &hold, DTYPE_F32, input);
    for (int j = 0; j < COUNT; j++) {
        float m = was.mask[j / C % (H * W)], plain = was.e[j], own = made.e[j];
        float both = plain + 3 * (was.e[COUNT + j] - plain);
        float want = plain + (1 - m) * 0.5F * (was.x[j] - known_at(&was, &hold, j));
        assert_true(fabsf(own - want) < 1e-5F);
        want = held_at(&was, &hold, j, both);
        assert_true(fabsf(own + 3 * (made.e[COUNT + j] - own) - want) < 1e-5F);
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
        cmocka_unit_test(rows_read_by_themselves_are_held_so_that_both_guided_are),
        cmocka_unit_test(three_sets_of_rows_are_mixed_by_their_factors),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
