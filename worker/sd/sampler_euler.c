/* Euler and Euler a, in k-diffusion's terms: x = x0 + sigma noise, the UNet sees
 * x / sqrt(sigma^2 + 1), and a step is x + (x - x0) / sigma (next - sigma).
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

/* Timesteps and sigmas; the last sigma is 0. */
static bool place(struct plan *self, struct error *error)
{
    size_t n = self->steps, train = self->config->train_steps;
    if (!schedule_timesteps(self->config, PLACING_EXACT, SPACING_LINSPACE, n,
                            self->timesteps, error))
        return false;
    for (size_t i = 0; i < n; i++)
        self->levels[i] = schedule_sigma_at(self->sigmas, train, self->timesteps[i]);
    if (self->karras) {
        schedule_karras(self->levels[0], self->levels[n - 1], n, self->levels);
        for (size_t i = 0; i < n; i++)
            self->timesteps[i] =
                schedule_timestep_of(self->sigmas, train, self->levels[i]);
    }
    for (size_t i = 0; i < n; i++)
        self->levels[i] = (float)self->levels[i];
    self->levels[n] = 0;
    double top = self->levels[0];
    self->start_scale =
        self->config->spacing == SPACING_LEADING ? sqrt(top * top + 1) : top;
    self->count = n - self->first;
    return true;
}

/* The step at timestep i, with what every one of them has. */
static struct step *begin(struct plan *self, size_t i)
{
    struct step *step = &self->step[i - self->first];
    self->level[i - self->first] = (struct sampler_level){1, self->levels[i]};
    step->timestep = (float)self->timesteps[i];
    return step;
}

/* x' = x + (x - x0) / sigma change, for each kind of prediction. */
static void advance(struct step *step, enum prediction prediction, double sigma,
                    double change)
{
    double scale = 1 / (sigma * sigma + 1);
    const double slope[][2] = {
        [PREDICTION_EPSILON] = {0, 1},
        [PREDICTION_V] = {(1 - scale) / sigma, sqrt(scale)},
        [PREDICTION_SAMPLE] = {1 / sigma, -1 / sigma},
    };
    step->input_scale = (float)sqrt(scale);
    step->x_x = (float)(1 + slope[prediction][0] * change);
    step->x_e = (float)(slope[prediction][1] * change);
}

bool sampler_euler(struct plan *self, struct error *error)
{
    if (!place(self, error))
        return false;
    for (size_t i = self->first; i < self->steps; i++) {
        double sigma = self->levels[i];
        struct step *step = begin(self, i);
        advance(step, self->config->prediction, sigma, self->levels[i + 1] - sigma);
    }
    return true;
}

bool sampler_euler_ancestral(struct plan *self, struct error *error)
{
    if (self->config->prediction == PREDICTION_SAMPLE)
        return error_set_kind(error, ERROR_INPUT,
                              "prediction_type sample is not defined; take Euler");
    if (!place(self, error))
        return false;
    for (size_t i = self->first; i < self->steps; i++) {
        struct step *step = begin(self, i);
        double from = self->levels[i], to = self->levels[i + 1];
        double up = to * sqrt((from * from - to * to) / (from * from));
        double down = sqrt(to * to - up * up);
        step->noise = (float)up;
        advance(step, self->config->prediction, from, down - from);
    }
    return true;
}
