/* Two evaluations a step, in k-diffusion's terms: the slope (x - x0) / sigma is taken a
 * second time, at the end of the step (Heun) or in its middle (DPM2), and the step is then
 * made from its beginning, which slot KEPT holds. A step to sigma 0 is Euler's.
 *
 * With fresh noise (DPM2 a) a step ends below its level, and noise lifts it there.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { DENOISED, KEPT };

/* The first evaluation of a step: Euler's, to sigma `to`. */
static void first_half(struct plan *self, size_t i, double to)
{
    double sigma = self->levels[i];
    struct step *step =
        sampler_add(self, self->timesteps[i], (struct sampler_level){1, sigma});
    sampler_denoised(step, self->config->prediction, sigma);
    step->x_x = (float)(to / sigma);
    step->x_d = (float)(1 - to / sigma);
    step->save = DENOISED;
    step->keep = KEPT;
    step->keep_x = 1;
}

static void clip(struct plan *self)
{
    for (size_t i = 0; i < self->count; i++)
        self->step[i].clip =
            self->config->clip_sample == 1 ? (float)self->config->clip_sample_range : 0;
}

bool sampler_heun(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        first_half(self, i, next);
        if (next == 0)
            continue;
        struct step *step =
            sampler_add(self, self->timesteps[i + 1], (struct sampler_level){1, next});
        double half = (next - sigma) / 2;
        sampler_denoised(step, self->config->prediction, next);
        step->h[KEPT] = (float)(1 + half / sigma);
        step->h[DENOISED] = (float)(-half / sigma);
        step->x_x = (float)(half / next);
        step->x_d = (float)(-half / next);
    }
    clip(self);
    return true;
}

/* Heun's step with slopes of two or three evaluations ahead, weighed by their sigmas (Heun++);
 * the next to last step has two, the last is Euler's. */
bool sampler_heunpp(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1], dt = next - sigma;
        first_half(self, i, next);
        if (next == 0)
            continue;
        double after = self->levels[i + 2], ahead = after - next;
        double whole = (after > 0 ? 3 : 2) * self->levels[self->first];
        double second = next / whole * dt, third = after / whole * dt;
        double first = dt - second - third;
        struct step *step = &self->step[self->count - 1];
        step->keep_x = (float)(1 + first / sigma);
        step->keep_d = (float)(-first / sigma);
        step = sampler_evaluate(self, next, i + 1);
        if (after == 0) {
            step->h[KEPT] = 1;
            step->x_x = (float)(second / next);
            step->x_d = (float)(-second / next);
            continue;
        }
        step->x_x = (float)(1 + ahead / next);
        step->x_d = (float)(-ahead / next);
        step->keep = KEPT;
        step->keep_h[KEPT] = 1;
        step->keep_x = (float)(second / next);
        step->keep_d = (float)(-second / next);
        step = sampler_evaluate(self, after, i + 2);
        step->h[KEPT] = 1;
        step->x_x = (float)(third / after);
        step->x_d = (float)(-third / after);
    }
    return true;
}

/* A step of DPM2 by way of sigma `middle` to sigma `end`. */
static void add_dpm2(struct plan *self, size_t i, double middle, double end)
{
    double sigma = self->levels[i];
    first_half(self, i, middle);
    if (middle == 0)
        return;
    struct step *step = sampler_add(self, sampler_timestep(self, middle),
                                    (struct sampler_level){1, self->levels[i + 1]});
    sampler_denoised(step, self->config->prediction, middle);
    step->h[KEPT] = 1;
    step->x_x = (float)((end - sigma) / middle);
    step->x_d = (float)((sigma - end) / middle);
}

bool sampler_dpm2(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double next = self->levels[i + 1];
        add_dpm2(self, i, (float)sqrt(self->levels[i] * next), next);
    }
    return true;
}

bool sampler_dpm2_ancestral(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], up, down;
        sampler_ancestral(sigma, self->levels[i + 1], &up, &down);
        add_dpm2(self, i, (float)sqrt(sigma * down), down);
        if (self->levels[i + 1] > 0)
            self->step[self->count - 1].noise = (float)up;
    }
    return true;
}
