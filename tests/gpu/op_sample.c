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

/* The formula of ops.h; writes d into `saved`. */
static double stepped(const struct step *s, double x, double cond, double uncond,
                      const double h[4], double z, double *saved)
{
    double e = s->guidance <= 1 ? cond : uncond + s->guidance * (cond - uncond);
    double d = s->d_x * x + s->d_e * e;
    if (s->clip > 0)
        d = fmin(fmax(d, -s->clip), s->clip);
    *saved = d;
    double next = s->x_x * x + s->x_e * e + s->x_d * d + s->noise * z;
    for (int i = 0; i < 4; i++)
        next += s->h[i] * h[i];
    return next;
}

static void check_update(const struct step *step, bool paired)
{
    struct call call = {.step = *step};
    float *x = random_values(COUNT, DTYPE_F32, 1);
    float *e = random_values(2 * COUNT, DTYPE_F32, 2);
    float *z = random_values(COUNT, DTYPE_F32, 3), *history[4];
    double want[COUNT], saved[COUNT];
    for (unsigned i = 0; i < 4; i++)
        history[i] = random_values(COUNT, DTYPE_F32, 4 + i);
    for (size_t i = 0; i < COUNT; i++) {
        double h[4] = {history[0][i], history[1][i], history[2][i], history[3][i]};
        want[i] =
            stepped(step, x[i], e[paired ? COUNT + i : i], e[i], h, z[i], &saved[i]);
    }
    assert_ok(call.buffer = gpu_allocate(gpu, sizeof call.step, &error));
    call.x = tensor_from(DTYPE_F32, N, H, W, C, x);
    call.e = tensor_from(DTYPE_F32, paired ? 2 * N : N, H, W, C, e);
    call.z = tensor_from(DTYPE_F32, N, H, W, C, step->noise != 0 ? z : NULL);
    for (int i = 0; i < 4; i++) /* what is not used holds NaN */
        call.history[i] =
            tensor_from(DTYPE_F32, N, H, W, C, step->h[i] != 0 ? history[i] : NULL);
    run_stream(DTYPE_F32, update, &call);
    assert_close(&call.x, want);
    if (step->save >= 0)
        assert_close(&call.history[step->save], saved);
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
    check_update(&(struct step){.guidance = 1, .x_x = 0.9F, .x_e = -0.3F, .save = -1},
                 false);
    check_update(&(struct step){.guidance = 7.5F,
                                .d_x = 1.1F,
                                .d_e = -0.7F,
                                .x_x = 0.5F,
                                .x_d = 0.4F,
                                .save = 2},
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
                                .save = 0},
                 true);
    check_update(
        &(struct step){.guidance = 3, .d_x = 1, .x_d = 1, .h = {0, 0, 0, 2}, .save = 3},
        true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_sees_scaled_latents_twice_with_guidance),
        cmocka_unit_test(a_step_is_the_linear_form_of_the_header),
    };
    return run_on_both_paths(tests);
}
