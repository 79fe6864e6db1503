/* Latent consistency models: every evaluation goes all the way to a clean picture (with a
 * boundary condition that hardly matters: 0.5 is its sigma_data), and noise lifts that to
 * the next timestep.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

/* A1111's: the boundary condition is put on the denoised picture and x as it is, noise to
 * sigma. */
bool sampler_lcm_a1111(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double next = self->levels[i + 1], scaled = self->timesteps[i] * 10,
               data = 0.25;
        struct step *step = sampler_evaluate(self, self->levels[i], i);
        step->x_d = (float)(scaled / sqrt(scaled * scaled + data));
        step->x_x = (float)(data / (scaled * scaled + data));
        sampler_add_noise(self, step, next, self->levels[i], next);
    }
    return true;
}

bool sampler_lcm(struct plan *self, struct error *error)
{
    const struct schedule_config *config = self->config;
    for (size_t i = self->first; i < self->steps; i++) {
        double now, next = 1, timestep = self->timesteps[i];
        if (!sampler_alpha(self, timestep, false, &now, error) ||
            (i + 1 < self->steps &&
             !sampler_alpha(self, self->timesteps[i + 1], false, &next, error)))
            return false;
        struct sampler_level level = {sqrt(now), sqrt(1 - now)};
        struct step *step = sampler_add(self, timestep, level);
        double scaled = timestep * config->timestep_scaling, data = 0.25;
        sampler_clean(step, config->prediction, level.image, level.noise);
        step->clip = config->clip_sample == 1 ? (float)config->clip_sample_range : 0;
        step->x_d = (float)(sqrt(next) * scaled / sqrt(scaled * scaled + data));
        step->x_x = (float)(sqrt(next) * data / (scaled * scaled + data));
        step->noise = (float)sqrt(1 - next);
    }
    return true;
}
