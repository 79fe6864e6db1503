/* LMS: the last four slopes (x - x0) / sigma, through which a polynomial in sigma is laid
 * and integrated over the step. The current slope goes to slot i % 4. ComfyUI's ends on x0.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { ORDER = 4 };

/* The integral over step i of the polynomial that is 1 at the level `which` steps before and
 * 0 at the others; two points of Gauss do for its degree, 3 at most. */
static double weight(const double *levels, size_t i, size_t order, size_t which)
{
    double from = levels[i], to = levels[i + 1], sum = 0;
    for (int side = -1; side <= 1; side += 2) {
        double at = (from + to) / 2 + side * (to - from) / (2 * sqrt(3)), value = 1;
        for (size_t k = 0; k < order; k++)
            if (k != which)
                value *= (at - levels[i - k]) / (levels[i - which] - levels[i - k]);
        sum += value;
    }
    return sum * (to - from) / 2;
}

bool sampler_lms(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        /* diffusers' run from a picture has fewer slopes at first, with the same weights. */
        size_t slopes = i - self->first + 1, known = self->is_k ? slopes : i + 1;
        size_t order = known < ORDER ? known : ORDER;
        if (self->is_comfy && self->levels[i + 1] == 0)
            order = 1;
        struct step *step = sampler_add(self, self->timesteps[i],
                                        (struct sampler_level){1, self->levels[i]});
        sampler_slope(step, self->config->prediction, self->levels[i]);
        step->x_x = 1;
        step->x_d = (float)weight(self->levels, i, order, 0);
        for (size_t k = 1; k < order && k < slopes; k++)
            step->h[(i - k) % ORDER] = (float)weight(self->levels, i, order, k);
        step->save = (int)(i % ORDER);
    }
    return true;
}
