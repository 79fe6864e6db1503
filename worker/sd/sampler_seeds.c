/* SEEDS (Gonzalez et al. 2023): exponential integrators of 2 and 3 stages for the stochastic
 * equation, over t = -log sigma, as ComfyUI has them; the exponential Heun method is the one
 * of 2 stages whose first goes all the way.
 *
 * Noise of a stage is part of the later ones' too, decayed: z of the stage before is had back
 * from what the stage made of it, x' - of_x x - of_d d, where x and the ds are what the step
 * began with. So one sum for each stage yet to come is kept: all that it takes of x and d.
 */
#include <float.h>
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { NEXT, LAST };

/* One stage from sigma to sigma `to`, as factors of x and of the stages' d; and of the noise
 * of the stage before, as it stands in x', and of fresh noise. */
struct stage {
    double of_x, of_d[3], of_old, of_new;
};

/* h phi_1 and h phi_2 of -h. */
static double phi1(double h)
{
    return expm1(-h);
}

static double phi2(double h)
{
    return -(expm1(-h) + h) / h;
}

/* `share` of the step is done by this stage, `before` by the one before; eta is 1, or 0
 * without noise. */
static struct stage stage_to(double sigma, double to, double share, double before,
                             double h, double eta)
{
    struct stage stage = {.of_x = to / sigma * exp(-share * h * eta)};
    double decay = exp((before - share) * h * eta);
    if (before > 0 && eta > 0)
        stage.of_old = to * decay / (sigma * exp(-before * h));
    stage.of_new = to * sqrt(fmax(1 - decay * decay, 0));
    return stage;
}

static void finish(struct plan *self, struct step *step, const struct stage *stage,
                   double own, double from, double to)
{
    step->x_x = (float)stage->of_old;
    step->x_d = (float)own;
    sampler_add_noise(self, step, stage->of_new, from, to);
}

/* Stages to `ratio` of the step and to its end; `second` order weighs both outputs. */
static bool plan_two(struct plan *self, double ratio, double eta, bool second)
{
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        struct step *step = sampler_evaluate(self, sigma, i);
        if (next == 0) {
            sampler_integrate(step, sigma, 0);
            continue;
        }
        double h = log(sigma / next), whole = h * (eta + 1);
        double middle = sigma * exp(-ratio * h);
        struct stage first = stage_to(sigma, middle, ratio, 0, h, eta);
        struct stage last = stage_to(sigma, next, 1, ratio, h, eta);
        first.of_d[0] = -phi1(ratio * whole);
        double mixed = 1 / (2 * ratio);
        last.of_d[1] = second ? -phi2(whole) / ratio : -phi1(whole) * mixed;
        last.of_d[0] = -phi1(whole) - last.of_d[1];
        step->x_x = (float)first.of_x;
        step->x_d = (float)first.of_d[0];
        sampler_add_noise(self, step, first.of_new, sigma, middle);
        step->keep = NEXT;
        step->keep_x = (float)(last.of_x - last.of_old * first.of_x);
        step->keep_d = (float)(last.of_d[0] - last.of_old * first.of_d[0]);
        step = sampler_evaluate(self, middle, i + 1);
        step->h[NEXT] = 1;
        /* Of a whole first stage the last's noise is worth nothing; yet it is drawn. */
        if (eta > 0)
            last.of_new = fmax(last.of_new, FLT_MIN);
        finish(self, step, &last, last.of_d[1], middle, next);
    }
    return true;
}

bool sampler_seeds_2(struct plan *self, struct error *error)
{
    (void)error;
    return plan_two(self, 0.5, 1, false);
}

bool sampler_exp_heun(struct plan *self, struct error *error)
{
    (void)error;
    return plan_two(self, 1, 0, true);
}

bool sampler_exp_heun_sde(struct plan *self, struct error *error)
{
    (void)error;
    return plan_two(self, 1, 1, true);
}

/* The stages of SEEDS-3 over a step of h: to a third, two thirds, the end. */
static void make_three(double sigma, double h, struct stage stage[3])
{
    double whole = 2 * h;
    for (int k = 0; k < 3; k++)
        stage[k] = stage_to(sigma, sigma * exp(-(k + 1) / 3.0 * h), (k + 1) / 3.0,
                            k / 3.0, h, 1);
    stage[0].of_d[0] = -phi1(whole / 3);
    stage[1].of_d[1] = -2 * phi2(whole * 2 / 3);
    stage[1].of_d[0] = -phi1(whole * 2 / 3) - stage[1].of_d[1];
    stage[2].of_d[2] = -phi2(whole) * 1.5;
    stage[2].of_d[0] = -phi1(whole) - stage[2].of_d[2];
}

bool sampler_seeds_3(struct plan *self, struct error *error)
{
    (void)error;
    enum { DENOISED = 2, BEGUN };
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i], next = self->levels[i + 1];
        struct step *step = sampler_evaluate(self, sigma, i);
        struct stage stage[3];
        if (next == 0) {
            sampler_integrate(step, sigma, 0);
            continue;
        }
        double h = log(sigma / next),
               middle[] = {sigma * exp(-h / 3), sigma * exp(-2 * h / 3)};
        make_three(sigma, h, stage);
        step->x_x = (float)stage[0].of_x;
        step->x_d = (float)stage[0].of_d[0];
        sampler_add_noise(self, step, stage[0].of_new, sigma, middle[0]);
        step->save = DENOISED;
        step->keep = BEGUN;
        step->keep_x = 1;

        double old = stage[1].of_old;
        step = sampler_evaluate(self, middle[0], i + 1);
        step->h[BEGUN] = (float)(stage[1].of_x - old * stage[0].of_x);
        step->h[DENOISED] = (float)(stage[1].of_d[0] - old * stage[0].of_d[0]);
        finish(self, step, &stage[1], stage[1].of_d[1], middle[0], middle[1]);
        old = stage[2].of_old;
        step->keep = LAST;
        step->keep_h[BEGUN] = (float)(stage[2].of_x - old * stage[1].of_x);
        step->keep_h[DENOISED] = (float)(stage[2].of_d[0] - old * stage[1].of_d[0]);
        step->keep_d = (float)(-old * stage[1].of_d[1]);

        step = sampler_evaluate(self, middle[1], i + 1);
        step->h[LAST] = 1;
        finish(self, step, &stage[2], stage[2].of_d[2], middle[1], next);
    }
    return true;
}
