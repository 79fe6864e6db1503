/* Time is t = -log sigma. With fresh noise a step goes on to a lower sigma than the one it is
 * to end at, and noise lifts it there. The history holds what an attempt began with and the
 * noise predicted there, and the solution of second order.
 */
#include "worker/sd/adaptive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/sampler_family.h"

enum { BEGUN, SLOPE, LOW };
enum { ATTEMPTS_MOST = 5000 };

/* k-diffusion's defaults. */
static const double error_absolute = 0.0078, error_relative = 0.05, first_stride = 0.05,
                    least_factor = 0.81, nearly = 1e-5;

struct adaptive {
    struct schedule_config config;
    struct plan plan; /* for its sigmas */
    double *sigmas;   /* heap */
    bool is_noisy;
    double begin, end;      /* times */
    double now, to, stride; /* where the attempt begins and would end, and its length */
    double noise;           /* due when it is taken */
    size_t attempts;
    float *before; /* the second order's last that was taken; heap, NULL at first */
};

struct adaptive *adaptive_new(const struct plan *plan, double first, double last,
                              struct error *error)
{
    size_t count = (size_t)plan->config->train_steps;
    struct adaptive *self = calloc(1, sizeof *self);
    double *sigmas = calloc(count, sizeof *sigmas);
    if (!self || !sigmas) {
        free(self);
        free(sigmas);
        error_set_kind(error, ERROR_MEMORY, "no memory for a sampler");
        return NULL;
    }
    memcpy(sigmas, plan->sigmas, count * sizeof *sigmas);
    *self = (struct adaptive){.config = *plan->config,
                              .sigmas = sigmas,
                              .is_noisy = !plan->is_comfy,
                              .begin = -log(first),
                              .end = -log(last),
                              .now = -log(first),
                              .stride = first_stride};
    self->plan = (struct plan){.config = &self->config,
                               .sigmas = sigmas,
                               .is_k = true,
                               .is_comfy = plan->is_comfy};
    return self;
}

void adaptive_destroy(struct adaptive **self)
{
    if (!*self)
        return;
    free((*self)->sigmas);
    free((*self)->before);
    free(*self);
    *self = NULL;
}

/* An evaluation at time t, with the noise it predicts as d. */
static void evaluate(const struct adaptive *self, double t, struct step *step)
{
    double timestep = sampler_timestep(&self->plan, exp(-t));
    *step = (struct step){
        .timestep = (float)timestep, .input_scale = 1, .save = -1, .keep = -1};
    sampler_slope(step, self->config.prediction, exp(-t));
}

void adaptive_attempt(struct adaptive *self, struct step step[ADAPTIVE_EVALUATIONS])
{
    double from = exp(-self->now), up = 0, down;
    self->to = fmin(self->end, self->now + self->stride);
    down = exp(-self->to);
    if (self->is_noisy)
        sampler_ancestral(from, exp(-self->to), &up, &down);
    double aim = fmin(self->end, -log(down)), h = aim - self->now, sigma = exp(-aim);
    double middle[] = {self->now + h / 3, self->now + h * 2 / 3};
    double third = h * 2 / 3, bend = 2 * (expm1(third) / third - 1);
    self->noise = sqrt(fmax(exp(-2 * self->to) - sigma * sigma, 0));

    evaluate(self, self->now, &step[0]);
    step[0].x_x = 1;
    step[0].x_d = (float)(-exp(-middle[0]) * expm1(h / 3));
    step[0].save = SLOPE;
    step[0].keep = BEGUN;
    step[0].keep_x = 1;

    evaluate(self, middle[0], &step[1]);
    step[1].h[BEGUN] = 1;
    step[1].x_d = (float)(-exp(-middle[1]) * bend);
    step[1].h[SLOPE] = (float)(-exp(-middle[1]) * (expm1(third) - bend));
    step[1].keep = LOW;
    step[1].keep_h[BEGUN] = 1;
    step[1].keep_d = (float)(-sigma * expm1(h) * 1.5);
    step[1].keep_h[SLOPE] = (float)(sigma * expm1(h) * 0.5);

    evaluate(self, middle[1], &step[2]);
    bend = 1.5 * (expm1(h) / h - 1);
    step[2].h[BEGUN] = 1;
    step[2].x_d = (float)(-sigma * bend);
    step[2].h[SLOPE] = (float)(-sigma * (expm1(h) - bend));
}

/* The root mean square of how far the solutions are apart, in units of what is let pass. */
static double error_of(const float *high, const float *low, const float *before,
                       size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double size = fmax(fabs((double)low[i]), fabs((double)before[i]));
        double unit = fmax(error_absolute, error_relative * size);
        double far = ((double)low[i] - (double)high[i]) / unit;
        sum += far * far;
    }
    return sqrt(sum / (double)count);
}

bool adaptive_judge(struct adaptive *self, float *values, size_t count, double *noise,
                    struct error *error)
{
    const float *begun = values + (1 + BEGUN) * count;
    const float *low = values + (1 + LOW) * count;
    double far = error_of(values, low, self->before ? self->before : begun, count);
    double inverse = 1 / (far + 1e-8), order = self->is_noisy ? 1.5 : 3;
    double factor = 1 + atan(pow(inverse, 1 / order) - 1);
    if (!isfinite(far) || ++self->attempts > ATTEMPTS_MOST)
        return error_set_kind(error, ERROR_DEVICE,
                              "DPM adaptive: no step from sigma %g is good enough (%zu "
                              "attempts, error %g)",
                              exp(-self->now), self->attempts, far);
    if (!self->before)
        self->before = malloc(count * sizeof *self->before);
    if (!self->before)
        return error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    bool is_first = self->now == self->begin, taken = factor >= least_factor;
    if (taken) {
        memcpy(self->before, low, count * sizeof *low);
        self->now = self->to;
    } else {
        memcpy(values, begun, count * sizeof *begun);
        if (is_first)
            memcpy(self->before, begun, count * sizeof *begun);
    }
    self->stride *= factor;
    *noise = taken ? self->noise : -1;
    return true;
}

double adaptive_done(const struct adaptive *self)
{
    if (self->now >= self->end - nearly)
        return 1;
    return (self->now - self->begin) / (self->end - self->begin);
}
