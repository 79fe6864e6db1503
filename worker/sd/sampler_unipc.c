/* UniPC: a step is predicted as DPM-Solver++ does, and when the model has seen where it led,
 * made again from its beginning with that output too (corrected); from there the next step
 * is predicted. One evaluation does for both:
 *
 *     corrected = of_x kept + corrections of the outputs, d among them
 *     x'        = of_x' corrected + predictions of the outputs
 *
 * Slot KEPT holds the corrected x. Output i stands in slot i % OUTPUTS.
 */
#include <math.h>
#include <string.h>

#include "worker/sd/sampler_family.h"

enum { OUTPUTS = 3, KEPT = 3 };

struct solver {
    struct plan *plan;
    size_t most; /* of the order */
    bool is_bh1; /* B(h) is h, not e^h - 1 */
    bool falls;  /* the order, where few steps are left */
};

/* One step from level i to i + 1. */
struct stride {
    double of_x, gain, scale; /* alpha' times expm1(-h), and times B(h) */
    double ratio[OUTPUTS];    /* r of the outputs before, then 1 */
    double
        moment[OUTPUTS]; /* what the differences' weights must sum to by powers of r */
};

static double half_snr_at(const struct plan *self, size_t i)
{
    return sampler_half_snr(sampler_level_of(self->levels[i]));
}

static struct stride stride_of(const struct solver *self, size_t i, size_t order)
{
    const struct plan *plan = self->plan;
    struct sampler_level now = sampler_level_of(plan->levels[i]);
    struct sampler_level next = sampler_level_of(plan->levels[i + 1]);
    double start = half_snr_at(plan, i), h = half_snr_at(plan, i + 1) - start;
    double base = self->is_bh1 ? -h : expm1(-h);
    double phi = expm1(-h) / -h - 1, factorial = 1;
    struct stride stride = {
        next.noise / now.noise, next.image * expm1(-h), next.image * base, {0}, {0}};
    for (size_t k = 0; k < order; k++) {
        stride.ratio[k] =
            k + 1 < order ? (half_snr_at(plan, i - 1 - k) - start) / h : 1;
        stride.moment[k] = phi * factorial / base;
        factorial *= (double)k + 2;
        phi = phi / -h - 1 / factorial;
    }
    return stride;
}

/* Solves sum_j ratio[j]^k weight[j] = moment[k] for k below count (at most 3): weight j is
 * the moments' product with the polynomial that is 1 at ratio[j] and 0 at the others. */
static void solve(const struct stride *stride, size_t count, double *weight)
{
    for (size_t j = 0; j < count; j++) {
        double polynomial[OUTPUTS] = {1}, sum = 0;
        size_t degree = 0;
        for (size_t k = 0; k < count; k++) {
            if (k == j)
                continue;
            double span = stride->ratio[j] - stride->ratio[k];
            degree++;
            for (size_t p = degree + 1; p-- > 0;)
                polynomial[p] = ((p ? polynomial[p - 1] : 0) -
                                 stride->ratio[k] * (p < degree ? polynomial[p] : 0)) /
                                span;
        }
        for (size_t p = 0; p < count; p++)
            sum += polynomial[p] * stride->moment[p];
        weight[j] = sum;
    }
}

/* The weights of the outputs i, i - 1, i - 2 in a step predicted from level i. */
static double predict(const struct solver *self, size_t i, size_t order,
                      double weight[OUTPUTS])
{
    struct stride stride = stride_of(self, i, order);
    double share[OUTPUTS] = {0.5};
    if (order > 2)
        solve(&stride, order - 1, share);
    weight[0] = -stride.gain;
    for (size_t k = 1; k < order; k++) {
        weight[k] = -stride.scale * share[k - 1] / stride.ratio[k - 1];
        weight[0] -= weight[k];
    }
    return stride.of_x;
}

/* The weights of the outputs i + 1, i, i - 1, i - 2 in that step corrected. */
static double correct(const struct solver *self, size_t i, size_t order,
                      double weight[OUTPUTS + 1])
{
    struct stride stride = stride_of(self, i, order);
    double share[OUTPUTS] = {0.5};
    if (order > 1)
        solve(&stride, order, share);
    weight[0] = -stride.scale * share[order - 1];
    weight[1] = -stride.gain - weight[0];
    for (size_t k = 1; k < order; k++) {
        weight[k + 1] = -stride.scale * share[k - 1] / stride.ratio[k - 1];
        weight[1] -= weight[k + 1];
    }
    return stride.of_x;
}

static void add_corrected(struct step *step, const struct solver *self, size_t i,
                          size_t before, double of_x)
{
    double weight[OUTPUTS + 1] = {0};
    step->keep_h[KEPT] = (float)correct(self, i - 1, before, weight);
    step->keep_d = (float)weight[0];
    step->h[KEPT] = (float)(of_x * step->keep_h[KEPT]);
    step->x_d += (float)(of_x * weight[0]);
    for (size_t k = 1; k <= before; k++) {
        size_t slot = (i - k) % OUTPUTS;
        step->keep_h[slot] = (float)weight[k];
        step->h[slot] += (float)(of_x * weight[k]);
    }
}

static void solve_steps(const struct solver *self)
{
    struct plan *plan = self->plan;
    size_t n = plan->steps, before = 0;
    for (size_t i = plan->first; i < n; i++) {
        struct sampler_level now = sampler_level_of(plan->levels[i]);
        size_t left = n - i, outputs = i - plan->first + 1;
        size_t order = self->falls && left < self->most ? left : self->most;
        order = order < outputs ? order : outputs;
        struct step *step = sampler_add(plan, plan->timesteps[i], now);
        double weight[OUTPUTS] = {0}, of_x = predict(self, i, order, weight);
        sampler_clean(step, plan->config->prediction, now.image, now.noise);
        step->x_d = (float)weight[0];
        for (size_t k = 1; k < order; k++)
            step->h[(i - k) % OUTPUTS] = (float)weight[k];
        if (i == plan->first) {
            step->x_x = (float)of_x;
            step->keep_x = 1;
        } else {
            add_corrected(step, self, i, before, of_x);
        }
        step->save = (int)(i % OUTPUTS);
        step->keep = KEPT;
        before = order;
    }
}

bool sampler_unipc(struct plan *self, struct error *error)
{
    const struct schedule_config *config = self->config;
    struct solver solver = {.plan = self,
                            .most =
                                config->solver_order ? (size_t)config->solver_order : 2,
                            .is_bh1 = !strcmp(config->solver, "bh1"),
                            .falls = config->lower_order_final != 0};
    if (solver.is_bh1 && self->levels[self->steps] == 0)
        return error_set_kind(error, ERROR_INPUT,
                              "solver_type bh1 needs final_sigmas_type sigma_min");
    solve_steps(&solver);
    return true;
}

/* A1111's: its noise is that of whole timesteps where v is predicted. */
bool sampler_unipc_a1111(struct plan *self, struct error *error)
{
    struct solver solver = {.plan = self, .most = 3, .is_bh1 = true, .falls = true};
    if (self->steps < solver.most)
        return error_set_kind(error, ERROR_INPUT,
                              "%zu steps to run, expected 3 or more", self->steps);
    solve_steps(&solver);
    for (size_t i = 0; self->config->prediction == PREDICTION_V && i < self->count;
         i++) {
        struct step *step = &self->step[i];
        struct sampler_level at = sampler_level_of(self->levels[i]);
        double alpha = self->alphas[(size_t)step->timestep];
        step->d_x = (float)((1 - at.noise * sqrt(1 - alpha)) / at.image);
        step->d_e = (float)(-at.noise * sqrt(alpha) / at.image);
    }
    return true;
}

/* ComfyUI's: latents are made variance preserving, and end on sigma 0.001. */
static bool plan_comfy(struct plan *self, bool is_bh1, struct error *error)
{
    size_t run = self->steps - self->first, most = run > 3 ? 3 : run - 1;
    struct solver solver = {
        .plan = self, .most = most, .is_bh1 = is_bh1, .falls = true};
    double scale = sampler_level_of(self->levels[self->first]).image;
    if (run < 2)
        return error_set_kind(error, ERROR_INPUT, "1 step, expected 2 or more");
    self->levels[self->steps] = 0.001;
    self->start_scale *= scale;
    self->start = (struct sampler_level){scale, self->start.noise * scale};
    solve_steps(&solver);
    return true;
}

bool sampler_unipc_bh1(struct plan *self, struct error *error)
{
    return plan_comfy(self, true, error);
}

bool sampler_unipc_bh2(struct plan *self, struct error *error)
{
    return plan_comfy(self, false, error);
}
