#include "tests/gpu/support_ops.h"

enum { N = 2, H = 3, W = 5, C = 4, COUNT = N * H * W * C };

struct call {
    struct tensor y, x, e, z, history[4];
    cl_mem buffer;
    struct step step;
};

static void input(struct stream *s, void *context)
{
    struct call *call = context;
    step_write(s, call->buffer, &call->step);
    sample_input(s, call->y, call->x, call->buffer);
}

static void update(struct stream *s, void *context)
{
    struct call *call = context;
    step_write(s, call->buffer, &call->step);
    sample_update(s, call->x, call->e, call->history, call->z, call->buffer);
}

static void the_model_sees_scaled_latents_twice_with_guidance(void **state)
{
    struct call call = {.step = {.input_scale = 0.25F}};
    float *x = random_values(COUNT, DTYPE_F32, 1);
    double want[2 * COUNT];
    for (size_t i = 0; i < 2 * COUNT; i++)
        want[i] = 0.25 * x[i % COUNT];
    assert_ok(call.buffer = gpu_allocate(gpu, sizeof call.step, &error));
    call.x = tensor_from(DTYPE_F32, N, H, W, C, x);
    for (size_t rows = N; rows <= 2 * N; rows += N) {
        call.y = tensor_from(rows == N ? DTYPE_F16 : DTYPE_F32, rows, H, W, C, NULL);
        run_stream(DTYPE_F32, input, &call);
        assert_close(&call.y, want);
        tensor_destroy(&call.y, gpu);
    }
    tensor_destroy(&call.x, gpu);
    gpu_release(gpu, &call.buffer);
    free(x);
}

static double guided(const struct step *s, double cond, double uncond)
{
    return s->guidance == 1 ? cond : uncond + s->guidance * (cond - uncond);
}

static double deviation(const double *values, size_t count)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        mean += values[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)(count - 1));
}

/* What the guided output of one image is multiplied with. */
static double rescaling(const struct step *s, const float *cond, const float *uncond)
{
    double text[COUNT / N], both[COUNT / N];
    for (size_t i = 0; i < COUNT / N; i++) {
        text[i] = cond[i];
        both[i] = guided(s, cond[i], uncond[i]);
    }
    return 1 - s->rescale +
           s->rescale * deviation(text, COUNT / N) / deviation(both, COUNT / N);
}

/* The formula of ops.h; writes what is saved and kept. */
static double stepped(const struct step *s, double x, double e, double uncond,
                      const double h[4], double z, double *saved, double *kept)
{
    double d = s->d_x * x + s->d_e * e;
    if (s->clip > 0)
        d = fmin(fmax(d, -s->clip), s->clip);
    *saved = d;
    double next = s->x_x * x + s->x_e * e + s->x_d * d + s->x_u * uncond + s->noise * z;
    *kept = s->keep_x * x + s->keep_d * d + s->keep_u * uncond;
    for (int i = 0; i < 4; i++) {
        next += s->h[i] * h[i];
        *kept += s->keep_h[i] * h[i];
    }
    return next;
}

static void check_update(const struct step *step, bool paired)
{
    struct call call = {.step = *step};
    float *x = random_values(COUNT, DTYPE_F32, 1);
    float *e = random_values(2 * COUNT, DTYPE_F32, 2);
    float *z = random_values(COUNT, DTYPE_F32, 3), *history[4];
    double want[COUNT], saved[COUNT], kept[COUNT];
    for (unsigned i = 0; i < 4; i++)
        history[i] = random_values(COUNT, DTYPE_F32, 4 + i);
    for (size_t i = 0; i < COUNT; i++) {
        double h[4] = {history[0][i], history[1][i], history[2][i], history[3][i]};
        size_t image = i - i % (COUNT / N);
        double model = e[i];
        if (paired && step->guidance != 1)
            model = guided(step, e[COUNT + i], e[i]) *
                    rescaling(step, e + COUNT + image, e + image);
        else if (paired)
            model = e[COUNT + i];
        want[i] = stepped(step, x[i], model, e[i], h, z[i], &saved[i], &kept[i]);
    }
    assert_ok(call.buffer = gpu_allocate(gpu, sizeof call.step, &error));
    call.x = tensor_from(DTYPE_F32, N, H, W, C, x);
    call.e = tensor_from(DTYPE_F32, paired ? 2 * N : N, H, W, C, e);
    call.z = tensor_from(DTYPE_F32, N, H, W, C, step->noise != 0 ? z : NULL);
    for (int i = 0; i < 4; i++) /* what is not used holds NaN */
        call.history[i] =
            tensor_from(DTYPE_F32, N, H, W, C,
                        step->h[i] != 0 || step->keep_h[i] != 0 ? history[i] : NULL);
    run_stream(DTYPE_F32, update, &call);
    assert_close(&call.x, want);
    if (step->save >= 0)
        assert_close(&call.history[step->save], saved);
    if (step->keep >= 0)
        assert_close(&call.history[step->keep], kept);
    tensor_destroy(&call.x, gpu);
    tensor_destroy(&call.e, gpu);
    tensor_destroy(&call.z, gpu);
    for (int i = 0; i < 4; i++) {
        tensor_destroy(&call.history[i], gpu);
        free(history[i]);
    }
    gpu_release(gpu, &call.buffer);
    free(x);
    free(e);
    free(z);
}

static void a_step_is_the_linear_form_of_the_header(void **state)
{
    check_update(
        &(struct step){
            .guidance = 1, .x_x = 0.9F, .x_e = -0.3F, .save = -1, .keep = -1},
        false);
    check_update(&(struct step){.guidance = 7.5F,
                                .d_x = 1.1F,
                                .d_e = -0.7F,
                                .x_x = 0.5F,
                                .x_d = 0.4F,
                                .save = 2,
                                .keep = -1},
                 true);
    check_update(&(struct step){.guidance = 1,
                                .d_x = 1.1F,
                                .d_e = 3,
                                .clip = 1,
                                .x_x = 0.5F,
                                .x_e = 0.2F,
                                .x_d = 0.4F,
                                .h = {0.1F, -0.2F, 0.3F, -0.4F},
                                .noise = 0.6F,
                                .save = 0,
                                .keep = -1},
                 true);
    check_update(&(struct step){.guidance = 3,
                                .d_x = 1,
                                .x_d = 1,
                                .h = {0, 0, 0, 2},
                                .save = 3,
                                .keep = -1},
                 true);
}

static void a_step_keeps_a_sum_of_what_was_there_before_it(void **state)
{
    check_update(
        &(struct step){
            .guidance = 1, .d_e = 1, .x_x = 0.5F, .keep_x = 1, .save = -1, .keep = 3},
        false);
    check_update(&(struct step){.guidance = 2,
                                .d_x = 0.3F,
                                .d_e = 1,
                                .x_d = 0.5F,
                                .h = {0.5F, 0, 0, 0.25F},
                                .keep_x = 0.1F,
                                .keep_d = -0.7F,
                                .keep_h = {0, 0.2F, 0, 0.9F},
                                .save = 1,
                                .keep = 3},
                 true);
}

static void a_step_takes_what_the_model_says_without_the_prompt(void **state)
{
    for (float guidance = -0.5F; guidance < 3; guidance += 0.5F) /* 1 among them */
        check_update(&(struct step){.guidance = guidance,
                                    .d_e = 1,
                                    .x_d = 0.5F,
                                    .x_u = -1.5F,
                                    .keep_d = 1,
                                    .keep_u = 0.8F,
                                    .save = -1,
                                    .keep = 0},
                     true);
}

static void guidance_can_be_scaled_back_to_the_texts_deviation(void **state)
{
    struct step step = {.guidance = 7.5F, .x_e = 1, .save = -1, .keep = -1};
    for (step.rescale = 0.25F; step.rescale <= 1; step.rescale += 0.75F)
        check_update(&step, true);
    step.guidance = 1; /* not guided: nothing to scale */
    check_update(&step, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_sees_scaled_latents_twice_with_guidance),
        cmocka_unit_test(a_step_is_the_linear_form_of_the_header),
        cmocka_unit_test(a_step_keeps_a_sum_of_what_was_there_before_it),
        cmocka_unit_test(a_step_takes_what_the_model_says_without_the_prompt),
        cmocka_unit_test(guidance_can_be_scaled_back_to_the_texts_deviation),
    };
    return run_on_both_paths(tests);
}
