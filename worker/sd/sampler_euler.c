/* Euler and Euler a, in k-diffusion's terms: x = x0 + sigma noise, the UNet sees
 * x / sqrt(sigma^2 + 1), and a step is x + (x - x0) / sigma (next - sigma).
 */
#include <math.h>
#include <string.h>

#include "worker/sd/sampler_family.h"

/* x' = x + (x - x0) / sigma change, for each kind of prediction. */
static void advance(struct step *step, enum prediction prediction, double sigma,
                    double change)
{
    double scale = 1 / (sigma * sigma + 1);
    const double slope[][2] = {
        [PREDICTION_EPSILON] = {0, 1},
        [PREDICTION_V] = {(1 - scale) / sigma, sqrt(scale)},
        [PREDICTION_SAMPLE] = {1 / sigma, -1 / sigma},
    };
    step->input_scale = (float)sqrt(scale);
    step->x_x = (float)(1 + slope[prediction][0] * change);
    step->x_e = (float)(slope[prediction][1] * change);
}

bool sampler_euler(struct plan *self, struct error *error)
{
    if (!sampler_place_k(self, false, error))
        return false;
    if (!strcmp(self->config->final_sigmas, "sigma_min"))
        self->levels[self->steps] = self->sigmas[0];
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i];
        struct step *step =
            sampler_add(self, self->timesteps[i], (struct sampler_level){1, sigma});
        advance(step, self->config->prediction, sigma, self->levels[i + 1] - sigma);
    }
    return true;
}

bool sampler_euler_ancestral(struct plan *self, struct error *error)
{
    if (!sampler_no_sample(self, error) || !sampler_place_k(self, false, error))
        return false;
    for (size_t i = self->first; i < self->steps; i++) {
        double from = self->levels[i], up, down;
        sampler_ancestral(from, self->levels[i + 1], &up, &down);
        struct step *step =
            sampler_add(self, self->timesteps[i], (struct sampler_level){1, from});
        step->noise = (float)up;
        advance(step, self->config->prediction, from, down - from);
    }
    return true;
}
