#include "tests/gpu/support_ops.h"

struct sizes {
    size_t n, queries, keys, heads, width;
    bool causal;
    const int32_t *key_counts;
};

struct call {
    struct tensor y, q, k, v;
    struct attention_options options;
};

static void enqueue(struct stream *s, void *context)
{
    struct call *call = context;
    attention(s, call->y, call->q, call->k, call->v, &call->options);
}

static float *attend(struct sizes z, enum dtype dtype, const float *q, const float *k,
                     const float *v)
{
    size_t c = z.heads * z.width;
    struct call call = {.options = {.heads = z.heads, .causal = z.causal}};
    call.q = tensor_from(dtype, z.n, 1, z.queries, c, q);
    call.k = tensor_from(dtype, z.n, 1, z.keys, c, k);
    call.v = tensor_from(dtype, z.n, 1, z.keys, c, v);
    call.y = tensor_from(dtype, z.n, 1, z.queries, c, NULL);
    if (z.key_counts) {
        size_t bytes = z.n * sizeof *z.key_counts;
        assert_ok(call.options.key_counts = gpu_allocate(gpu, bytes, &error));
        assert_ok(gpu_write(gpu, call.options.key_counts, z.key_counts, bytes, &error));
    }
    run_stream(dtype, enqueue, &call);
    float *y = tensor_values(&call.y);
    gpu_release(gpu, &call.options.key_counts);
    tensor_destroy(&call.q, gpu);
    tensor_destroy(&call.k, gpu);
    tensor_destroy(&call.v, gpu);
    tensor_destroy(&call.y, gpu);
    return y;
}

/* sharpness scales the queries: large ones make softmax pick single keys. */
static void check(struct sizes z, enum dtype dtype, float sharpness)
{
    size_t c = z.heads * z.width, count = z.n * z.queries * c;
    float *q = random_values(count, dtype, 1);
    float *k = random_values(z.n * z.keys * c, dtype, 2);
    float *v = random_values(z.n * z.keys * c, dtype, 3);
    double *want = malloc(count * sizeof *want);
    for (size_t i = 0; i < count; i++)
        q[i] *= sharpness;
    reference_attention(want, q, k, v, z.n, z.queries, z.keys, c, z.heads, z.causal,
                        z.key_counts);
    float *y = attend(z, dtype, q, k, v);
    double off = relative_error(y, want, count);
    if (!(off < (dtype == DTYPE_F16 ? 1e-3 : 1e-5)))
        fail_msg("%zu queries, %zu keys, %zu heads of %zu: relative error %g",
                 z.queries, z.keys, z.heads, z.width, off);
    free(q);
    free(k);
    free(v);
    free(want);
    free(y);
}

static const size_t widths[] = {8, 40, 64, 80, 160, 512, 5, 17};
enum { WIDTHS = sizeof widths / sizeof *widths };

static void tokens_attend_to_each_other_at_any_head_width(void **state)
{
    for (size_t i = 0; i < WIDTHS; i++)
        check(
            (struct sizes){
                .n = 2, .queries = 117, .keys = 117, .heads = 2, .width = widths[i]},
            DTYPE_F32, 4);
}

static void a_picture_attends_to_77_tokens(void **state)
{
    for (size_t i = 0; i < WIDTHS; i++)
        check(
            (struct sizes){
                .n = 2, .queries = 35, .keys = 77, .heads = 3, .width = widths[i]},
            DTYPE_F32, 4);
}

static void many_keys_are_summed_block_by_block(void **state)
{
    check((struct sizes){.n = 1, .queries = 13, .keys = 1031, .heads = 2, .width = 40},
          DTYPE_F32, 1);
    check((struct sizes){.n = 1, .queries = 13, .keys = 1031, .heads = 2, .width = 40},
          DTYPE_F32, 64);
    check((struct sizes){.n = 1, .queries = 50, .keys = 700, .heads = 1, .width = 64},
          DTYPE_F16, 4);
}

static void check_causal(enum dtype dtype, size_t tokens, size_t width)
{
    check((struct sizes){.n = 2,
                         .queries = tokens,
                         .keys = tokens,
                         .heads = 3,
                         .width = width,
                         .causal = true},
          dtype, 4);
}

static void causal_tokens_see_none_after_them(void **state)
{
    check_causal(DTYPE_F32, 77, 64);
    check_causal(DTYPE_F32, 300, 16);
}

static void check_counts(enum dtype dtype)
{
    static const int32_t counts[] = {77, 1, 154, 40};
    check((struct sizes){.n = 4,
                         .queries = 19,
                         .keys = 154,
                         .heads = 2,
                         .width = 40,
                         .key_counts = counts},
          dtype, 4);
}

static void each_row_has_its_own_number_of_keys(void **state)
{
    check_counts(DTYPE_F32);
}

static void check_rubbish(enum dtype dtype)
{
    enum { KEYS = 100, C = 40 };
    static const int32_t counts[] = {37};
    struct sizes z = {.n = 1,
                      .queries = 11,
                      .keys = KEYS,
                      .heads = 1,
                      .width = C,
                      .key_counts = counts};
    float *q = random_values(11 * C, dtype, 1);
    float *k = random_values(KEYS * C, dtype, 2);
    float *y = attend(z, dtype, q, k, k);
    for (size_t i = 37 * C; i < KEYS * C; i++)
        k[i] = i % 2 ? NAN : 1e30F;
    float *with_rubbish = attend(z, dtype, q, k, k);
    assert_memory_equal(y, with_rubbish, 11 * C * sizeof *y);
    free(q);
    free(k);
    free(y);
    free(with_rubbish);
}

static void keys_that_do_not_count_may_hold_anything(void **state)
{
    check_rubbish(DTYPE_F32);
}

static void check_none(enum dtype dtype)
{
    enum { KEYS = 20, C = 40 };
    static const int32_t counts[] = {0};
    float *q = random_values(3 * C, dtype, 1), *k = random_values(KEYS * C, dtype, 2);
    float *y = attend((struct sizes){.n = 1,
                                     .queries = 3,
                                     .keys = KEYS,
                                     .heads = 1,
                                     .width = C,
                                     .key_counts = counts},
                      dtype, q, k, k);
    for (size_t i = 0; i < 3 * C; i++)
        assert_float_equal(y[i], 0, 0);
    free(q);
    free(k);
    free(y);
}

static void without_any_key_that_counts_there_are_zeros(void **state)
{
    check_none(DTYPE_F32);
}

/* Every picture alone, and without its first queries, gives the same bytes. */
static void check_alone(enum dtype dtype)
{
    enum { N = 3, KEYS = 150, C = 80, QUERIES = 79, LESS = 18 };
    static const int32_t counts[] = {77, 77, 77}, all[] = {77};
    struct sizes z = {.n = N,
                      .queries = QUERIES,
                      .keys = KEYS,
                      .heads = 2,
                      .width = 40,
                      .key_counts = counts};
    float *q = random_values(N * QUERIES * C, dtype, 1);
    float *k = random_values(N * KEYS * C, dtype, 2);
    float *y = attend(z, dtype, q, k, k);
    z.n = 1;
    z.key_counts = all;
    for (size_t i = 0; i < N; i++) {
        size_t at = (i * QUERIES + i * LESS) * C;
        z.queries = QUERIES - i * LESS;
        float *alone = attend(z, dtype, q + at, k + i * KEYS * C, k + i * KEYS * C);
        assert_memory_equal(alone, y + at, z.queries * C * sizeof *y);
        free(alone);
    }
    free(q);
    free(k);
    free(y);
}

static void a_row_depends_on_neither_the_batch_nor_queries_beside_it(void **state)
{
    check_alone(DTYPE_F32);
}

/* ---- Of halves, where matrix units compute them */

static void halves_attend_to_each_other(void **state)
{
    check((struct sizes){.n = 2, .queries = 117, .keys = 77, .heads = 2, .width = 40},
          DTYPE_F16, 4);
    check((struct sizes){.n = 1, .queries = 33, .keys = 300, .heads = 1, .width = 160},
          DTYPE_F16, 32);
}

static void causal_halves_see_none_after_them(void **state)
{
    check_causal(DTYPE_F16, 150, 40);
}

static void each_row_of_halves_has_its_own_number_of_keys(void **state)
{
    check_counts(DTYPE_F16);
}

static void halves_of_heads_that_fit_no_unit_attend_without(void **state)
{
    check((struct sizes){.n = 1, .queries = 20, .keys = 45, .heads = 2, .width = 17},
          DTYPE_F16, 4);
    check((struct sizes){.n = 1, .queries = 20, .keys = 45, .heads = 1, .width = 512},
          DTYPE_F16, 4);
}

static void halves_that_do_not_count_may_hold_anything(void **state)
{
    check_rubbish(DTYPE_F16);
}

static void without_any_key_that_counts_halves_are_zeros(void **state)
{
    check_none(DTYPE_F16);
}

static void nor_does_a_row_of_halves(void **state)
{
    check_alone(DTYPE_F16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_attend_to_each_other_at_any_head_width),
        cmocka_unit_test(a_picture_attends_to_77_tokens),
        cmocka_unit_test(many_keys_are_summed_block_by_block),
        cmocka_unit_test(causal_tokens_see_none_after_them),
        cmocka_unit_test(each_row_has_its_own_number_of_keys),
        cmocka_unit_test(keys_that_do_not_count_may_hold_anything),
        cmocka_unit_test(without_any_key_that_counts_there_are_zeros),
        cmocka_unit_test(a_row_depends_on_neither_the_batch_nor_queries_beside_it),
    };
    const struct CMUnitTest half_tests[] = {
        cmocka_unit_test(halves_attend_to_each_other),
        cmocka_unit_test(causal_halves_see_none_after_them),
        cmocka_unit_test(each_row_of_halves_has_its_own_number_of_keys),
        cmocka_unit_test(halves_of_heads_that_fit_no_unit_attend_without),
        cmocka_unit_test(halves_that_do_not_count_may_hold_anything),
        cmocka_unit_test(without_any_key_that_counts_halves_are_zeros),
        cmocka_unit_test(nor_does_a_row_of_halves),
    };
    return run_on_every_path(tests) + run_on_matrix_units(half_tests);
}
