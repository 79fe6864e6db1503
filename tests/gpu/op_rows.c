#include "tests/gpu/support_ops.h"

enum { IMAGES = 3, ROWS = 7, H = 2, W = 3, C = 5, PLACES = H * W * C };

static const int32_t source[ROWS] = {0, 1, 2, 0, 2, 2, 1};
static const float weight[ROWS] = {1, 1, 1, 1, 0.5F, -0.25F, 1.5F};

struct call {
    struct tensor y, x, source, weight;
};

static void spread(struct stream *s, void *context)
{
    struct call *call = context;
    rows_spread(s, call->y, call->x, call->source.memory);
}

static void compose(struct stream *s, void *context)
{
    struct call *call = context;
    rows_compose(s, call->y, call->x, call->source.memory, call->weight.memory);
}

static struct call make_call(enum dtype dtype, size_t from, size_t to, const float *x)
{
    return (struct call){
        .y = tensor_from(dtype, to, H, W, C, NULL),
        .x = tensor_from(dtype, from, H, W, C, x),
        .source =
            tensor_from(DTYPE_F32, 1, 1, 1, ROWS, (const float *)(const void *)source),
        .weight = tensor_from(DTYPE_F32, 1, 1, 1, ROWS, weight),
    };
}

static void clear_call(struct call *call)
{
    tensor_destroy(&call->y, gpu);
    tensor_destroy(&call->x, gpu);
    tensor_destroy(&call->source, gpu);
    tensor_destroy(&call->weight, gpu);
}

static void every_row_gets_the_latents_of_its_image(void **state)
{
    for (int dtype = DTYPE_F32; dtype <= DTYPE_F16; dtype++) {
        float *x = random_values(IMAGES * PLACES, (enum dtype)dtype, 1);
        double want[ROWS * PLACES];
        for (size_t i = 0; i < ROWS * PLACES; i++)
            want[i] = (double)x[(size_t)source[i / PLACES] * PLACES + i % PLACES];
        struct call call = make_call((enum dtype)dtype, IMAGES, ROWS, x);
        run_stream((enum dtype)dtype, spread, &call);
        assert_close(&call.y, want);
        clear_call(&call);
        free(x);
    }
}

static void prompts_joined_by_and_add_their_weighted_differences(void **state)
{
    float *x = random_values(ROWS * PLACES, DTYPE_F32, 2);
    double want[2 * IMAGES * PLACES];
    for (size_t i = 0; i < IMAGES * PLACES; i++) {
        double own = (double)x[i], sum = own;
        for (size_t row = IMAGES; row < ROWS; row++)
            if ((size_t)source[row] == i / PLACES)
                sum +=
                    (double)weight[row] * ((double)x[row * PLACES + i % PLACES] - own);
        want[i] = own;
        want[IMAGES * PLACES + i] = sum;
    }
    struct call call = make_call(DTYPE_F32, ROWS, 2 * IMAGES, x);
    run_stream(DTYPE_F32, compose, &call);
    assert_close(&call.y, want);
    float *y = tensor_values(&call.y);
    /* image 0 has one prompt of weight 1: its bits, as without neighbours */
    assert_memory_equal(y + IMAGES * PLACES, x + IMAGES * PLACES, PLACES * sizeof *x);
    free(y);
    clear_call(&call);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_gets_the_latents_of_its_image),
        cmocka_unit_test(prompts_joined_by_and_add_their_weighted_differences),
    };
    return run_on_both_paths(tests);
}
