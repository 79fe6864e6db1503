/* DDIM and DDPM: a step is a sum of the predicted clean picture, x or its predicted noise,
 * and fresh noise, with weights from alphas_cumprod at this timestep and the next.
 */
#include <math.h>
#include <string.h>

#include "worker/sd/sampler_family.h"

/* The evaluation at timestep i, with the clean picture as d; its alpha. */
static struct step *evaluate(struct plan *self, size_t i, double *alpha,
                             struct error *error)
{
    const struct schedule_config *config = self->config;
    double timestep = self->timesteps[i];
    if (!sampler_alpha(self, timestep, false, alpha, error))
        return NULL;
    struct sampler_level level = {sqrt(*alpha), sqrt(1 - *alpha)};
    struct step *step = sampler_add(self, timestep, level);
    sampler_clean(step, config->prediction, level.image, level.noise);
    step->clip = config->clip_sample != 0 ? (float)config->clip_sample_range : 0;
    return step;
}

/* `uncond`: with the noise that is predicted without the prompt. */
static bool plan_ddim(struct plan *self, bool uncond, struct error *error)
{
    const struct schedule_config *config = self->config;
    double stride = (double)self->stride;
    for (size_t i = self->first; i < self->steps; i++) {
        double now, next;
        struct step noise;
        struct step *step = evaluate(self, i, &now, error);
        double then = self->is_k ? self->timesteps[i + 1] : self->timesteps[i] - stride;
        if (!step ||
            !sampler_alpha(self, then, config->set_alpha_to_one != 0, &next, error))
            return false;
        double deviation = self->eta * sqrt((1 - next) / (1 - now) * (1 - now / next));
        double direction = sqrt(fmax(1 - next - deviation * deviation, 0));
        sampler_noise(&noise, config->prediction, sqrt(now), sqrt(1 - now));
        step->x_d = (float)sqrt(next);
        step->x_x = (float)(direction * noise.d_x);
        *(uncond ? &step->x_u : &step->x_e) = (float)(direction * noise.d_e);
        step->noise = (float)deviation;
    }
    return true;
}

bool sampler_ddim(struct plan *self, struct error *error)
{
    return plan_ddim(self, false, error);
}

/* A1111 takes a guidance of 12.5 for CFG++'s 1. */
bool sampler_ddim_cfgpp(struct plan *self, struct error *error)
{
    self->guidance = 1 / 12.5;
    return plan_ddim(self, true, error);
}

bool sampler_ddpm(struct plan *self, struct error *error)
{
    const struct schedule_config *config = self->config;
    bool is_large = !strcmp(config->variance, "fixed_large");
    for (size_t i = self->first; i < self->steps; i++) {
        double now, next = 1;
        struct step *step = evaluate(self, i, &now, error);
        if (!step ||
            (i + 1 < self->steps &&
             !sampler_alpha(self, self->timesteps[i + 1], false, &next, error)))
            return false;
        double alpha = now / next, beta = 1 - alpha;
        double small = fmax((1 - next) / (1 - now) * beta, 1e-20);
        step->x_d = (float)(sqrt(next) * beta / (1 - now));
        step->x_x = (float)(sqrt(alpha) * (1 - next) / (1 - now));
        if (self->timesteps[i] > 0)
            step->noise = (float)sqrt(is_large ? beta : small);
    }
    return true;
}
