/* Where the steps lie, and what they all have in common. */
#include <math.h>
#include <string.h>

#include "worker/sd/sampler_family.h"

/* Levels by a curve from first to last, and the timesteps they stand for. */
static void follow_curve(struct plan *self, double first, double last)
{
    schedule_curve(self->curve, first, last, self->steps, self->levels);
    for (size_t i = 0; i < self->steps; i++)
        self->timesteps[i] = schedule_timestep_of(
            self->sigmas, (size_t)self->config->train_steps, self->levels[i]);
}

static void round_levels(struct plan *self, double final)
{
    for (size_t i = 0; i < self->steps; i++)
        self->levels[i] = (float)self->levels[i];
    self->levels[self->steps] = final;
}

static bool ends_on_least(const struct plan *self)
{
    return strcmp(self->config->final_sigmas, "sigma_min") == 0;
}

bool sampler_place_k(struct plan *self, bool rounds, struct error *error)
{
    size_t n = self->steps, train = (size_t)self->config->train_steps;
    if (!schedule_timesteps(self->config, PLACING_EXACT, SPACING_LINSPACE, n,
                            self->timesteps, error))
        return false;
    for (size_t i = 0; i < n; i++)
        self->levels[i] = schedule_sigma_at(self->sigmas, train, self->timesteps[i]);
    if (self->curve != CURVE_NONE)
        follow_curve(self, self->levels[0], self->levels[n - 1]);
    for (size_t i = 0; i < n && rounds && self->curve == CURVE_KARRAS; i++)
        self->timesteps[i] = rint(self->timesteps[i]);
    round_levels(self, 0);
    double top = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, self->levels[i]);
    self->start_scale =
        self->config->spacing == SPACING_LEADING ? sqrt(top * top + 1) : top;
    return true;
}

bool sampler_place_solver(struct plan *self, bool spaced, bool rounds,
                          struct error *error)
{
    struct schedule_config config = *self->config;
    size_t n = self->steps, train = (size_t)config.train_steps;
    if (!spaced)
        config.spacing = SPACING_LINSPACE;
    if (!schedule_timesteps(&config, PLACING_SOLVER, SPACING_LINSPACE, n,
                            self->timesteps, error))
        return false;
    if (self->curve == CURVE_NONE) {
        for (size_t i = 0; i < n; i++)
            self->levels[i] =
                schedule_sigma_at(self->sigmas, train, self->timesteps[i]);
    } else {
        rounds = rounds && self->curve == CURVE_KARRAS;
        follow_curve(self, self->sigmas[train - 1], self->sigmas[0]);
        for (size_t i = 0; i < n; i++)
            self->timesteps[i] =
                rounds ? rint(self->timesteps[i]) : trunc(self->timesteps[i]);
    }
    round_levels(self, ends_on_least(self) ? self->sigmas[0] : 0);
    self->start_scale = 1;
    return true;
}

struct step *sampler_add(struct plan *self, double timestep, struct sampler_level level)
{
    struct step *step = &self->step[self->count];
    self->level[self->count++] = level;
    step->timestep = (float)timestep;
    step->input_scale = 1;
    return step;
}

static void set_d(struct step *step, const double of[2])
{
    step->d_x = (float)of[0];
    step->d_e = (float)of[1];
}

void sampler_denoised(struct step *step, enum prediction prediction, double sigma)
{
    double scale = 1 / (sigma * sigma + 1);
    const double denoised[][2] = {
        [PREDICTION_EPSILON] = {1, -sigma},
        [PREDICTION_V] = {scale, -sigma * sqrt(scale)},
        [PREDICTION_SAMPLE] = {0, 1},
    };
    step->input_scale = (float)sqrt(scale);
    set_d(step, denoised[prediction]);
}

void sampler_clean(struct step *step, enum prediction prediction, double alpha,
                   double sigma)
{
    const double clean[][2] = {
        [PREDICTION_EPSILON] = {1 / alpha, -sigma / alpha},
        [PREDICTION_V] = {alpha, -sigma},
        [PREDICTION_SAMPLE] = {0, 1},
    };
    set_d(step, clean[prediction]);
}

void sampler_noise(struct step *step, enum prediction prediction, double alpha,
                   double sigma)
{
    const double noise[][2] = {
        [PREDICTION_EPSILON] = {0, 1},
        [PREDICTION_V] = {sigma, alpha},
        [PREDICTION_SAMPLE] = {1 / sigma, -alpha / sigma},
    };
    set_d(step, noise[prediction]);
}

void sampler_ancestral(double from, double to, double *up, double *down)
{
    float whole = (float)(from * from), next = (float)(to * to);
    float fresh = sqrtf(next * (whole - next) / whole);
    *up = fresh;
    *down = sqrtf(next - fresh * fresh);
}

struct sampler_level sampler_level_of(double sigma)
{
    double alpha = 1 / sqrt(sigma * sigma + 1);
    return (struct sampler_level){alpha, sigma * alpha};
}

double sampler_half_snr(struct sampler_level level)
{
    return log(level.image) - log(level.noise);
}

void sampler_fill_levels(struct plan *self)
{
    for (size_t i = 0; i < self->count; i++) {
        double alpha = self->alphas[(size_t)self->step[i].timestep];
        self->level[i] = (struct sampler_level){sqrt(alpha), sqrt(1 - alpha)};
    }
}

bool sampler_alpha(const struct plan *self, double timestep, bool ends_on_one,
                   double *alpha, struct error *error)
{
    if (timestep >= self->config->train_steps)
        return error_set_kind(error, ERROR_INPUT,
                              "steps %zu need timestep %g, the model has 0 to %d",
                              self->steps, timestep, self->config->train_steps - 1);
    if (timestep < 0)
        *alpha = ends_on_one ? 1 : self->alphas[0];
    else
        *alpha = self->alphas[(size_t)timestep];
    return true;
}

bool sampler_no_sample(const struct plan *self, struct error *error)
{
    return self->config->prediction != PREDICTION_SAMPLE ||
           error_set_kind(error, ERROR_INPUT,
                          "prediction_type sample is not defined; take Euler or DDIM");
}
