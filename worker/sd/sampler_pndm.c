/* PNDM: a linear multistep method over the model's outputs, the last three of which stand in
 * history slots counted round. Both ways to begin are here; what a step began from (`start`)
 * is never kept, because it can be had back from what the step made of it.
 *
 * Stable Diffusion skips the Runge-Kutta steps: the second timestep is evaluated twice, the
 * first time only to improve the first step, which is then taken again from its start.
 *
 * Otherwise three steps of Runge-Kutta come first, each of four evaluations e0 to e3:
 *
 *     x1 = P0 start + Q0 e0
 *     x2 = P1 start + Q1 e1
 *     x3 = P2 start + Q2 e2
 *     x4 = P3 start + Q3 (e0 + 2 e1 + 2 e2 + e3) / 6
 *
 * e0 is kept for the multistep method. Slot 3 first holds e1, then x2 + B e2 with B such
 * that p x3 + q (x2 + B e2) is what x4 needs of start, e1 and e2.
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

/* Timestep of evaluation i of a whole run: the second stands twice. */
static double timestep_of(const struct plan *self, size_t i)
{
    return self->timesteps[i < 2 ? i : i - 1];
}

static void fill(struct step *step, double of_x, double of_e, size_t kept)
{
    const double *weight = weights[kept < SLOTS ? kept : SLOTS - 1];
    step->x_x = (float)of_x;
    step->x_d = (float)(of_e * weight[0]);
    for (size_t j = 1; j <= kept && j < SLOTS; j++)
        step->h[(kept - j) % SLOTS] = (float)(of_e * weight[j]);
    step->save = (int)(kept % SLOTS);
}

/* The first step once more, with the mean of both outputs. */
static void fill_again(struct step *step, const struct step *first, double of_x,
                       double of_e)
{
    step->x_x = (float)(of_x / first->x_x);
    step->x_d = (float)(of_e / 2);
    step->h[0] = (float)(of_e / 2 - of_x * first->x_d / first->x_x);
}

/* One step of the multistep method, or one evaluation of Runge-Kutta: from timestep `from`
 * to `to`, as multiples of x and of the model's output. */
static bool move(const struct plan *self, double from, double to, double *of_x,
                 double *of_e, struct error *error)
{
    double now, next;
    if (!sampler_alpha(self, from, false, &now, error) ||
        !sampler_alpha(self, to, self->config->set_alpha_to_one == 1, &next, error))
        return false;
    transfer(self->is_k ? PREDICTION_EPSILON : self->config->prediction, now, next,
             of_x, of_e);
    return true;
}

static void set_input(struct step *step, double timestep)
{
    step->timestep = (float)timestep;
    step->input_scale = 1;
    step->d_e = 1;
}

/* It is the second evaluation of a run that is taken for the repeat, so also in a run from a
 * picture, whose second timestep stands once: diffusers does so. */
static bool plan_multistep(struct plan *self, double stride, struct error *error)
{
    bool repeats = self->steps > 1 || self->is_k;
    self->count = self->steps + repeats - self->first;
    for (size_t i = 0; i < self->count; i++) {
        struct step *step = &self->step[i];
        double timestep = timestep_of(self, i + self->first), of_x, of_e;
        double from = i == 1 ? timestep + stride : timestep, to = from - stride;
        if (self->is_k) { /* all stand there, the one it ends on too */
            from = self->timesteps[i < 2 ? 0 : i - 1];
            to = self->timesteps[i < 2 ? 1 : i];
        }
        if (!move(self, from, to, &of_x, &of_e, error))
            return false;
        set_input(step, timestep);
        if (self->is_k) { /* A1111's method is over the noise, whatever is predicted */
            double alpha = self->alphas[(size_t)timestep];
            sampler_noise(step, self->config->prediction, sqrt(alpha), sqrt(1 - alpha));
        }
        if (i == 1)
            fill_again(step, &self->step[0], of_x, of_e);
        else
            fill(step, of_x, of_e, i < 2 ? i : i - 1);
    }
    return true;
}

/* The four evaluations between one timestep and the next; e0 goes to slot `group`. */
static bool plan_runge_kutta(const struct plan *self, size_t group, double half,
                             struct error *error)
{
    struct step *step = &self->step[4 * group];
    double base = self->timesteps[group], next = self->timesteps[group + 1];
    const double timesteps[] = {base, next + half, next + half, next};
    const double to[] = {base - half, next + half, next, next};
    double of_x[4], of_e[4]; /* P and Q above */
    for (size_t i = 0; i < 4; i++) {
        if (!move(self, base, to[i], &of_x[i], &of_e[i], error))
            return false;
        set_input(&step[i], timesteps[i]);
    }
    step[0].x_x = (float)of_x[0];
    step[0].x_e = (float)of_e[0];
    step[0].save = (int)group;

    step[1].x_x = (float)(of_x[1] / of_x[0]);
    step[1].h[group] = (float)(-of_x[1] / of_x[0] * of_e[0]);
    step[1].x_e = (float)of_e[1];
    step[1].save = 3;

    double q = of_e[3] / (3 * of_e[1]);
    double p = (of_x[3] - q * of_x[1]) / of_x[2];
    step[2].x_x = (float)(of_x[2] / of_x[1]);
    step[2].h[3] = (float)(-of_x[2] / of_x[1] * of_e[1]);
    step[2].x_e = (float)of_e[2];
    step[2].d_x = 1;
    step[2].d_e = (float)((of_e[3] / 3 - p * of_e[2]) / q);
    step[2].save = 3;

    step[3].x_x = (float)p;
    step[3].h[3] = (float)q;
    step[3].h[group] = (float)(of_e[3] / 6);
    step[3].x_e = (float)(of_e[3] / 6);
    return true;
}

/* Three steps of Runge-Kutta, then the multistep method, which has its three outputs. */
static bool plan_whole(struct plan *self, double stride, struct error *error)
{
    enum { GROUPS = 3, EVALUATIONS = 4 * GROUPS };
    if (self->first)
        return error_set_kind(error, ERROR_INPUT,
                              "Runge-Kutta steps (skip_prk_steps false) are taken at "
                              "strength 1 only");
    if (self->steps <= GROUPS)
        return error_set_kind(error, ERROR_INPUT,
                              "steps %zu, expected at least 4 with Runge-Kutta steps "
                              "(skip_prk_steps false)",
                              self->steps);
    for (size_t i = 0; i < GROUPS; i++)
        if (!plan_runge_kutta(self, i, floor(stride / 2), error))
            return false;
    self->count = EVALUATIONS + self->steps - GROUPS;
    for (size_t i = GROUPS; i < self->steps; i++) {
        struct step *step = &self->step[EVALUATIONS + i - GROUPS];
        double of_x, of_e, from = self->timesteps[i];
        if (!move(self, from, from - stride, &of_x, &of_e, error))
            return false;
        set_input(step, from);
        fill(step, of_x, of_e, i);
    }
    return true;
}

bool sampler_pndm(struct plan *self, struct error *error)
{
    double stride = (double)self->stride;
    if (self->config->prediction == PREDICTION_SAMPLE)
        return error_set_kind(error, ERROR_INPUT,
                              "prediction_type sample is not defined; take DDIM");
    if (!(self->config->skip_prk_steps == 1 ? plan_multistep(self, stride, error)
                                            : plan_whole(self, stride, error)))
        return false;
    sampler_fill_levels(self);
    return true;
}
