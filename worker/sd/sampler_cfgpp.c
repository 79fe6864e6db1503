/* CFG++ (Chung et al. 2024): guidance decides where a step leads, the output without the
 * prompt by which noise it is reached, so that latents keep to the noise they are made of.
 *
 * d is the guided denoised picture, u that without the prompt; slopes are (x - u) / sigma.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { DENOISED, KEPT };

static bool plan_euler(struct plan *self, bool is_ancestral)
{
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1], up = 0, down = next;
        struct step *step = sampler_evaluate(self, sigma, i);
        if (is_ancestral)
            sampler_ancestral(sigma, next, &up, &down);
        step->x_d = 1;
        if (next == 0)
            continue;
        step->x_x = (float)(down / sigma);
        sampler_add_uncond(step, -down / sigma);
        sampler_add_noise(self, step, up, sigma, next);
    }
    return true;
}

bool sampler_euler_cfgpp(struct plan *self, struct error *error)
{
    (void)error;
    return plan_euler(self, false);
}

bool sampler_euler_ancestral_cfgpp(struct plan *self, struct error *error)
{
    (void)error;
    return plan_euler(self, true);
}

/* Both evaluations step by u; what guidance adds, d - u of the first, is added at the end. */
bool sampler_dpmpp_2s_ancestral_cfgpp(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1], up, down;
        struct step *step = sampler_evaluate(self, sigma, i);
        sampler_ancestral(sigma, next, &up, &down);
        if (down == 0) {
            step->x_d = 1;
            continue;
        }
        double middle = sqrt(sigma * down);
        step->x_x = (float)(middle / sigma);
        sampler_add_uncond(step, 1 - middle / sigma);
        step->keep = KEPT;
        step->keep_x = (float)(down / sigma);
        step->keep_d = 1;
        sampler_keep_uncond(step, -1);
        step = sampler_evaluate(self, middle, i + 1);
        step->h[KEPT] = 1;
        sampler_add_uncond(step, 1 - down / sigma);
        sampler_add_noise(self, step, up, sigma, next);
    }
    return true;
}

bool sampler_dpmpp_2m_cfgpp(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        struct step *step = sampler_evaluate(self, sigma, i);
        step->x_x = (float)(next / sigma);
        step->x_d = 1;
        sampler_add_uncond(step, -next / sigma);
        step->keep = KEPT;
        sampler_keep_uncond(step, 1);
        if (i == self->first || next == 0)
            continue;
        double ratio = log(self->levels[i - 1] / sigma) / log(sigma / next);
        double share = (1 - next / sigma) / (2 * ratio);
        step->x_d += (float)share;
        step->h[KEPT] = (float)-share;
    }
    return true;
}
