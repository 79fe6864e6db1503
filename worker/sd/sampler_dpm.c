/* DPM-Solver++ 2M: a step is linear in x, the predicted clean picture d and, from the second
 * step on, the one before, which stands in history slot i % 2. The first step and the one
 * to sigma 0 are of first order.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

struct level {
    double alpha, sigma; /* alpha^2 + sigma^2 = 1 */
};

static struct level level_of(double sigma)
{
    double alpha = 1 / sqrt(sigma * sigma + 1);
    return (struct level){alpha, sigma * alpha};
}

/* log(alpha / sigma) */
static double half_snr(struct level level)
{
    return log(level.alpha) - log(level.sigma);
}

static bool place(struct plan *self, struct error *error)
{
    size_t n = self->steps, train = self->config->train_steps;
    if (self->karras) {
        bool cosine = self->config->beta_schedule[0] == 's' &&
                      self->config->beta_schedule[1] == 'q';
        schedule_karras(self->sigmas[train - 1], self->sigmas[0], n, self->levels);
        for (size_t i = 0; i < n; i++) {
            double t = schedule_timestep_of(self->sigmas, train, self->levels[i]);
            self->timesteps[i] = cosine ? trunc(t) : rint(t);
        }
    } else {
        if (!schedule_timesteps(self->config, PLACING_SOLVER, SPACING_LINSPACE, n,
                                self->timesteps, error))
            return false;
        for (size_t i = 0; i < n; i++)
            self->levels[i] =
                schedule_sigma_at(self->sigmas, train, self->timesteps[i]);
    }
    for (size_t i = 0; i < n; i++)
        self->levels[i] = (float)self->levels[i];
    self->levels[n] = 0;
    self->start_scale = 1;
    self->count = n - self->first;
    return true;
}

bool sampler_dpm_multistep(struct plan *self, struct error *error)
{
    if (!place(self, error))
        return false;
    for (size_t i = self->first; i < self->steps; i++) {
        struct step *step = &self->step[i - self->first];
        struct level from = level_of(self->levels[i]);
        struct level to = level_of(self->levels[i + 1]);
        double ratio = to.sigma / from.sigma;
        double gain = to.alpha - ratio * from.alpha; /* alpha' (1 - exp(-h)) */
        double now = gain, before = 0;
        if (i > self->first && i + 1 < self->steps) {
            double h = half_snr(to) - half_snr(from);
            double past = half_snr(from) - half_snr(level_of(self->levels[i - 1]));
            before = -0.5 * gain * h / past;
            now = gain - before;
        }
        self->level[i - self->first] = (struct sampler_level){from.alpha, from.sigma};
        step->timestep = (float)self->timesteps[i];
        step->input_scale = 1;
        sampler_clean(step, self->config->prediction, from.alpha, from.sigma);
        step->x_x = (float)ratio;
        step->x_d = (float)now;
        step->h[(i + 1) % 2] = (float)before;
        step->save = (int)(i % 2);
    }
    return true;
}
