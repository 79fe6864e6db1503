#include "worker/sd/schedule_k.h"

#include <math.h>
#include <string.h>

#include "base/buffer.h"

typedef size_t maker(const struct schedule_model *self, size_t steps, double *sigmas);

static double least(const struct schedule_model *self)
{
    return self->sigmas[0];
}

static double most(const struct schedule_model *self)
{
    return self->sigmas[self->count - 1];
}

/* numpy.linspace(first, last, count)[i] */
static double between(double first, double last, size_t count, size_t i)
{
    if (count < 2)
        return first;
    return i == count - 1 ? last
                          : first + (double)i * ((last - first) / (double)(count - 1));
}

/* The sigma of a timestep, linear in log sigma. */
static double sigma_at(const struct schedule_model *self, double timestep)
{
    size_t last = self->count - 1, low = (size_t)timestep;
    size_t high = low < last ? low + 1 : last;
    double share = timestep - (double)low;
    return exp((1 - share) * log(self->sigmas[low]) + share * log(self->sigmas[high]));
}

static size_t end_on_zero(double *sigmas, size_t count)
{
    sigmas[count] = 0;
    return count + 1;
}

static size_t by_curve(const struct schedule_model *self, enum curve curve,
                       size_t steps, double *sigmas)
{
    schedule_curve(curve, most(self), least(self), steps, sigmas);
    return end_on_zero(sigmas, steps);
}

static size_t karras(const struct schedule_model *self, size_t steps, double *sigmas)
{
    return by_curve(self, CURVE_KARRAS, steps, sigmas);
}

/* Polyexponential with its default rho of 1 is this too. */
static size_t exponential(const struct schedule_model *self, size_t steps,
                          double *sigmas)
{
    return by_curve(self, CURVE_EXPONENTIAL, steps, sigmas);
}

/* A1111 spreads the quantiles over sigma, ComfyUI over the model's timesteps, where those
 * that fall together count once. */
static size_t beta(const struct schedule_model *self, size_t steps, double *sigmas)
{
    size_t count = 0;
    double last = -1;
    if (!self->is_comfy)
        return by_curve(self, CURVE_BETA, steps, sigmas);
    for (size_t i = 0; i < steps; i++) {
        double share = 1 - (double)i / (double)steps;
        double t =
            rint(schedule_beta_quantile(share, 0.6, 0.6) * (double)(self->count - 1));
        if (t != last)
            sigmas[count++] = self->sigmas[(size_t)t];
        last = t;
    }
    return end_on_zero(sigmas, count);
}

/* A1111's Uniform and Normal. */
static size_t uniform(const struct schedule_model *self, size_t steps, double *sigmas)
{
    for (size_t i = 0; i < steps; i++)
        sigmas[i] = sigma_at(self, between((double)(self->count - 1), 0, steps, i));
    return end_on_zero(sigmas, steps);
}

static size_t sgm_uniform(const struct schedule_model *self, size_t steps,
                          double *sigmas)
{
    for (size_t i = 0; i < steps; i++)
        sigmas[i] = sigma_at(self, between((double)(self->count - 1), 0, steps + 1, i));
    return end_on_zero(sigmas, steps);
}

/* Sabour et al. 2024. A1111's has `steps` steps of which the last ends above 0. */
static size_t kl_optimal(const struct schedule_model *self, size_t steps,
                         double *sigmas)
{
    size_t count = self->is_comfy ? steps : steps + 1;
    for (size_t i = 0; i < count; i++)
        sigmas[i] = tan(between(atan(most(self)), atan(least(self)), count, i));
    return self->is_comfy ? end_on_zero(sigmas, count) : count;
}

/* Sabour et al. 2024, "Align Your Steps": ten steps found by optimising, others between
 * them, linear in log sigma. */
static size_t align_your_steps(const struct schedule_model *self, size_t steps,
                               double *sigmas)
{
    enum { KNOWN = 11 };
    static const double known[][KNOWN] = {
        {14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029},
        {14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029},
    };
    const double *from = known[self->is_xl];
    for (size_t i = 0; i < steps; i++) {
        /* One step takes the least, as numpy's reversal has it. */
        double at = steps > 1 ? between(0, KNOWN - 1, steps, i) : KNOWN - 1;
        size_t low = at < KNOWN - 2 ? (size_t)at : KNOWN - 2;
        double share = at - (double)low;
        sigmas[i] = exp((1 - share) * log(from[low]) + share * log(from[low + 1]));
    }
    return end_on_zero(sigmas, steps);
}

static size_t simple(const struct schedule_model *self, size_t steps, double *sigmas)
{
    double stride = (double)self->count / (double)steps;
    for (size_t i = 0; i < steps; i++)
        sigmas[i] = self->sigmas[self->count - 1 - (size_t)((double)i * stride)];
    return end_on_zero(sigmas, steps);
}

/* Every so many of the model's sigmas from the second on: there may be more than `steps`. */
static size_t ddim(const struct schedule_model *self, size_t steps, double *sigmas)
{
    size_t stride = self->count / steps ? self->count / steps : 1;
    size_t count = (self->count - 1 + stride - 1) / stride;
    for (size_t i = 0; i < count; i++)
        sigmas[count - 1 - i] = self->sigmas[1 + i * stride];
    return end_on_zero(sigmas, count);
}

/* The ends of n even parts of the training, as SD Turbo's four (Forge). */
static size_t turbo(const struct schedule_model *self, size_t steps, double *sigmas)
{
    double stride = (double)self->count / (double)steps;
    for (size_t i = 0; i < steps; i++)
        sigmas[i] = self->sigmas[(size_t)rint((double)(steps - i) * stride - 1)];
    return end_on_zero(sigmas, steps);
}

/* Mochi's: sigma falls by a fortieth of it over the first half of the steps, in a line, and
 * over the others along the parabola that goes on as steeply and ends on 0. */
static size_t linear_quadratic(const struct schedule_model *self, size_t steps,
                               double *sigmas)
{
    double half = floor((double)steps / 2), rest = (double)steps - half;
    double slope = half > 0 ? 0.025 / half : 0;
    double bend = (0.975 - slope * rest) / (rest * rest);
    for (size_t i = 0; i < steps; i++) {
        double later = fmax((double)i - half, 0);
        double fallen = slope * (double)i + bend * later * later;
        sigmas[i] = most(self) * (1 - fallen);
    }
    return end_on_zero(sigmas, steps);
}

static const struct {
    const char *name, *also;
    maker *make;
} schedules[] = {
    {"Normal", NULL, uniform},
    {"Karras", NULL, karras},
    {"Exponential", NULL, exponential},
    {"Polyexponential", NULL, exponential},
    {"Uniform", NULL, uniform},
    {"SGM Uniform", "sgm_uniform", sgm_uniform},
    {"KL Optimal", "kl_optimal", kl_optimal},
    {"Align Your Steps", "align_your_steps", align_your_steps},
    {"Simple", NULL, simple},
    {"DDIM", "ddim_uniform", ddim},
    {"Beta", NULL, beta},
    {"Turbo", NULL, turbo},
    {"Linear Quadratic", "linear_quadratic", linear_quadratic},
};
enum { SCHEDULES = sizeof schedules / sizeof *schedules };

size_t schedule_k_room(size_t steps)
{
    return 2 * steps + 4;
}

bool schedule_k(const struct schedule_model *self, const char *name, size_t steps,
                double *sigmas, size_t *count, struct error *error)
{
    struct buffer known = {0};
    for (size_t i = 0; i < SCHEDULES; i++) {
        const char *also = schedules[i].also;
        if (strcasecmp(name, schedules[i].name) != 0 &&
            !(also && strcasecmp(name, also) == 0))
            continue;
        *count = schedules[i].make(self, steps, sigmas);
        for (size_t k = 0; k < *count; k++)
            sigmas[k] = (float)sigmas[k];
        return true;
    }
    for (size_t i = 0; i < SCHEDULES; i++)
        buffer_printf(&known, NULL, ", %s", schedules[i].name);
    error_set_kind(error, ERROR_INPUT, "no schedule %.60s; there are Automatic%s", name,
                   buffer_text(&known));
    buffer_clear(&known);
    return false;
}
