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

static bool place_k(struct plan *self, bool rounds, struct error *error)
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

bool sampler_place_k(struct plan *self, struct error *error)
{
    return place_k(self, false, error);
}

bool sampler_place_euler(struct plan *self, struct error *error)
{
    bool ok = place_k(self, false, error);
    if (ends_on_least(self))
        self->levels[self->steps] = self->sigmas[0];
    return ok;
}

static bool no_sample(const struct plan *self, struct error *error)
{
    return self->config->prediction != PREDICTION_SAMPLE ||
           error_set_kind(error, ERROR_INPUT,
                          "prediction_type sample is not defined; take Euler or DDIM");
}

bool sampler_place_ancestral(struct plan *self, struct error *error)
{
    return no_sample(self, error) && place_k(self, false, error);
}

bool sampler_place_dpm2(struct plan *self, struct error *error)
{
    return no_sample(self, error) && place_k(self, true, error);
}

static bool place_solver(struct plan *self, bool spaced, bool rounds,
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

bool sampler_place_multistep(struct plan *self, struct error *error)
{
    bool is_cosine = !strcmp(self->config->beta_schedule, "squaredcos_cap_v2");
    return place_solver(self, true, !is_cosine, error);
}

bool sampler_place_singlestep(struct plan *self, struct error *error)
{
    return place_solver(self, false, true, error);
}

bool sampler_place_unipc(struct plan *self, struct error *error)
{
    size_t n = self->steps;
    bool ok = place_solver(self, true, true, error);
    if (ok && self->curve != CURVE_NONE && self->levels[n] > 0)
        self->levels[n] = self->levels[n - 1];
    return ok;
}

bool sampler_place_deis(struct plan *self, struct error *error)
{
    size_t n = self->steps;
    bool ok = place_solver(self, true, true, error);
    if (ok)
        self->levels[n] =
            self->curve == CURVE_NONE ? self->sigmas[0] : self->levels[n - 1];
    return ok;
}

bool sampler_place_whole(struct plan *self, struct error *error)
{
    self->start_scale = 1;
    return schedule_timesteps(self->config, PLACING_ROUNDED, SPACING_LEADING,
                              self->steps, self->timesteps, error);
}

/* Those of A1111: from 1 on every so many, and in a run from a picture as many of them as are
 * run, from the level of the one before. Gives how many, 2 at least. */
static bool stretch(struct plan *self, size_t *count, struct error *error)
{
    size_t train = (size_t)self->config->train_steps, skipped = 0;
    *count = (train + self->stride - 1) / self->stride;
    for (size_t i = 0; i < *count; i++)
        self->timesteps[i] =
            fmin((double)((*count - 1 - i) * self->stride + 1), (double)train - 1);
    if (self->from_image) {
        size_t run = (size_t)(fmin(self->strength, 0.999) * (double)self->steps);
        if (self->asked)
            run = self->asked - 1;
        skipped = *count - run;
        double alpha = self->alphas[(size_t)self->timesteps[skipped - 1]];
        self->start = (struct sampler_level){sqrt(alpha), sqrt(1 - alpha)};
        memmove(self->timesteps, self->timesteps + skipped,
                run * sizeof *self->timesteps);
    }
    *count -= skipped;
    self->start_scale = 1;
    return *count > 1 || error_set_kind(error, ERROR_INPUT,
                                        "strength %g of %zu steps: A1111's runs one "
                                        "less than there are, expected 2 or more",
                                        self->strength, self->steps);
}

/* A1111 leaves the last timestep, 1, out: a run ends on it. */
bool sampler_place_stretched(struct plan *self, struct error *error)
{
    size_t count;
    if (!stretch(self, &count, error))
        return false;
    self->steps = count - 1;
    return true;
}

/* torch.linspace(from, to, count)[i] of floats */
static float spread(float from, float to, size_t count, size_t i)
{
    float stride = (to - from) / (float)(count - 1);
    return i < count / 2 ? from + stride * (float)i
                         : to - stride * (float)(count - 1 - i);
}

/* As many steps as stretched ones, but evenly spread over t = (timestep + 1) / count down to
 * timestep 0, with alphas linear in their logarithm. */
bool sampler_place_spread(struct plan *self, struct error *error)
{
    size_t train = (size_t)self->config->train_steps, n;
    float unit = 1 / (float)train, from = 1;
    if (!stretch(self, &n, error))
        return false;
    if (self->from_image)
        from = (float)self->timesteps[0] / (float)train + unit;
    self->steps = n;
    for (size_t i = 0; i <= n; i++) {
        double at = fmax((spread(from, unit, n + 1, i) - unit) * (float)train, 0);
        size_t low = (size_t)at, high = low + 1 < train ? low + 1 : low;
        double share = at - (double)low;
        double alpha =
            exp((1 - share) * log(self->alphas[low]) + share * log(self->alphas[high]));
        self->timesteps[i] = at;
        self->levels[i] = sqrt((1 - alpha) / alpha);
    }
    return true;
}

/* A1111's LCM: of 50 timesteps of the training's, evenly, sigmas linear in their logarithm,
 * each evaluated at the nearest of the 50. Of two as near it is the last bit of a logarithm that
 * decides in A1111 (at 3 and 15 steps); here it is the lower. */
bool sampler_place_lcm_k(struct plan *self, struct error *error)
{
    enum { KNOWN = SAMPLER_LCM_KNOWN };
    size_t train = (size_t)self->config->train_steps, stride = train / KNOWN;
    size_t asked = self->steps, n = asked;
    double known[KNOWN];
    if (!stride)
        return error_set_kind(error, ERROR_INPUT,
                              "the model was trained on %zu timesteps, expected 50 or "
                              "more",
                              train);
    for (size_t k = 0; k < KNOWN; k++)
        known[k] = self->sigmas[train - 1 - (KNOWN - 1 - k) * stride];
    for (size_t i = 0; i < n; i++) {
        double at = n > 1 ? (KNOWN - 1) * (1 - (double)i / (double)(n - 1)) : KNOWN - 1;
        size_t low = (size_t)at, high = low + 1 < KNOWN ? low + 1 : low;
        double share = at - (double)low;
        self->levels[i] =
            (float)exp((1 - share) * log(known[low]) + share * log(known[high]));
        size_t near = share > 0.5 ? high : low;
        self->timesteps[i] = (double)(train - 1 - (KNOWN - 1 - near) * stride);
    }
    if (self->asked)
        self->first = asked - self->asked;
    else if (self->from_image)
        self->first = asked - (size_t)(fmin(self->strength, 0.999) * (double)n) - 1;
    self->start_scale = self->levels[self->first];
    self->start = (struct sampler_level){1, self->start_scale};
    return true;
}

bool sampler_place_lcm(struct plan *self, struct error *error)
{
    size_t original = (size_t)self->config->original_steps, n = self->steps;
    size_t train = (size_t)self->config->train_steps;
    if (original > train || n > original)
        return error_set_kind(
            error, ERROR_INPUT,
            "steps %zu with original_inference_steps %zu: at most as "
            "many, and those at most the %zu the model was trained on",
            n, original, train);
    size_t stride = train / original; /* whole */
    for (size_t i = 0; i < n; i++) {
        double index = floor((double)i * ((double)original / (double)n));
        self->timesteps[i] = ((double)original - index) * (double)stride - 1;
    }
    self->start_scale = 1;
    return true;
}

double sampler_timestep(const struct plan *self, double sigma)
{
    double exact =
        schedule_timestep_of(self->sigmas, (size_t)self->config->train_steps, sigma);
    /* ComfyUI's is the nearest in log sigma; of two as near, floats decide. */
    return self->is_comfy ? rint(rint(exact * 1e4) / 1e4) : exact;
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

void sampler_slope(struct step *step, enum prediction prediction, double sigma)
{
    double scale = 1 / (sigma * sigma + 1);
    const double of[][2] = {
        [PREDICTION_EPSILON] = {0, 1},
        [PREDICTION_V] = {sigma * scale, sqrt(scale)},
        [PREDICTION_SAMPLE] = {1 / sigma, -1 / sigma},
    };
    step->input_scale = (float)sqrt(scale);
    set_d(step, of[prediction]);
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

struct step *sampler_evaluate(struct plan *self, double sigma, size_t i)
{
    struct sampler_level level = {1, self->levels[i]};
    bool is_own = sigma == self->levels[i];
    double timestep = is_own ? self->timesteps[i] : sampler_timestep(self, sigma);
    struct step *step = sampler_add(self, timestep, level);
    sampler_denoised(step, self->config->prediction, sigma);
    return step;
}

void sampler_integrate(struct step *step, double sigma, double to)
{
    step->x_x = (float)(to / sigma);
    step->x_d = (float)(1 - to / sigma);
}

void sampler_add_noise(struct plan *self, struct step *step, double amount, double from,
                       double to)
{
    step->noise = (float)amount;
    self->interval[self->count - 1] = (struct sampler_interval){from, to};
}

static void add_pair(struct step *step, double factor, float *of_x, float *of_u)
{
    *of_x += (float)(factor * step->d_x);
    *of_u += (float)(factor * step->d_e);
}

void sampler_add_uncond(struct step *step, double factor)
{
    add_pair(step, factor, &step->x_x, &step->x_u);
}

void sampler_keep_uncond(struct step *step, double factor)
{
    add_pair(step, factor, &step->keep_x, &step->keep_u);
}

void sampler_ancestral(double from, double to, double *up, double *down)
{
    float whole = (float)(from * from), next = (float)(to * to);
    float fresh = fminf((float)to, sqrtf(next * (whole - next) / whole));
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
