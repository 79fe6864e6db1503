#include "tests/gpu/support_ops.h"

struct call {
    struct tensor y, x;
    struct norm w;
    size_t groups; /* 0: layer_norm */
    enum activation activation;
};

static void enqueue(struct stream *s, void *context)
{
    struct call *call = context;
    if (call->groups)
        group_norm(s, call->y, call->x, &call->w, call->groups, call->activation);
    else
        layer_norm(s, call->y, call->x, &call->w);
}

struct size {
    size_t n, h, w, c, groups;
};

/* Normalises x on the device, in place or not; the result is the caller's to free. */
static float *normalise(struct size z, enum dtype dtype, enum activation activation,
                        const float *x, const float *gamma, const float *beta,
                        bool in_place)
{
    struct host_tensor g = host_floats(gamma, 1, &z.c), b = host_floats(beta, 1, &z.c);
    struct call call = {.groups = z.groups, .activation = activation};
    assert_ok(norm_load(&call.w, gpu, 1e-5F, &g, &b, &error));
    call.x = tensor_from(dtype, z.n, z.h, z.w, z.c, x);
    call.y = tensor_from(dtype, z.n, z.h, z.w, z.c, NULL);
    struct tensor apart = call.y;
    if (in_place)
        call.y = call.x;
    run_stream(dtype, enqueue, &call);
    float *values = tensor_values(&call.y);
    tensor_destroy(&apart, gpu);
    tensor_destroy(&call.x, gpu);
    norm_clear(&call.w, gpu);
    return values;
}

static void check(struct size z, enum dtype dtype, enum activation activation,
                  float mean)
{
    size_t count = z.n * z.h * z.w * z.c;
    float *x = random_values(count, dtype, 1);
    float *gamma = random_values(z.c, DTYPE_F32, 2);
    float *beta = random_values(z.c, DTYPE_F32, 3);
    double *want = malloc(count * sizeof *want);
    for (size_t i = 0; i < count; i++)
        x[i] += mean;
    if (z.groups)
        reference_group_norm(want, x, gamma, beta, z.n, z.h * z.w, z.c, z.groups, 1e-5F,
                             activation);
    else
        reference_layer_norm(want, x, gamma, beta, z.n * z.h * z.w, z.c, 1e-5F);
    for (int in_place = 0; in_place < 2; in_place++) {
        float *y = normalise(z, dtype, activation, x, gamma, beta, in_place);
        double off = relative_error(y, want, count);
        if (!(off < (dtype == DTYPE_F16 ? 1e-3 : 1e-5)))
            fail_msg("%zu x %zu x %zu x %zu in %zu groups: relative error %g", z.n, z.h,
                     z.w, z.c, z.groups, off);
        free(y);
    }
    free(x);
    free(gamma);
    free(beta);
    free(want);
}

static const struct size group_sizes[] = {{1, 1, 1, 8, 2},    {2, 9, 13, 320, 32},
                                          {3, 5, 7, 33, 11},  {2, 16, 16, 64, 1},
                                          {1, 3, 43, 96, 96}, {2, 8, 8, 20, 4}};
enum { GROUP_SIZES = sizeof group_sizes / sizeof *group_sizes };

static void groups_of_any_width_are_normalised(void **state)
{
    for (size_t i = 0; i < GROUP_SIZES; i++) {
        check(group_sizes[i], DTYPE_F32, ACTIVATION_NONE, 0);
        check(group_sizes[i], DTYPE_F32, ACTIVATION_SILU, 0.5F);
        check(group_sizes[i], DTYPE_F16, ACTIVATION_SILU, 0);
    }
}

static void layers_of_any_width_are_normalised(void **state)
{
    static const struct size sizes[] = {
        {1, 1, 1, 3, 0}, {2, 1, 77, 768, 0}, {1, 5, 7, 323, 0}, {3, 1, 5, 8, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check(sizes[i], DTYPE_F32, ACTIVATION_NONE, 0);
        check(sizes[i], DTYPE_F16, ACTIVATION_NONE, 0);
    }
}

/* Uniform values from -1 to 1 deviate by 0.577. */
static void a_mean_of_a_hundred_deviations_costs_no_digits(void **state)
{
    check((struct size){2, 17, 13, 320, 32}, DTYPE_F32, ACTIVATION_NONE, 57.7F);
    check((struct size){2, 1, 9, 320, 0}, DTYPE_F32, ACTIVATION_NONE, -57.7F);
}

static void a_picture_does_not_depend_on_the_batch(void **state)
{
    struct size all = {3, 9, 13, 64, 32}, one = {1, 9, 13, 64, 32};
    enum { COUNT = 9 * 13 * 64 };
    float *x = random_values(3 * COUNT, DTYPE_F32, 1);
    float *gamma = random_values(64, DTYPE_F32, 2);
    float *y = normalise(all, DTYPE_F32, ACTIVATION_SILU, x, gamma, gamma, false);
    for (size_t i = 0; i < 3; i++) {
        float *alone = normalise(one, DTYPE_F32, ACTIVATION_SILU, x + i * COUNT, gamma,
                                 gamma, false);
        assert_memory_equal(alone, y + i * COUNT, COUNT * sizeof *alone);
        free(alone);
    }
    free(x);
    free(gamma);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_any_width_are_normalised),
        cmocka_unit_test(layers_of_any_width_are_normalised),
        cmocka_unit_test(a_mean_of_a_hundred_deviations_costs_no_digits),
        cmocka_unit_test(a_picture_does_not_depend_on_the_batch),
    };
    return run_on_both_paths(tests);
}
