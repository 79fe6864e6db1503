#include "tests/gpu/support_ops.h"

enum { COUNT = 2 * 3 * 5 * 37 };

static const enum activation activations[] = {
    ACTIVATION_SILU, ACTIVATION_GELU, ACTIVATION_QUICK_GELU, ACTIVATION_GELU_TANH,
    ACTIVATION_MISH, ACTIVATION_RELU, ACTIVATION_SOFT_CLAMP,
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

struct call {
    enum { ACTIVATE, ADD, CONCAT, SCALE, AFFINE } op;
    enum activation activation;
    struct tensor y, a, b;
};

static void enqueue(struct stream *s, void *context)
{
    struct call *call = context;
    if (call->op == ACTIVATE)
        activate(s, call->y, call->a, call->activation);
    else if (call->op == AFFINE)
        affine(s, call->y, call->a, -0.75F, 0.25F);
    else if (call->op == ADD)
        add(s, call->y, call->a, call->b);
    else if (call->op == CONCAT)
        concat(s, call->y, call->a, call->b);
    else
        scale(s, call->y, call->a, -0.75F);
}

static double wanted(const struct call *call, double a, double b)
{
    switch (call->op) {
    case ACTIVATE:
        return reference_activate(a, call->activation);
    case ADD:
        return a + b;
    case AFFINE:
        return -0.75 * a + 0.25;
    default:
        return -0.75 * a;
    }
}

static void check(struct call call, enum dtype dtype, bool in_place)
{
    float *a = random_values(COUNT, dtype, 1), *b = random_values(COUNT, dtype, 2);
    double want[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        a[i] *= 8;
        want[i] = wanted(&call, a[i], b[i]);
    }
    call.a = tensor_from(dtype, 2, 3, 5, 37, a);
    call.b = tensor_from(dtype, 2, 3, 5, 37, b);
    struct tensor apart = tensor_from(dtype, 2, 3, 5, 37, NULL);
    call.y = in_place ? call.a : apart;
    run_stream(dtype, enqueue, &call);
    assert_close(&call.y, want);
    tensor_destroy(&call.a, gpu);
    tensor_destroy(&call.b, gpu);
    tensor_destroy(&apart, gpu);
    free(a);
    free(b);
}

static void elements_of_odd_counts_are_all_computed(void **state)
{
    for (int half = 0; half < 2; half++)
        for (int in_place = 0; in_place < 2; in_place++) {
            enum dtype dtype = half ? DTYPE_F16 : DTYPE_F32;
            check((struct call){.op = ADD}, dtype, in_place);
            check((struct call){.op = SCALE}, dtype, in_place);
            check((struct call){.op = AFFINE}, dtype, in_place);
            for (size_t i = (size_t)half; i < ACTIVATIONS; i += 2)
                check((struct call){.op = ACTIVATE, .activation = activations[i]},
                      dtype, in_place);
        }
}

static void activations_of_large_values_stay_finite(void **state)
{
    float values[] = {-1e12F, -200, -88, 88, 200, 1e12F, 0, -1e-30F};
    for (size_t k = 0; k < ACTIVATIONS; k++) {
        struct call call = {.op = ACTIVATE, .activation = activations[k]};
        bool clamps = call.activation == ACTIVATION_SOFT_CLAMP;
        call.a = tensor_from(DTYPE_F32, 1, 1, 1, 8, values);
        call.y = tensor_from(DTYPE_F32, 1, 1, 1, 8, NULL);
        run_stream(DTYPE_F32, enqueue, &call);
        float *y = tensor_values(&call.y);
        for (size_t i = 0; i < 8; i++) {
            double want = values[i] < 0 ? 0 : values[i];
            if (clamps)
                want = 3 * tanh(values[i] / 3.0);
            assert_true(fabs(y[i] - want) <= 1e-6 * fabs(want) + 1e-6);
        }
        free(y);
        tensor_destroy(&call.a, gpu);
        tensor_destroy(&call.y, gpu);
    }
}

static void channels_of_two_tensors_stand_side_by_side(void **state)
{
    static const size_t channels[][2] = {{1, 1}, {3, 13}, {16, 8}, {37, 20}, {8, 33}};
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        size_t ca = channels[i][0], cb = channels[i][1], c = ca + cb;
        float *a = random_values(30 * ca, DTYPE_F32, 1);
        float *b = random_values(30 * cb, DTYPE_F32, 2);
        struct call call = {.op = CONCAT,
                            .a = tensor_from(DTYPE_F32, 2, 3, 5, ca, a),
                            .b = tensor_from(DTYPE_F32, 2, 3, 5, cb, b),
                            .y = tensor_from(DTYPE_F32, 2, 3, 5, c, NULL)};
        run_stream(DTYPE_F32, enqueue, &call);
        float *y = tensor_values(&call.y);
        for (size_t row = 0; row < 30; row++) {
            assert_memory_equal(y + row * c, a + row * ca, ca * sizeof *a);
            assert_memory_equal(y + row * c + ca, b + row * cb, cb * sizeof *b);
        }
        tensor_destroy(&call.a, gpu);
        tensor_destroy(&call.b, gpu);
        tensor_destroy(&call.y, gpu);
        free(a);
        free(b);
        free(y);
    }
}

static void enqueue_modulate(struct stream *s, void *context)
{
    struct call *call = context;
    modulate(s, call->y, call->a, call->b, call->activation);
}

static void each_row_of_a_batch_is_modulated_by_its_own(void **state)
{
    for (int half = 0; half < 2; half++) {
        enum dtype dtype = half ? DTYPE_F16 : DTYPE_F32;
        float *x = random_values(COUNT, dtype, 1);
        float *row = random_values((size_t)2 * 2 * 37, dtype, 2);
        double want[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
            const float *own = row + i / (3 * 5 * 37) * 2 * 37;
            double v = x[i] * (1.0 + own[i % 37]) + own[37 + i % 37];
            want[i] = reference_activate(v, half ? ACTIVATION_MISH : ACTIVATION_SILU);
        }
        struct call call = {.activation = half ? ACTIVATION_MISH : ACTIVATION_SILU,
                            .a = tensor_from(dtype, 2, 3, 5, 37, x),
                            .b = tensor_from(dtype, 2, 1, 1, 74, row)};
        call.y = call.a;
        run_stream(dtype, enqueue_modulate, &call);
        assert_close(&call.y, want);
        tensor_destroy(&call.a, gpu);
        tensor_destroy(&call.b, gpu);
        free(row);
        free(x);
    }
}

static void scaling_converts_between_float_and_half(void **state)
{
    for (int to_half = 0; to_half < 2; to_half++) {
        enum dtype from = to_half ? DTYPE_F32 : DTYPE_F16;
        enum dtype to = to_half ? DTYPE_F16 : DTYPE_F32;
        float *a = random_values(COUNT, from, 1);
        double want[COUNT];
        for (size_t i = 0; i < COUNT; i++)
            want[i] = -0.75 * a[i];
        struct call call = {.op = SCALE,
                            .a = tensor_from(from, 2, 3, 5, 37, a),
                            .y = tensor_from(to, 2, 3, 5, 37, NULL)};
        run_stream(to, enqueue, &call);
        assert_close(&call.y, want);
        tensor_destroy(&call.a, gpu);
        tensor_destroy(&call.y, gpu);
        free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_of_odd_counts_are_all_computed),
        cmocka_unit_test(activations_of_large_values_stay_finite),
        cmocka_unit_test(channels_of_two_tensors_stand_side_by_side),
        cmocka_unit_test(each_row_of_a_batch_is_modulated_by_its_own),
        cmocka_unit_test(scaling_converts_between_float_and_half),
    };
    return run_on_both_paths(tests);
}
