/* ComfyUI's multistep samplers with fresh noise or without: RES (Zhang et al. 2023), gradient
 * estimation (Permenter and Yuan 2023) and ER-SDE (Cui et al. 2023), and its DDPM and LCM. d
 * is the denoised picture; with CFG++ that without the prompt stands in for it but where a
 * step ends.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { DENOISED, KEPT, OUTPUTS = 3 };

/* ---- RES */

/* Euler's step to sigma `down`. */
static void add_first(struct step *step, double sigma, double down, bool is_cfgpp)
{
    step->x_x = (float)(down / sigma);
    step->x_d = (float)(is_cfgpp ? 1 : 1 - down / sigma);
    if (is_cfgpp)
        sampler_add_uncond(step, -down / sigma);
}

/* The second order step, where t = -log sigma; `was` is where the step before led without
 * its noise. */
static void add_second(struct step *step, const double levels[2], double was,
                       double down, bool is_cfgpp)
{
    double sigma = levels[1], h = log(sigma / down), c2 = log(was / levels[0]) / h;
    double phi1 = -expm1(-h) / h, phi2 = (1 - phi1) / h, newer = h * (phi1 - phi2 / c2);
    double older = h * phi2 / c2, ratio = down / sigma;
    step->x_x = (float)ratio;
    step->h[KEPT] = (float)older;
    if (is_cfgpp) {
        step->x_d = (float)ratio;
        sampler_add_uncond(step, newer - ratio);
    } else {
        step->x_d = (float)newer;
    }
}

static bool plan_res(struct plan *self, bool is_ancestral, bool is_cfgpp)
{
    double was = 0;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1], up = 0, down = next;
        struct step *step = sampler_evaluate(self, sigma, i);
        if (is_ancestral)
            sampler_ancestral(sigma, next, &up, &down);
        if (i == self->first || down == 0)
            add_first(step, sigma, down, is_cfgpp);
        else
            add_second(step, self->levels + i - 1, was, down, is_cfgpp);
        step->keep = KEPT;
        if (is_cfgpp)
            sampler_keep_uncond(step, 1);
        else
            step->keep_d = 1;
        if (next > 0)
            sampler_add_noise(self, step, up, sigma, next);
        was = down;
    }
    return true;
}

bool sampler_res(struct plan *self, struct error *error)
{
    (void)error;
    return plan_res(self, false, false);
}

bool sampler_res_ancestral(struct plan *self, struct error *error)
{
    (void)error;
    return plan_res(self, true, false);
}

bool sampler_res_cfgpp(struct plan *self, struct error *error)
{
    (void)error;
    return plan_res(self, false, true);
}

bool sampler_res_ancestral_cfgpp(struct plan *self, struct error *error)
{
    (void)error;
    return plan_res(self, true, true);
}

/* ---- Gradient estimation: Euler's step along the slope, turned by as much again as it has
 * turned since the step before (gamma 2). */

static bool plan_gradient(struct plan *self, bool is_cfgpp)
{
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        double turned = i > self->first && next > 0 ? next - sigma : 0;
        struct step *step = sampler_evaluate(self, sigma, i);
        add_first(step, sigma, next, is_cfgpp);
        step->x_x += (float)(turned / sigma);
        step->keep = KEPT;
        step->keep_x = (float)(1 / sigma);
        if (is_cfgpp) {
            sampler_add_uncond(step, -turned / sigma);
            sampler_keep_uncond(step, -1 / sigma);
        } else {
            step->x_d -= (float)(turned / sigma);
            step->keep_d = (float)(-1 / sigma);
        }
        step->h[KEPT] = (float)-turned;
    }
    return true;
}

bool sampler_gradient(struct plan *self, struct error *error)
{
    (void)error;
    return plan_gradient(self, false);
}

bool sampler_gradient_cfgpp(struct plan *self, struct error *error)
{
    (void)error;
    return plan_gradient(self, true);
}

/* ---- ER-SDE, order 3 */

/* How noise is scaled over sigma: x (e^(x^0.3) + 10). */
static double scaler(double sigma)
{
    return sigma * (exp(pow(sigma, 0.3)) + 10);
}

/* The integrals from sigma `to` up to `from`, by 200 rectangles, of 1 / scaler and of
 * (x - from) / scaler. */
static void integrals(double from, double to, double *plain, double *slanted)
{
    enum { POINTS = 200 };
    double width = (from - to) / POINTS;
    *plain = *slanted = 0;
    for (int k = 0; k < POINTS; k++) {
        double at = to + k * width;
        *plain += width / scaler(at);
        *slanted += width * (at - from) / scaler(at);
    }
}

static void add_er_sde(struct plan *self, size_t i, size_t earlier)
{
    const double *level = self->levels;
    double sigma = level[i], next = level[i + 1], dt = next - sigma;
    double ratio = scaler(next) / scaler(sigma), plain, slanted;
    double weight[OUTPUTS] = {1 - ratio};
    struct step *step = sampler_evaluate(self, sigma, i);
    integrals(sigma, next, &plain, &slanted);
    if (earlier >= 1) {
        double first = (dt + plain * scaler(next)) / (sigma - level[i - 1]);
        weight[0] += first;
        weight[1] -= first;
    }
    if (earlier >= 2) {
        double second = dt * dt / 2 + slanted * scaler(next);
        double newer = sigma - level[i - 1], older = level[i - 1] - level[i - 2];
        second /= (sigma - level[i - 2]) / 2;
        weight[0] += second / newer;
        weight[1] -= second / newer + second / older;
        weight[2] += second / older;
    }
    step->x_x = (float)ratio;
    step->x_d = (float)weight[0];
    for (size_t k = 1; k <= earlier; k++)
        step->h[(i - k) % OUTPUTS] = (float)weight[k];
    step->save = (int)(i % OUTPUTS);
    double fresh = next * next - sigma * sigma * ratio * ratio;
    sampler_add_noise(self, step, sqrt(fmax(fresh, 0)), sigma, next);
}

bool sampler_er_sde(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        size_t before = i - self->first;
        if (self->levels[i + 1] > 0)
            add_er_sde(self, i, before < OUTPUTS - 1 ? before : OUTPUTS - 1);
        else
            sampler_integrate(sampler_evaluate(self, self->levels[i], i),
                              self->levels[i], 0);
    }
    return true;
}

/* ---- DDPM and LCM, over sigma */

bool sampler_ddpm_k(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        double now = 1 / (sigma * sigma + 1), then = 1 / (next * next + 1);
        double alpha = now / then, grow = sqrt(1 / alpha / then);
        double share = (1 - alpha) / sqrt(1 - now) / sigma;
        struct step *step = sampler_evaluate(self, sigma, i);
        step->x_x = (float)(grow * (sqrt(now) - share));
        step->x_d = (float)(grow * share);
        double fresh = sqrt((1 - alpha) * (1 - then) / (1 - now) / then);
        sampler_add_noise(self, step, fresh, sigma, next);
    }
    return true;
}

bool sampler_lcm_k(struct plan *self, struct error *error)
{
    (void)error;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        struct step *step = sampler_evaluate(self, sigma, i);
        step->x_d = 1;
        sampler_add_noise(self, step, next, sigma, next);
    }
    return true;
}
