/* Euler and Euler a, in k-diffusion's terms: x = x0 + sigma noise, the UNet sees
 * x / sqrt(sigma^2 + 1), and a step is x + (x - x0) / sigma (next - sigma).
 */
#include "worker/sd/sampler_family.h"

/* The evaluation of step i and Euler's step from there to another sigma. */
static struct step *add_euler(struct plan *self, size_t i, double to)
{
    double sigma = self->levels[i];
    struct step *step =
        sampler_add(self, self->timesteps[i], (struct sampler_level){1, sigma});
    sampler_denoised(step, self->config->prediction, sigma);
    step->x_x = (float)(to / sigma);
    step->x_d = (float)(1 - to / sigma);
    return step;
}

bool sampler_euler(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++)
        add_euler(self, i, self->levels[i + 1]);
    return true;
}

bool sampler_euler_ancestral(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double up, down;
        sampler_ancestral(self->levels[i], self->levels[i + 1], &up, &down);
        add_euler(self, i, down)->noise = (float)up;
    }
    return true;
}
