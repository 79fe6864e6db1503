/* Linear multistep methods as ComfyUI has them, over slopes (x - x0) / sigma of which the
 * current one goes to slot i % SLOTS: iPNDM (Zhang and Chen 2022) with Adams-Bashforth's
 * weights for steps of one length, iPNDM-v with weights by the lengths, and DEIS, whose
 * polynomial runs over the time of a continuous process. Every first step is Euler's, and so
 * is one that ends on sigma 0.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { SLOTS = 4 };

/* Fills a step's multiples of the newest slope and of those before. */
typedef void weights_of(const double *levels, size_t i, size_t order,
                        double weight[SLOTS]);

static bool plan_slopes(struct plan *self, size_t most, weights_of *weigh)
{
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        size_t known = i - self->first + 1, order = known < most ? known : most;
        struct step *step =
            sampler_add(self, self->timesteps[i], (struct sampler_level){1, sigma});
        double weight[SLOTS] = {next - sigma};
        if (order > 1 && next > 0)
            weigh(self->levels, i, order, weight);
        sampler_slope(step, self->config->prediction, sigma);
        step->x_x = 1;
        step->x_d = (float)weight[0];
        for (size_t k = 1; k < order; k++)
            step->h[(i - k) % SLOTS] = (float)weight[k];
        step->save = (int)(i % SLOTS);
    }
    return true;
}

static void weigh_evenly(const double *levels, size_t i, size_t order,
                         double weight[SLOTS])
{
    static const double weights[][SLOTS] = {
        {1},
        {3 / 2.0, -1 / 2.0},
        {23 / 12.0, -16 / 12.0, 5 / 12.0},
        {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0},
    };
    for (size_t k = 0; k < order; k++)
        weight[k] = (levels[i + 1] - levels[i]) * weights[order - 1][k];
}

/* h[k] is the length of the step k before. The third slope's share is ComfyUI's, where theory
 * has (1 - a) b / 2 in the place of (1 - a b) / 2. */
static void weigh_by_length(const double *levels, size_t i, size_t order,
                            double weight[SLOTS])
{
    double h[SLOTS] = {levels[i + 1] - levels[i]}, third = 0, fourth = 0;
    for (size_t k = 1; k < order; k++)
        h[k] = levels[i + 1 - k] - levels[i - k];
    double two = h[0] + h[1], before = h[1] + h[2], ratio = h[0] / h[1];
    double share[SLOTS] = {1 + ratio / 2, -ratio / 2};
    if (order > 2) {
        third = (1 - h[0] / (3 * two) * (h[0] * two) / (h[1] * before)) / 2;
        share[0] += third;
        share[1] -= (1 + h[1] / h[2]) * third;
        share[2] += third * h[1] / h[2];
    }
    if (order > 3) {
        double three = two + h[2], reach = h[1] * before / (h[2] * (h[2] + h[3]));
        fourth =
            (1 - h[0] / (3 * two)) / 2 + (1 - h[0] / (2 * two)) * h[0] / (6 * three);
        fourth *= h[0] * two * three / (h[1] * before * (before + h[3]));
        share[0] += fourth;
        share[1] -= (1 + h[1] / h[2] + reach) * fourth;
        share[2] += (h[1] / h[2] + reach * (1 + h[2] / h[3])) * fourth;
        share[3] -= fourth * reach * h[1] / h[2];
    }
    for (size_t k = 0; k < order; k++)
        weight[k] = h[0] * share[k];
}

bool sampler_ipndm(struct plan *self, struct error *error)
{
    (void)error;
    return plan_slopes(self, SLOTS, weigh_evenly);
}

bool sampler_ipndm_v(struct plan *self, struct error *error)
{
    (void)error;
    return plan_slopes(self, SLOTS, weigh_by_length);
}

/* The process whose sigma is 0.002 at time 0.001 and 80 at time 1, and whose beta rises
 * linearly: log(sigma^2 + 1) = rise t^2 / 2 + least t. */
struct process {
    double rise, least;
};

static struct process process(void)
{
    double last = log(80.0 * 80 + 1), first = log(0.002 * 0.002 + 1) / 0.001;
    struct process process = {.rise = 2 * (first - last) / (0.001 - 1)};
    process.least = last - process.rise / 2;
    return process;
}

static double time_of(const struct process *self, double sigma)
{
    double most = 2 * self->rise * log(sigma * sigma + 1);
    return (sqrt(self->least * self->least + most) - self->least) / self->rise;
}

/* How fast the noise grows there, for a slope of 1. */
static double growth(const struct process *self, double time)
{
    double alpha = exp(-time * (time / 2 * self->rise + self->least));
    return (time * self->rise + self->least) / 2 / sqrt(alpha * (1 - alpha));
}

/* The integral over the step of growth times the polynomial that is 1 at one slope's time and
 * 0 at the others', by as many points as ComfyUI takes, both ends among them. */
static void weigh_by_time(const double *levels, size_t i, size_t order,
                          double weight[SLOTS])
{
    enum { POINTS = 10000 };
    struct process over = process();
    double times[SLOTS], from = time_of(&over, levels[i]);
    double span = time_of(&over, levels[i + 1]) - from;
    for (size_t k = 0; k < order; k++) {
        times[k] = time_of(&over, levels[i - k]);
        weight[k] = 0;
    }
    for (int p = 0; p < POINTS; p++) {
        double at = from + span * p / (POINTS - 1), rate = growth(&over, at);
        for (size_t k = 0; k < order; k++) {
            double polynomial = 1;
            for (size_t j = 0; j < order; j++)
                if (j != k)
                    polynomial *= (at - times[j]) / (times[k] - times[j]);
            weight[k] += rate * polynomial * span / POINTS;
        }
    }
}

bool sampler_deis_k(struct plan *self, struct error *error)
{
    (void)error;
    return plan_slopes(self, SLOTS - 1, weigh_by_time);
}
