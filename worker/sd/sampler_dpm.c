/* DPM-Solver and DPM-Solver++: a step is exact but for how the model's output changes over
 * it, which a polynomial in half the log of the signal-to-noise ratio describes:
 *
 *     x' = of_x x + of_d[0] D0 + of_d[1] D1 + of_d[2] D2 + noise z
 *
 * D0 is an output (the clean picture, or in "dpmsolver" the noise), D1 and D2 are divided
 * differences of it and the ones before. The multistep method takes D0 from the step's
 * beginning; the single step method goes on from where the first of up to three evaluations
 * began, which slot KEPT holds. Output k stands in slot k % OUTPUTS.
 */
#include <math.h>
#include <string.h>

#include "worker/sd/sampler_family.h"

enum { OUTPUTS = 3, KEPT = 3 };

struct update {
    double of_x, of_d[3], noise;
};

struct solver {
    struct plan *plan;
    bool predicts_noise, is_stochastic, is_heun;
    size_t order;
};

/* Of a step over h. Orders above 1: the first difference is weighed by the midpoint rule
 * where `is_midpoint`. */
static struct update update_of(const struct solver *self, struct sampler_level from,
                               struct sampler_level to, double h, bool is_midpoint)
{
    struct update u;
    double g = expm1(self->predicts_noise ? h : self->is_stochastic ? -2 * h : -h);
    if (self->predicts_noise) {
        double twice = self->is_stochastic ? 2 : 1;
        u.of_x = to.image / from.image;
        u.of_d[0] = -twice * to.noise * g;
        u.of_d[1] =
            is_midpoint ? -twice * 0.5 * to.noise * g : -twice * to.noise * (g / h - 1);
        u.of_d[2] = -to.noise * ((g - h) / (h * h) - 0.5);
        u.noise = self->is_stochastic ? to.noise * sqrt(expm1(2 * h)) : 0;
    } else {
        double span = self->is_stochastic ? -2 * h : -h;
        u.of_x = to.noise / from.noise * (self->is_stochastic ? exp(-h) : 1);
        u.of_d[0] = -to.image * g;
        u.of_d[1] = is_midpoint ? -0.5 * to.image * g : to.image * (1 - g / span);
        u.of_d[2] = -to.image * ((g - span) / (span * span) - 0.5);
        if (self->is_stochastic)
            u.of_d[2] = to.image * ((-g + span) / (span * span) - 0.5);
        u.noise = self->is_stochastic ? to.noise * sqrt(-g) : 0;
    }
    return u;
}

static struct sampler_level level_at(const struct solver *self, size_t i)
{
    return sampler_level_of(self->plan->levels[i]);
}

/* Half the log of the signal-to-noise ratio from level i to level j. */
static double distance(const struct solver *self, size_t i, size_t j)
{
    return sampler_half_snr(level_at(self, j)) - sampler_half_snr(level_at(self, i));
}

/* Evaluation i with its output as d, saved. */
static struct step *evaluate(const struct solver *self, size_t i)
{
    struct plan *plan = self->plan;
    struct sampler_level level = level_at(self, i);
    struct step *step = sampler_add(plan, plan->timesteps[i], level);
    if (self->predicts_noise)
        sampler_noise(step, plan->config->prediction, level.image, level.noise);
    else
        sampler_clean(step, plan->config->prediction, level.image, level.noise);
    step->save = (int)(i % OUTPUTS);
    return step;
}

/* Weights of this output and the `order` - 1 before. */
static void set_weights(struct step *step, size_t i, size_t order,
                        const double weight[OUTPUTS])
{
    step->x_d = (float)weight[0];
    for (size_t k = 1; k < order; k++)
        step->h[(i - k) % OUTPUTS] = (float)weight[k];
}

static void add_multistep(const struct solver *self, size_t i, size_t order)
{
    struct step *step = evaluate(self, i);
    double h = distance(self, i, i + 1);
    struct update u = update_of(self, level_at(self, i), level_at(self, i + 1), h,
                                order == 2 && !self->is_heun);
    double weight[OUTPUTS] = {u.of_d[0]};
    if (order == 2) {
        double r = distance(self, i - 1, i) / h;
        weight[0] += u.of_d[1] / r;
        weight[1] = -u.of_d[1] / r;
    } else if (order == 3) {
        double r0 = distance(self, i - 1, i) / h, r1 = distance(self, i - 2, i - 1) / h;
        double newer = u.of_d[1] * (1 + r0 / (r0 + r1)) + u.of_d[2] / (r0 + r1);
        double older = -(u.of_d[1] * r0 + u.of_d[2]) / (r0 + r1);
        weight[0] += newer / r0;
        weight[1] = older / r1 - newer / r0;
        weight[2] = -older / r1;
    }
    step->x_x = (float)u.of_x;
    step->noise = (float)u.noise;
    set_weights(step, i, order, weight);
}

static void add_singlestep(const struct solver *self, size_t i, size_t order)
{
    struct step *step = evaluate(self, i);
    size_t base = i + 1 - order; /* where the step began */
    double h = distance(self, base, i + 1);
    struct update u = update_of(self, level_at(self, base), level_at(self, i + 1), h,
                                order == 2 && !self->is_heun);
    double weight[OUTPUTS] = {u.of_d[0]};
    if (order == 2) {
        double r = distance(self, base, i) / h;
        weight[0] = u.of_d[1] / r;
        weight[1] = u.of_d[0] - u.of_d[1] / r;
    } else if (order == 3) {
        double r0 = distance(self, base, i) / h, r1 = distance(self, base, i - 1) / h;
        double d1 = u.of_d[1], d2 = self->is_heun ? 2 * u.of_d[2] : 0;
        weight[0] = self->is_heun ? (d2 - d1 * r1) / (r0 - r1) / r0 : d1 / r0;
        weight[1] = self->is_heun ? (d1 * r0 - d2) / (r0 - r1) / r1 : 0;
        weight[2] = u.of_d[0] - weight[0] - weight[1];
    }
    if (order == 1) {
        step->x_x = (float)u.of_x;
        step->keep = KEPT;
        step->keep_x = 1;
    } else {
        step->h[KEPT] = (float)u.of_x;
    }
    step->noise = (float)u.noise;
    set_weights(step, i, order, weight);
}

static bool begin(struct solver *self, struct plan *plan, bool is_single,
                  struct error *error)
{
    const struct schedule_config *config = plan->config;
    const char *algorithm = config->algorithm;
    bool ends_on_zero = strcmp(config->final_sigmas, "sigma_min") != 0;
    *self = (struct solver){
        .plan = plan,
        .predicts_noise =
            !strcmp(algorithm, "dpmsolver") || !strcmp(algorithm, "sde-dpmsolver"),
        .is_stochastic = !strncmp(algorithm, "sde-", 4),
        .is_heun = !strcmp(config->solver, "heun"),
        .order = config->solver_order ? (size_t)config->solver_order : 2,
    };
    if (self->predicts_noise && ends_on_zero)
        return error_set_kind(error, ERROR_INPUT,
                              "algorithm_type %s needs final_sigmas_type sigma_min",
                              algorithm);
    if (self->predicts_noise && self->is_stochastic && (is_single || self->order == 3))
        return error_set_kind(error, ERROR_INPUT,
                              "algorithm_type %s is not defined here; take "
                              "sde-dpmsolver++",
                              algorithm);
    return true;
}

bool sampler_dpm_multistep(struct plan *self, struct error *error)
{
    struct solver solver;
    const struct schedule_config *config = self->config;
    if (!begin(&solver, self, false, error))
        return false;
    bool ends_on_zero = self->levels[self->steps] == 0;
    bool falls = config->lower_order_final != 0 && self->steps < 15;
    for (size_t i = self->first; i < self->steps; i++) {
        size_t left = self->steps - i, order = solver.order, outputs = i - self->first;
        if (left == 1 && (config->euler_at_final == 1 || falls || ends_on_zero))
            order = 1;
        if (left == 2 && falls && order > 2)
            order = 2;
        add_multistep(&solver, i, order < outputs + 1 ? order : outputs + 1);
    }
    return true;
}

/* The order of evaluation i: 1, 2, 3, 1, 2, 3 and at the end as many as are left. */
static size_t single_order(const struct solver *self, size_t i, bool falls)
{
    size_t steps = self->plan->steps, cycle = self->order;
    bool is_last = i + 1 == steps;
    bool ends_on_zero = self->plan->levels[steps] == 0;
    if (falls && steps % cycle == 0 && i + 2 >= steps && cycle > 1)
        return cycle == 3 && !is_last ? 2 : 1;
    if (is_last && ends_on_zero)
        return 1;
    return i % cycle + 1;
}

bool sampler_dpm_singlestep(struct plan *self, struct error *error)
{
    struct solver solver;
    if (!begin(&solver, self, true, error))
        return false;
    bool falls = self->config->lower_order_final == 1 ||
                 self->steps % solver.order != 0 || self->levels[self->steps] == 0;
    for (size_t i = self->first; i < self->steps; i++) {
        size_t order = single_order(&solver, i, falls), outputs = i - self->first + 1;
        add_singlestep(&solver, i, order < outputs ? order : outputs);
    }
    return true;
}
