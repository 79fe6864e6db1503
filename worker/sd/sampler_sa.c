/* ComfyUI's SA-Solver (Xue et al. 2023, formulas 15 and 18, data prediction): a stochastic
 * Adams method of 3 outputs that predicts where a step leads and of 4 that corrects it once
 * the model has seen where that is. With lambda = -log sigma and m = 1 + tau^2 a step is
 *
 *     x' = sigma' / sigma exp(-tau^2 h) x + sum of b_k D_k + fresh noise
 *
 * Prediction and correction share all but the b_k, so the corrected x is the predicted one
 * plus differences of weights: neither x before the step nor its noise is kept. tau is 1
 * between 20 and 80 hundredths of the timesteps, else 0. Output i stands in slot i % OUTPUTS.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { OUTPUTS = 3, CORRECTED = 4 };

struct solver {
    struct plan *plan;
    double most, least; /* sigma that noise leads to */
};

/* The sigma at a share of the timesteps, linear in its logarithm. */
static double sigma_at(const struct plan *self, double share)
{
    double at = share * (self->config->train_steps - 1), low = floor(at);
    const double *sigmas = self->sigmas + (size_t)low;
    return exp((1 - (at - low)) * log(sigmas[0]) + (at - low) * log(sigmas[1]));
}

/* Both ends count, which steps of every fifth part meet to the last bit of a float. */
static double tau_to(const struct solver *self, double sigma)
{
    bool noisy = sigma <= self->most * (1 + 1e-6) && sigma >= self->least * (1 - 1e-6);
    return noisy ? 1 : 0;
}

/* weight[k]: the integral from level `from` to the one after of m exp(m (l - l')) times the
 * polynomial that is 1 at level `newest` - k and 0 at the other `count` - 1. */
static void weigh(const struct solver *self, size_t from, size_t newest, size_t count,
                  double *weight)
{
    const double *level = self->plan->levels;
    double tau = tau_to(self, level[from + 1]), m = 1 + tau * tau;
    double h = log(level[from] / level[from + 1]), power = 1, moment[CORRECTED];
    for (size_t p = 0; p < count; p++) {
        moment[p] = (p ? 0 : 1) - power * exp(-m * h);
        if (p)
            moment[p] -= (double)p / m * moment[p - 1];
        power *= -h;
    }
    for (size_t k = 0; k < count; k++) {
        double polynomial[CORRECTED] = {1}, sum = 0;
        for (size_t j = 0, degree = 0; j < count; j++) {
            if (j == k)
                continue;
            double node = log(level[from + 1] / level[newest - j]);
            double span = log(level[newest - j] / level[newest - k]);
            degree++;
            for (size_t p = degree + 1; p-- > 0;)
                polynomial[p] = ((p ? polynomial[p - 1] : 0) -
                                 node * (p < degree ? polynomial[p] : 0)) /
                                span;
        }
        for (size_t p = 0; p < count; p++)
            sum += polynomial[p] * moment[p];
        weight[k] = sum;
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many outputs lead from level i on, and correct how it was come to. */
static size_t predicted(const struct plan *self, size_t i)
{
    return least(least(OUTPUTS, i - self->first + 1), self->steps - 1 - i);
}

static size_t corrected(const struct plan *self, size_t i)
{
    return least(least(CORRECTED, i - self->first + 1), self->steps - i);
}

/* What the correction at level i adds of the outputs i, i - 1 and so on. */
static void correct(const struct solver *self, size_t i, double change[CORRECTED])
{
    double was[OUTPUTS] = {0};
    size_t before = predicted(self->plan, i - 1);
    weigh(self, i - 1, i, corrected(self->plan, i), change);
    weigh(self, i - 1, i - 1, before, was);
    for (size_t k = 0; k < before; k++)
        change[k + 1] -= was[k];
}

/* From x + change to the next level, predicted. */
static void advance(const struct solver *self, struct step *step, size_t i,
                    const double change[CORRECTED])
{
    struct plan *plan = self->plan;
    double sigma = plan->levels[i], next = plan->levels[i + 1], weight[CORRECTED] = {0};
    if (next == 0) {
        sampler_integrate(step, sigma, 0);
        return;
    }
    double tau = tau_to(self, next), h = log(sigma / next);
    double shrink = next / sigma * exp(-tau * tau * h);
    weigh(self, i, i, predicted(plan, i), weight);
    step->x_x = (float)shrink;
    step->x_d = (float)(weight[0] + shrink * change[0]);
    for (size_t k = 1; k < CORRECTED && k <= i - plan->first; k++)
        step->h[(i - k) % OUTPUTS] = (float)(weight[k] + shrink * change[k]);
    step->save = (int)(i % OUTPUTS);
    sampler_add_noise(plan, step, next * sqrt(-expm1(-2 * tau * tau * h)), sigma, next);
}

/* The x predicted for level i, corrected and seen by the model once more. */
static void add_correction(const struct solver *self, size_t i)
{
    struct plan *plan = self->plan;
    struct step *step = sampler_evaluate(plan, plan->levels[i], i);
    double change[CORRECTED] = {0};
    correct(self, i, change);
    step->x_x = 1;
    step->x_d = (float)change[0];
    for (size_t k = 1; k < CORRECTED && k <= i - plan->first; k++)
        step->h[(i - k) % OUTPUTS] = (float)change[k];
}

static bool plan_sa(struct plan *self, bool evaluates_again)
{
    struct solver solver = {self, sigma_at(self, 0.8), sigma_at(self, 0.2)};
    for (size_t i = self->first; i < self->steps; i++) {
        double change[CORRECTED] = {0};
        if (i > self->first && evaluates_again)
            add_correction(&solver, i);
        else if (i > self->first && self->levels[i + 1] > 0)
            correct(&solver, i, change);
        advance(&solver, sampler_evaluate(self, self->levels[i], i), i, change);
    }
    return true;
}

bool sampler_sa(struct plan *self, struct error *error)
{
    (void)error;
    return plan_sa(self, false);
}

bool sampler_sa_pece(struct plan *self, struct error *error)
{
    (void)error;
    return plan_sa(self, true);
}
