/* k-diffusion's stochastic and multistep samplers, for x = x0 + sigma n: DPM-Solver++ in
 * t = -log sigma. d is always the denoised picture; slots hold earlier ones, or what a step
 * of several evaluations began with.
 */
#include <math.h>

#include "worker/sd/adaptive.h"
#include "worker/sd/sampler_family.h"

enum { DENOISED, EARLIER, EARLIEST, KEPT };

bool sampler_dpmpp_2s_ancestral(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1], up, down;
        struct step *step = sampler_evaluate(self, sigma, i);
        sampler_ancestral(sigma, next, &up, &down);
        if (down > 0) {
            double middle = sqrt(sigma * down);
            sampler_integrate(step, sigma, middle);
            step->keep = KEPT;
            step->keep_x = 1;
            step = sampler_evaluate(self, middle, i + 1);
            step->h[KEPT] = (float)(down / sigma);
            step->x_d = (float)(1 - down / sigma);
        } else {
            sampler_integrate(step, sigma, 0);
        }
        sampler_add_noise(self, step, next > 0 ? up : 0, sigma, next);
    }
    return true;
}

bool sampler_dpmpp_sde(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1], up, down;
        struct step *step = sampler_evaluate(self, sigma, i);
        if (next == 0) {
            sampler_integrate(step, sigma, 0);
            continue;
        }
        double middle = (float)sqrt(sigma * next);
        sampler_ancestral(sigma, middle, &up, &down);
        sampler_integrate(step, sigma, down);
        step->keep = KEPT;
        step->keep_x = 1;
        sampler_add_noise(self, step, up, sigma, middle);
        step = sampler_evaluate(self, middle, i + 1);
        sampler_ancestral(sigma, next, &up, &down);
        step->h[KEPT] = (float)(down / sigma);
        step->x_d = (float)(1 - down / sigma);
        sampler_add_noise(self, step, up, sigma, next);
    }
    return true;
}

bool sampler_dpmpp_2m(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        struct step *step = sampler_evaluate(self, sigma, i);
        sampler_integrate(step, sigma, next);
        step->save = (int)(i % 2);
        if (i == self->first || next == 0)
            continue;
        double ratio = log(self->levels[i - 1] / sigma) / log(sigma / next);
        double gain = 1 - next / sigma;
        step->x_d = (float)(gain * (1 + 1 / (2 * ratio)));
        step->h[(i + 1) % 2] = (float)(-gain / (2 * ratio));
    }
    return true;
}

/* A step of DPM-Solver++ 2M SDE or 3M SDE: the exponential integrator of d, whose slope and
 * curvature over t the `earlier` outputs before tell. */
static void add_sde(struct plan *self, size_t i, size_t earlier, bool is_midpoint)
{
    double sigma = self->levels[i], next = self->levels[i + 1], h = log(sigma / next);
    struct step *step = sampler_evaluate(self, sigma, i);
    double gain = -expm1(-2 * h), phi2 = 1 - gain / (2 * h),
           phi3 = phi2 / (2 * h) - 0.5;
    double weight[3] = {gain};
    step->x_x = (float)exp(-2 * h);
    if (earlier == 1) {
        double r = log(self->levels[i - 1] / sigma) / h;
        weight[1] = -(is_midpoint ? gain / 2 : phi2) / r;
        weight[0] -= weight[1];
    } else if (earlier == 2) {
        double r0 = log(self->levels[i - 1] / sigma) / h;
        double r1 = log(self->levels[i - 2] / self->levels[i - 1]) / h;
        double newer = phi2 * (1 + r0 / (r0 + r1)) - phi3 / (r0 + r1);
        double older = (phi3 - phi2 * r0) / (r0 + r1);
        weight[0] += newer / r0;
        weight[1] = older / r1 - newer / r0;
        weight[2] = -older / r1;
    }
    step->x_d = (float)weight[0];
    for (size_t k = 1; k <= earlier; k++)
        step->h[(i - k) % 3] = (float)weight[k];
    step->save = (int)(i % 3);
    sampler_add_noise(self, step, next * sqrt(gain), sigma, next);
}

static bool plan_sde(struct plan *self, size_t most, bool is_midpoint)
{
    for (size_t i = self->first; i < self->steps; i++) {
        size_t before = i - self->first;
        if (self->levels[i + 1] > 0)
            add_sde(self, i, before < most ? before : most, is_midpoint);
        else
            sampler_integrate(sampler_evaluate(self, self->levels[i], i),
                              self->levels[i], 0);
    }
    return true;
}

bool sampler_dpmpp_2m_sde(struct plan *self, struct error *error)
{
    (void)error;
    return plan_sde(self, 1, true);
}

bool sampler_dpmpp_2m_sde_heun(struct plan *self, struct error *error)
{
    (void)error;
    return plan_sde(self, 1, false);
}

bool sampler_dpmpp_3m_sde(struct plan *self, struct error *error)
{
    (void)error;
    return plan_sde(self, 2, false);
}

/* One step of DPM fast from t to `down`, of order 1 to 3, each a single step solver. */
static void add_fast(struct plan *self, double sigma, double down, size_t order)
{
    double h = log(sigma / down);
    /* eps = (x - d) / sigma at each evaluation, as the device has only d: slots hold eps,
     * so d is made into it. */
    struct step *step = sampler_add(self, sampler_timestep(self, sigma),
                                    (struct sampler_level){1, sigma});
    sampler_slope(step, self->config->prediction, sigma);
    step->x_x = 1;
    step->x_d = (float)(-down * expm1(h));
    if (order == 1)
        return;
    double r = order == 2 ? 0.5 : 1 / 3.0, middle = sigma * exp(-r * h);
    step->x_d = (float)(-middle * expm1(r * h));
    step->save = DENOISED;
    step->keep = KEPT;
    step->keep_x = 1;
    step = sampler_add(self, sampler_timestep(self, middle),
                       (struct sampler_level){1, down});
    sampler_slope(step, self->config->prediction, middle);
    step->h[KEPT] = 1;
    if (order == 2) {
        double share = -down * expm1(h); /* divided by 2 r = 1 */
        step->x_d = (float)share;
        return;
    }
    double third = sigma * exp(-2 * h / 3), span = 2 * h / 3;
    double slope = -third * 2 * (expm1(span) / span - 1);
    step->x_d = (float)slope;
    step->h[DENOISED] = (float)(-third * expm1(span) - slope);
    step = sampler_add(self, sampler_timestep(self, third),
                       (struct sampler_level){1, down});
    sampler_slope(step, self->config->prediction, third);
    slope = -down * 1.5 * (expm1(h) / h - 1);
    step->h[KEPT] = 1;
    step->x_d = (float)slope;
    step->h[DENOISED] = (float)(-down * expm1(h) - slope);
}

/* What DPM fast and adaptive go through: A1111's from noise the model's sigmas, else the
 * schedule's but for its 0. */
static bool range(const struct plan *self, double *top, double *bottom,
                  struct error *error)
{
    *top = self->levels[self->first];
    *bottom = self->levels[self->steps - 1];
    if (!self->first && !self->is_comfy) {
        *top = self->sigmas[self->config->train_steps - 1];
        *bottom = self->sigmas[0];
    }
    return *bottom < *top ||
           error_set_kind(error, ERROR_INPUT, "too few steps for this sampler");
}

bool sampler_dpm_adaptive(struct plan *self, struct error *error)
{
    double top, bottom;
    if (!range(self, &top, &bottom, error))
        return false;
    self->adaptive = adaptive_new(self, top, bottom, error);
    for (int i = 0; i < ADAPTIVE_EVALUATIONS; i++)
        sampler_add(self, 0, (struct sampler_level){1, top});
    return self->adaptive != NULL;
}

/* ComfyUI's is without noise. */
bool sampler_dpm_fast(struct plan *self, struct error *error)
{
    size_t evaluations = self->steps - self->first, groups = evaluations / 3 + 1;
    double top, bottom;
    if (!range(self, &top, &bottom, error))
        return false;
    for (size_t i = 0; i < groups; i++) {
        size_t left = groups - i, rest = evaluations % 3, order = 3, up_to = i + 1;
        if (rest == 0 && left <= 2)
            order = left;
        else if (rest && left == 1)
            order = rest;
        double stride = log(top / bottom) / (double)groups;
        double sigma = top * exp(-(double)i * stride);
        double next = up_to == groups ? bottom : top * exp(-(double)up_to * stride);
        double up, down = next;
        if (!self->is_comfy)
            sampler_ancestral(sigma, next, &up, &down);
        down = fmax(down, bottom);
        up = sqrt(fmax(next * next - down * down, 0));
        add_fast(self, sigma, down, order);
        sampler_add_noise(self, &self->step[self->count - 1], up, sigma, next);
    }
    return true;
}
