/* PNDM as Stable Diffusion uses it: a linear multistep method over the model's outputs, the
 * last three of which stand in history slots counted round.
 *
 * The second timestep is evaluated twice: the first evaluation only improves the first step,
 * which is then taken again from where it began. Where it began is not kept: it is
 * (x - Q e0) / P, because the step was x = P start + Q e0.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

enum { SLOTS = 4 };

/* x' = of_x x + of_e m for the step of formula 9 from one alpha to the next, where m is
 * what the multistep method makes of the model's outputs. */
static void transfer(enum prediction prediction, double now, double next, double *of_x,
                     double *of_e)
{
    double noise =
        -(next - now) / (now * sqrt(1 - next) + sqrt(now * (1 - now) * next));
    *of_x = sqrt(next / now);
    *of_e = noise;
    if (prediction == PREDICTION_V) {
        *of_x += noise * sqrt(1 - now);
        *of_e = noise * sqrt(now);
    }
}

/* Adams-Bashforth: the weights of the newest output and the ones before. */
static const double weights[][SLOTS] = {
    {1},
    {3 / 2.0, -1 / 2.0},
    {23 / 12.0, -16 / 12.0, 5 / 12.0},
    {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0},
};

/* Timestep of evaluation i: the second stands twice. */
static double timestep_of(const struct plan *self, size_t i)
{
    return self->timesteps[i < 2 ? i : i - 1];
}

static void fill(struct step *step, double of_x, double of_e, size_t kept)
{
    const double *weight = weights[kept < SLOTS ? kept : SLOTS - 1];
    step->x_x = (float)of_x;
    step->x_e = (float)(of_e * weight[0]);
    for (size_t j = 1; j <= kept && j < SLOTS; j++)
        step->h[(kept - j) % SLOTS] = (float)(of_e * weight[j]);
    step->save = (int)(kept % SLOTS);
}

/* The first step once more, with the mean of both outputs. */
static void fill_again(struct step *step, const struct step *first, double of_x,
                       double of_e)
{
    step->x_x = (float)(of_x / first->x_x);
    step->x_e = (float)(of_e / 2);
    step->h[0] = (float)(of_e / 2 - of_x * first->x_e / first->x_x);
}

bool sampler_pndm(struct plan *self, struct error *error)
{
    const struct schedule_config *config = self->config;
    size_t whole = config->train_steps / self->steps;
    double stride = (double)whole;
    if (config->skip_prk_steps != 1)
        return error_set_kind(error, ERROR_INPUT,
                              "skip_prk_steps false (Runge-Kutta steps) is not there; "
                              "take PNDM(skip_prk_steps=true) or DDIM");
    if (config->prediction == PREDICTION_SAMPLE)
        return error_set_kind(error, ERROR_INPUT,
                              "prediction_type sample is not defined; take DDIM");
    if (!schedule_timesteps(config, PLACING_ROUNDED, SPACING_LEADING, self->steps,
                            self->timesteps, error))
        return false;
    self->count = self->steps < 2 ? self->steps : self->steps + 1;
    self->start_scale = 1;
    for (size_t i = 0; i < self->count; i++) {
        struct step *step = &self->step[i];
        double timestep = timestep_of(self, i), now, next, of_x, of_e;
        double from = i == 1 ? timestep + stride : timestep;
        if (!sampler_alpha(self, from, false, &now, error) ||
            !sampler_alpha(self, from - stride, config->set_alpha_to_one == 1, &next,
                           error))
            return false;
        step->timestep = (float)timestep;
        step->input_scale = 1;
        step->d_e = 1;
        transfer(config->prediction, now, next, &of_x, &of_e);
        if (i == 1)
            fill_again(step, &self->step[0], of_x, of_e);
        else
            fill(step, of_x, of_e, i < 2 ? i : i - 1);
    }
    return true;
}
