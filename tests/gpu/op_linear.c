#include "tests/gpu/support_ops.h"

struct product {
    size_t rows, in, out;
    enum activation activation;
    bool bias, residual;
    enum dtype dtype;
};

struct call {
    struct tensor y, x, residual;
    struct linear w;
    enum activation activation;
    bool has_residual;
};

static void enqueue(struct stream *s, void *context)
{
    struct call *call = context;
    linear(s, call->y, call->x, &call->w, call->activation,
           call->has_residual ? &call->residual : NULL);
}

/* Runs one product on the device; the result is the caller's to free. */
static float *multiply(const struct product *p, const float *x, const float *weight,
                       const float *bias, const float *residual)
{
    bool geglu = p->activation == ACTIVATION_GEGLU;
    size_t columns = geglu ? p->out / 2 : p->out;
    struct host_tensor w = host_floats(weight, 2, (size_t[4]){p->out, p->in});
    struct host_tensor b = host_floats(bias, 1, (size_t[4]){p->out});
    struct call call = {.activation = p->activation, .has_residual = p->residual};
    assert_ok(
        linear_load(&call.w, gpu, p->dtype, geglu, &w, p->bias ? &b : NULL, &error));
    call.x = tensor_from(p->dtype, 1, 1, p->rows, p->in, x);
    call.y = tensor_from(p->dtype, 1, 1, p->rows, columns, NULL);
    call.residual = tensor_from(p->dtype, 1, 1, p->rows, columns, residual);
    run_stream(p->dtype, enqueue, &call);
    float *y = tensor_values(&call.y);
    tensor_destroy(&call.x, gpu);
    tensor_destroy(&call.y, gpu);
    tensor_destroy(&call.residual, gpu);
    linear_clear(&call.w, gpu);
    return y;
}

static void check(const struct product *p)
{
    size_t columns = p->activation == ACTIVATION_GEGLU ? p->out / 2 : p->out;
    float *x = random_values(p->rows * p->in, p->dtype, 1);
    float *weight = random_values(p->out * p->in, p->dtype, 2);
    float *bias = random_values(p->out, DTYPE_F32, 3);
    float *residual = random_values(p->rows * columns, p->dtype, 4);
    double *want = malloc(p->rows * columns * sizeof *want);
    reference_linear(want, x, weight, p->bias ? bias : NULL,
                     p->residual ? residual : NULL, p->rows, p->in, p->out,
                     p->activation);
    float *y = multiply(p, x, weight, bias, residual);
    double off = relative_error(y, want, p->rows * columns);
    if (!(off < (p->dtype == DTYPE_F16 ? 1e-3 : 1e-5)))
        fail_msg("%zu rows, %zu -> %zu, activation %d: relative error %g", p->rows,
                 p->in, p->out, (int)p->activation, off);
    free(x);
    free(weight);
    free(bias);
    free(residual);
    free(want);
    free(y);
}

static void products_of_odd_sizes_are_right(void **state)
{
    static const size_t sizes[][3] = {
        {1, 1, 1},     {2, 320, 1280}, {5, 7, 3},      {6, 8, 16},     {7, 255, 17},
        {77, 768, 33}, {97, 257, 1},   {13, 1025, 65}, {200, 40, 130}, {131, 600, 48}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int bias = 0; bias < 2; bias++)
            check(&(struct product){.rows = sizes[i][0],
                                    .in = sizes[i][1],
                                    .out = sizes[i][2],
                                    .bias = bias});
}

static void halves_are_multiplied_with_float_sums(void **state)
{
    check(&(struct product){.rows = 77,
                            .in = 2047,
                            .out = 50,
                            .bias = true,
                            .residual = true,
                            .dtype = DTYPE_F16});
    check(&(struct product){.rows = 3, .in = 23040, .out = 17, .dtype = DTYPE_F16});
}

static void every_activation_follows_the_bias(void **state)
{
    for (int activation = 0; activation <= ACTIVATION_GEGLU; activation++)
        for (int half = 0; half < 2; half++)
            check(&(struct product){.rows = 19,
                                    .in = 65,
                                    .out = 74,
                                    .activation = (enum activation)activation,
                                    .bias = true,
                                    .residual = half == 0,
                                    .dtype = half ? DTYPE_F16 : DTYPE_F32});
}

static void compare_alone_and_together(enum dtype dtype)
{
    enum { ROWS = 211, IN = 704, OUT = 90 };
    struct product all = {
        .rows = ROWS, .in = IN, .out = OUT, .bias = true, .dtype = dtype};
    struct product one = all;
    float *x = random_values(ROWS * IN, dtype, 1);
    float *weight = random_values(OUT * IN, dtype, 2);
    float *bias = random_values(OUT, DTYPE_F32, 3);
    float *together = multiply(&all, x, weight, bias, NULL);
    static const size_t rows[] = {0, 5, 47, 100, ROWS - 1};
    one.rows = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float *alone = multiply(&one, x + rows[i] * IN, weight, bias, NULL);
        assert_memory_equal(alone, together + rows[i] * OUT, OUT * sizeof *alone);
        free(alone);
    }
    free(x);
    free(weight);
    free(bias);
    free(together);
}

static void a_row_does_not_depend_on_the_rows_beside_it(void **state)
{
    compare_alone_and_together(DTYPE_F32);
}

/* Few rows go to smaller tiles than many. */
static void nor_does_a_row_of_halves(void **state)
{
    compare_alone_and_together(DTYPE_F16);
}

/* Ragged at every edge, on tiles of each size; 8 divides all inner sizes but two, and rows are
 * then loaded in whole vectors. */
static void halves_of_odd_sizes_are_multiplied(void **state)
{
    static const size_t sizes[][3] = {{259, 72, 133}, {70, 320, 60}, {1, 8, 1},
                                      {77, 104, 129}, {31, 33, 65},  {3, 1, 7}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check(&(struct product){.rows = sizes[i][0],
                                .in = sizes[i][1],
                                .out = sizes[i][2],
                                .bias = i % 2,
                                .residual = i % 2 == 0,
                                .dtype = DTYPE_F16});
}

static void gates_of_halves_meet_their_values(void **state)
{
    check(&(struct product){.rows = 19,
                            .in = 65,
                            .out = 150,
                            .activation = ACTIVATION_GEGLU,
                            .bias = true,
                            .residual = true,
                            .dtype = DTYPE_F16});
}

static void clblast_multiplies_where_it_is_asked_for(void **state)
{
    setenv("FARM_GEMM", "clblast", 1);
    for (int activation = 0; activation <= ACTIVATION_GEGLU; activation++)
        check(&(struct product){.rows = 130,
                                .in = 65,
                                .out = 74,
                                .activation = (enum activation)activation,
                                .bias = true,
                                .residual = true});
    check(&(struct product){.rows = 5, .in = 320, .out = 17});
    check(&(struct product){.rows = 5, .in = 320, .out = 17, .dtype = DTYPE_F16});
    unsetenv("FARM_GEMM");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_odd_sizes_are_right),
        cmocka_unit_test(halves_are_multiplied_with_float_sums),
        cmocka_unit_test(every_activation_follows_the_bias),
        cmocka_unit_test(clblast_multiplies_where_it_is_asked_for),
        cmocka_unit_test(a_row_does_not_depend_on_the_rows_beside_it),
    };
    const struct CMUnitTest half_tests[] = {
        cmocka_unit_test(halves_are_multiplied_with_float_sums),
        cmocka_unit_test(halves_of_odd_sizes_are_multiplied),
        cmocka_unit_test(gates_of_halves_meet_their_values),
        cmocka_unit_test(nor_does_a_row_of_halves),
    };
    return run_on_every_path(tests) + run_on_matrix_units(half_tests);
}
