#include "tests/gpu/support_ops.h"

struct call {
    struct tensor y, table, position, own;
    cl_mem ids, step;
    bool flip;
    float freq_shift;
};

static void embed_tokens(struct stream *s, void *context)
{
    struct call *call = context;
    token_embedding(s, call->y, call->ids, call->table, call->position,
                    call->own.memory ? &call->own : NULL);
}

static void embed_time(struct stream *s, void *context)
{
    struct call *call = context;
    time_embedding(s, call->y, call->step, call->flip, call->freq_shift);
}

static void a_token_is_its_row_of_the_table_plus_its_position(void **state)
{
    enum { N = 2, TOKENS = 7, C = 37, WORDS = 50 };
    static const int32_t ids[N * TOKENS] = {0, 49, 3,  3, 17, 22, 8,
                                            1, 2,  48, 5, 5,  5,  0};
    float *table = random_values(WORDS * C, DTYPE_F16, 1);
    float *position = random_values(10 * C, DTYPE_F32, 2);
    double want[N * TOKENS * C];
    for (size_t i = 0; i < N * TOKENS * C; i++) {
        size_t token = i / C, c = i % C;
        want[i] = (double)table[(size_t)ids[token] * C + c] +
                  position[token % TOKENS * C + c];
    }
    struct call call = {.y = tensor_from(DTYPE_F32, N, 1, TOKENS, C, NULL),
                        .table = tensor_from(DTYPE_F16, 1, 1, WORDS, C, table),
                        .position = tensor_from(DTYPE_F32, 1, 1, 10, C, position)};
    assert_ok(call.ids = gpu_allocate(gpu, sizeof ids, &error));
    assert_ok(gpu_write(gpu, call.ids, ids, sizeof ids, &error));
    run_stream(DTYPE_F32, embed_tokens, &call);
    assert_close(&call.y, want);
    gpu_release(gpu, &call.ids);
    tensor_destroy(&call.y, gpu);
    tensor_destroy(&call.table, gpu);
    tensor_destroy(&call.position, gpu);
    free(table);
    free(position);
}

static void a_token_below_0_is_a_vector_of_its_own(void **state)
{
    enum { N = 2, TOKENS = 3, C = 5, WORDS = 4 };
    static const int32_t ids[N * TOKENS] = {0, -1, 3, -1, 2, -1};
    for (int dtype = DTYPE_F32; dtype <= DTYPE_F16; dtype++) {
        float *table = random_values(WORDS * C, (enum dtype)dtype, 1);
        float *position = random_values(TOKENS * C, DTYPE_F32, 2);
        float *own = random_values(N * TOKENS * C, (enum dtype)dtype, 3);
        double want[N * TOKENS * C];
        for (size_t i = 0; i < N * TOKENS * C; i++) {
            int32_t id = ids[i / C];
            want[i] = (double)(id < 0 ? own[i] : table[(size_t)id * C + i % C]) +
                      (double)position[i % (TOKENS * C)];
        }
        struct call call = {
            .y = tensor_from(DTYPE_F32, N, 1, TOKENS, C, NULL),
            .table = tensor_from((enum dtype)dtype, 1, 1, WORDS, C, table),
            .position = tensor_from(DTYPE_F32, 1, 1, TOKENS, C, position),
            .own = tensor_from((enum dtype)dtype, N, 1, TOKENS, C, own)};
        assert_ok(call.ids = gpu_allocate(gpu, sizeof ids, &error));
        assert_ok(gpu_write(gpu, call.ids, ids, sizeof ids, &error));
        run_stream(DTYPE_F32, embed_tokens, &call);
        assert_close(&call.y, want);
        gpu_release(gpu, &call.ids);
        tensor_destroy(&call.y, gpu);
        tensor_destroy(&call.table, gpu);
        tensor_destroy(&call.position, gpu);
        tensor_destroy(&call.own, gpu);
        free(table);
        free(position);
        free(own);
    }
}

static void check_time(float timestep, bool flip, float freq_shift, size_t c)
{
    enum { N = 3 };
    struct step step = {.timestep = timestep};
    struct call call = {.y = tensor_from(DTYPE_F32, N, 1, 1, c, NULL),
                        .flip = flip,
                        .freq_shift = freq_shift};
    double *want = malloc(N * c * sizeof *want);
    for (size_t i = 0; i < N * c; i++) {
        size_t half = c / 2, k = i % c;
        double angle = (double)(k % half) / ((double)half - freq_shift);
        angle = timestep * exp(-log(10000) * angle);
        want[i] = (k < half) == flip ? cos(angle) : sin(angle);
    }
    assert_ok(call.step = gpu_allocate(gpu, sizeof step, &error));
    assert_ok(gpu_write(gpu, call.step, &step, sizeof step, &error));
    run_stream(DTYPE_F32, embed_time, &call);
    float *y = tensor_values(&call.y);
    /* An angle of 999 radians in float is good to 6e-5. */
    double off = relative_error(y, want, N * c);
    if (!(off < 1e-5 + 6e-8 * timestep))
        fail_msg("timestep %g, flip %d: relative error %g", timestep, flip, off);
    gpu_release(gpu, &call.step);
    tensor_destroy(&call.y, gpu);
    free(y);
    free(want);
}

static void a_timestep_is_sines_and_cosines_in_either_order(void **state)
{
    check_time(999, true, 0, 320);
    check_time(1, false, 1, 32);
    check_time(0, true, 0, 320);
    check_time(500.25F, false, 0, 224);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_its_row_of_the_table_plus_its_position),
        cmocka_unit_test(a_token_below_0_is_a_vector_of_its_own),
        cmocka_unit_test(a_timestep_is_sines_and_cosines_in_either_order),
    };
    return run_on_both_paths(tests);
}
