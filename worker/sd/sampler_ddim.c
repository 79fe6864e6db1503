#include <math.h>

#include "worker/sd/sampler_family.h"

/* The predicted noise as a multiple of x and one of e. */
static void noise_of(enum prediction prediction, double alpha, double sigma,
                     double *of_x, double *of_e)
{
    const double noise[][2] = {
        [PREDICTION_EPSILON] = {0, 1},
        [PREDICTION_V] = {sigma, alpha},
        [PREDICTION_SAMPLE] = {1 / sigma, -alpha / sigma},
    };
    *of_x = noise[prediction][0];
    *of_e = noise[prediction][1];
}

bool sampler_ddim(struct plan *self, struct error *error)
{
    const struct schedule_config *config = self->config;
    size_t whole = config->train_steps / self->steps;
    double stride = (double)whole;
    if (!schedule_timesteps(config, PLACING_ROUNDED, SPACING_LEADING, self->steps,
                            self->timesteps, error))
        return false;
    for (size_t i = self->first; i < self->steps; i++) {
        struct step *step = &self->step[i - self->first];
        double now, next, of_x, of_e, timestep = self->timesteps[i];
        if (!sampler_alpha(self, timestep, false, &now, error) ||
            !sampler_alpha(self, timestep - stride, config->set_alpha_to_one != 0,
                           &next, error))
            return false;
        double deviation = self->eta * sqrt((1 - next) / (1 - now) * (1 - now / next));
        double direction = sqrt(fmax(1 - next - deviation * deviation, 0));
        noise_of(config->prediction, sqrt(now), sqrt(1 - now), &of_x, &of_e);
        step->timestep = (float)timestep;
        step->input_scale = 1;
        sampler_clean(step, config->prediction, sqrt(now), sqrt(1 - now));
        step->clip = config->clip_sample != 0 ? (float)config->clip_sample_range : 0;
        step->x_d = (float)sqrt(next);
        step->x_x = (float)(direction * of_x);
        step->x_e = (float)(direction * of_e);
        step->noise = (float)deviation;
    }
    self->start_scale = 1;
    self->count = self->steps - self->first;
    sampler_fill_levels(self);
    return true;
}
