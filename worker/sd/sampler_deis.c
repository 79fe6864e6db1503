/* DEIS: the predicted noise of the last steps, through which a polynomial in log rho is laid
 * (rho = sigma / alpha) and integrated over rho. Output i stands in slot i % ORDER_MOST.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { ORDER_MOST = 3 };

/* The antiderivative of the polynomial in l = log rho that is 1 at b and 0 at the `count`
 * others, c and d, themselves logarithms: of e^l (l - c)(l - d) / ((b - c)(b - d)). */
static double antiderivative(double l, double b, const double *others, size_t count)
{
    if (count == 0)
        return exp(l);
    double c = others[0];
    if (count == 1)
        return exp(l) * (l - c - 1) / (b - c);
    double d = others[1];
    return exp(l) * (l * l - (c + d + 2) * l + c * d + c + d + 2) / ((b - c) * (b - d));
}

/* The weight of the output `which` evaluations before the one of step i. */
static double weight(const double *levels, size_t i, size_t order, size_t which)
{
    double others[ORDER_MOST], own = log(levels[i - which]);
    size_t count = 0;
    for (size_t k = 0; k < order; k++)
        if (k != which)
            others[count++] = log(levels[i - k]);
    return antiderivative(log(levels[i + 1]), own, others, count) -
           antiderivative(log(levels[i]), own, others, count);
}

bool sampler_deis(struct plan *self, struct error *error)
{
    (void)error;
    const struct schedule_config *config = self->config;
    size_t n = self->steps,
           most = config->solver_order ? (size_t)config->solver_order : 2;
    bool falls = config->lower_order_final != 0 && n < 15;
    for (size_t i = self->first; i < n; i++) {
        struct sampler_level now = sampler_level_of(self->levels[i]);
        struct sampler_level next = sampler_level_of(self->levels[i + 1]);
        size_t left = n - i, order = falls && left < most ? left : most;
        size_t outputs = i - self->first + 1;
        order = order < outputs ? order : outputs;
        struct step *step = sampler_add(self, self->timesteps[i], now);
        sampler_noise(step, config->prediction, now.image, now.noise);
        step->x_x = (float)(next.image / now.image);
        step->x_d = (float)(next.image * weight(self->levels, i, order, 0));
        for (size_t k = 1; k < order; k++)
            step->h[(i - k) % ORDER_MOST] =
                (float)(next.image * weight(self->levels, i, order, k));
        step->save = (int)(i % ORDER_MOST);
    }
    return true;
}
