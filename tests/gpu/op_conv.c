#include "tests/gpu/support_ops.h"

struct call {
    struct tensor y, x, row_bias, residual;
    struct conv w;
    struct conv_options options;
};

static void enqueue(struct stream *s, void *context)
{
    struct call *call = context;
    conv2d(s, call->y, call->x, &call->w, &call->options);
}

/* Runs the convolution on the device; the result is the caller's to free. */
static float *convolve(const struct reference_conv *c, enum dtype dtype, const float *x)
{
    size_t h = reference_conv_height(c), w = reference_conv_width(c);
    struct host_tensor weight =
        host_floats(c->weight, 4, (size_t[4]){c->out, c->in, c->size, c->size});
    struct host_tensor bias = host_floats(c->bias, 1, (size_t[4]){c->out});
    struct call call = {.options = {.stride = (unsigned)c->stride,
                                    .pad_end = c->pad_end,
                                    .up_h = c->up_h,
                                    .up_w = c->up_w,
                                    .activation = c->activation}};
    assert_ok(conv_load(&call.w, gpu, dtype, &weight, c->bias ? &bias : NULL, &error));
    call.x = tensor_from(dtype, c->n, c->h, c->w, c->in, x);
    call.y = tensor_from(dtype, c->n, h, w, c->out, NULL);
    call.row_bias = tensor_from(dtype, c->n, 1, 1, c->out, c->row_bias);
    call.residual = tensor_from(dtype, c->n, h, w, c->out, c->residual);
    call.options.row_bias = c->row_bias ? &call.row_bias : NULL;
    call.options.residual = c->residual ? &call.residual : NULL;
    run_stream(dtype, enqueue, &call);
    float *y = tensor_values(&call.y);
    tensor_destroy(&call.x, gpu);
    tensor_destroy(&call.y, gpu);
    tensor_destroy(&call.row_bias, gpu);
    tensor_destroy(&call.residual, gpu);
    conv_clear(&call.w, gpu);
    return y;
}

/* Fills in random weights and compares with the reference. extras: row bias, residual. */
static void check(struct reference_conv c, enum dtype dtype, bool extras)
{
    size_t h = reference_conv_height(&c), w = reference_conv_width(&c);
    size_t count = c.n * h * w * c.out;
    float *x = random_values(c.n * c.h * c.w * c.in, dtype, 1);
    float *weight = random_values(c.out * c.in * c.size * c.size, dtype, 2);
    float *bias = random_values(c.out, DTYPE_F32, 3);
    float *row_bias = random_values(c.n * c.out, dtype, 4);
    float *residual = random_values(count, dtype, 5);
    double *want = malloc(count * sizeof *want);
    c.weight = weight;
    c.bias = bias;
    c.row_bias = extras ? row_bias : NULL;
    c.residual = extras ? residual : NULL;
    reference_conv(want, x, &c);
    float *y = convolve(&c, dtype, x);
    double off = relative_error(y, want, count);
    if (!(off < (dtype == DTYPE_F16 ? 1e-3 : 1e-5)))
        fail_msg("%zu x %zu x %zu -> %zu, size %zu, stride %zu, up %zu x %zu: relative "
                 "error %g",
                 c.h, c.w, c.in, c.out, c.size, c.stride, c.up_h, c.up_w, off);
    free(x);
    free(weight);
    free(bias);
    free(row_bias);
    free(residual);
    free(want);
    free(y);
}

/* For all of channels few and many, at odd picture sizes. */
static void check_all(struct reference_conv c)
{
    static const size_t channels[][2] = {{4, 33}, {1, 1}, {40, 20}, {35, 3}, {96, 80}};
    static const size_t sizes[][2] = {{9, 13}, {1, 1}, {5, 2}, {16, 11}};
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            c.in = channels[i][0];
            c.out = channels[i][1];
            c.h = sizes[j][0];
            c.w = sizes[j][1];
            if (c.pad_end && (c.h < 2 || c.w < 2))
                continue;
            check(c, DTYPE_F32, j % 2);
        }
}

static void a_3x3_convolution_keeps_the_size(void **state)
{
    check_all((struct reference_conv){.n = 2, .size = 3, .stride = 1});
}

static void stride_2_halves_it_rounding_up(void **state)
{
    check_all((struct reference_conv){.n = 2, .size = 3, .stride = 2});
}

static void padding_at_the_end_shifts_the_window(void **state)
{
    check_all((struct reference_conv){.n = 2, .size = 3, .stride = 2, .pad_end = true});
}

static void a_1x1_convolution_is_a_product(void **state)
{
    check_all((struct reference_conv){.n = 3, .size = 1, .stride = 1});
}

static void x_is_enlarged_to_any_size_before(void **state)
{
    static const size_t sizes[][4] = {
        {4, 6, 8, 12}, {5, 7, 9, 13}, {4, 3, 7, 5}, {3, 3, 3, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check((struct reference_conv){.n = 2,
                                      .size = 3,
                                      .stride = 1,
                                      .in = 24,
                                      .out = 17,
                                      .h = sizes[i][0],
                                      .w = sizes[i][1],
                                      .up_h = sizes[i][2],
                                      .up_w = sizes[i][3]},
              DTYPE_F32, true);
}

static void activation_comes_before_the_residual_and_after_the_biases(void **state)
{
    for (int activation = 0; activation < ACTIVATION_GEGLU; activation++)
        for (int half = 0; half < 2; half++)
            check((struct reference_conv){.n = 3,
                                          .size = 3,
                                          .stride = 1,
                                          .in = 19,
                                          .out = 35,
                                          .h = 5,
                                          .w = 7,
                                          .activation = (enum activation)activation},
                  half ? DTYPE_F16 : DTYPE_F32, true);
}

static void many_channels_lose_no_digits(void **state)
{
    check(
        (struct reference_conv){
            .n = 1, .size = 3, .stride = 1, .in = 700, .out = 40, .h = 9, .w = 8},
        DTYPE_F32, true);
}

/* Channels that are loaded in whole vectors, and others. */
static void halves_are_gathered_from_the_same_places(void **state)
{
    static const size_t channels[][2] = {{40, 21}, {19, 70}, {8, 130}};
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        for (size_t way = 0; way < 5; way++) {
            struct reference_conv c = {
                .n = 2, .h = 7, .w = 5, .size = way == 4 ? 1 : 3};
            c.in = channels[i][0];
            c.out = channels[i][1];
            c.stride = way == 1 || way == 2 ? 2 : 1;
            c.pad_end = way == 2;
            c.up_h = way == 3 ? 13 : 0;
            c.up_w = way == 3 ? 10 : 0;
            check(c, DTYPE_F16, way % 2);
        }
}

/* FARM_CONV decides for what follows; NULL: the shape does. */
static void force(const char *way)
{
    if (way)
        setenv("FARM_CONV", way, 1);
    else
        unsetenv("FARM_CONV");
}

static void winograd_sums_to_the_same(void **state)
{
    static const size_t channels[][2] = {{8, 33}, {40, 20}, {96, 80}, {704, 40}};
    static const size_t sizes[][4] = {
        {9, 13}, {1, 1}, {5, 2}, {16, 11}, {4, 6, 8, 12}, {5, 7, 9, 13}, {3, 3, 3, 4}};
    if (!gpu_is_cpu_path(gpu))
        skip();
    force("winograd");
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            check((struct reference_conv){.n = 2,
                                          .size = 3,
                                          .stride = 1,
                                          .in = channels[i][0],
                                          .out = channels[i][1],
                                          .h = sizes[j][0],
                                          .w = sizes[j][1],
                                          .up_h = sizes[j][2],
                                          .up_w = sizes[j][3],
                                          .activation = j % 3 ? ACTIVATION_SILU
                                                              : ACTIVATION_NONE},
                  DTYPE_F32, j % 2);
        }
    force(NULL);
}

/* The two ways round differently. */
static void large_pictures_are_winograds(void **state)
{
    enum { H = 32, W = 33, C = 32, COUNT = H * W * C };
    struct reference_conv c = {
        .n = 1, .size = 3, .stride = 1, .in = C, .out = C, .h = H, .w = W};
    for (int half = 0; half < 2; half++)
        check(c, half ? DTYPE_F16 : DTYPE_F32, true);
    float *x = random_values(COUNT, DTYPE_F32, 1);
    float *weight = random_values(C * C * 9, DTYPE_F32, 2);
    c.weight = weight;
    float *chosen = convolve(&c, DTYPE_F32, x);
    force("direct");
    float *direct = convolve(&c, DTYPE_F32, x);
    force(NULL);
    assert_int_equal(memcmp(chosen, direct, COUNT * sizeof *chosen) != 0,
                     gpu_is_cpu_path(gpu));
    free(x);
    free(weight);
    free(chosen);
    free(direct);
}

static void compare_alone_and_together(void)
{
    enum { N = 3, H = 7, W = 9, IN = 72, OUT = 37, COUNT = H * W * OUT };
    struct reference_conv c = {.n = N,
                               .size = 3,
                               .stride = 1,
                               .in = IN,
                               .out = OUT,
                               .h = H,
                               .w = W,
                               .activation = ACTIVATION_SILU};
    float *x = random_values(N * H * W * IN, DTYPE_F32, 1);
    float *weight = random_values(OUT * IN * 9, DTYPE_F32, 2);
    float *bias = random_values(OUT, DTYPE_F32, 3);
    c.weight = weight;
    c.bias = bias;
    float *together = convolve(&c, DTYPE_F32, x);
    c.n = 1;
    for (size_t i = 0; i < N; i++) {
        float *alone = convolve(&c, DTYPE_F32, x + i * H * W * IN);
        assert_memory_equal(alone, together + i * COUNT, COUNT * sizeof *alone);
        free(alone);
    }
    free(x);
    free(weight);
    free(bias);
    free(together);
}

static void a_picture_does_not_depend_on_the_batch(void **state)
{
    compare_alone_and_together();
    force("winograd");
    compare_alone_and_together();
    force(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_3x3_convolution_keeps_the_size),
        cmocka_unit_test(stride_2_halves_it_rounding_up),
        cmocka_unit_test(padding_at_the_end_shifts_the_window),
        cmocka_unit_test(a_1x1_convolution_is_a_product),
        cmocka_unit_test(x_is_enlarged_to_any_size_before),
        cmocka_unit_test(activation_comes_before_the_residual_and_after_the_biases),
        cmocka_unit_test(many_channels_lose_no_digits),
        cmocka_unit_test(winograd_sums_to_the_same),
        cmocka_unit_test(large_pictures_are_winograds),
        cmocka_unit_test(a_picture_does_not_depend_on_the_batch),
        cmocka_unit_test(halves_are_gathered_from_the_same_places),
    };
    const struct CMUnitTest half_tests[] = {
        cmocka_unit_test(halves_are_gathered_from_the_same_places),
    };
    return run_on_every_path(tests) + run_on_matrix_units(half_tests);
}
