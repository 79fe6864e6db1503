#include "worker/sd/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/sampler_family.h"

static const struct sampler {
    const char *label, *class;
    sampler_family *plan;
    bool has_karras; /* whether the class takes use_karras_sigmas */
} samplers[] = {
    {"Euler", "EulerDiscrete", sampler_euler, true},
    {"Euler a", "EulerAncestralDiscrete", sampler_euler_ancestral, false},
    {"DPM++ 2M", "DPMSolverMultistep", sampler_dpm_multistep, true},
    {"DDIM", "DDIM", sampler_ddim, false},
    {"PNDM", "PNDM", sampler_pndm, false},
};
enum { SAMPLERS = sizeof samplers / sizeof *samplers };

const char *const *sampler_names(void)
{
    static const char *labels[SAMPLERS + 1];
    for (size_t i = 0; i < SAMPLERS; i++)
        labels[i] = samplers[i].label;
    return labels;
}

/* Whether the first `length` letters of text are `name`, or `name` and "Scheduler". */
static bool is_named(const char *text, size_t length, const char *name)
{
    static const char ending[] = "Scheduler";
    size_t own = strlen(name);
    if (length != own && length != own + sizeof ending - 1)
        return false;
    return !strncasecmp(text, name, own) &&
           (length == own || !strncasecmp(text + own, ending, sizeof ending - 1));
}

static const struct sampler *find_sampler(const char *name, struct error *error)
{
    struct buffer known = {0};
    size_t length = strcspn(name, "(");
    for (size_t i = 0; i < SAMPLERS; i++)
        if (is_named(name, length, samplers[i].label) ||
            is_named(name, length, samplers[i].class))
            return &samplers[i];
    for (size_t i = 0; i < SAMPLERS; i++)
        buffer_printf(&known, NULL, "%s%s", i ? ", " : "", samplers[i].label);
    error_set_kind(error, ERROR_INPUT, "no sampler %.60s; there are %s", name,
                   buffer_text(&known));
    buffer_clear(&known);
    return NULL;
}

/* The part of a name behind "(": "key=value,key=value)". */
static bool apply_options(struct schedule_config *config, const char *options,
                          struct error *error)
{
    bool good = true;
    char *copy = strdup(options), *rest = copy, *option;
    size_t length = strlen(options);
    if (!copy)
        return error_set_kind(error, ERROR_MEMORY, "no memory for sampler options");
    if (!length || copy[length - 1] != ')') {
        free(copy);
        return error_set_kind(error, ERROR_INPUT, "sampler options (%.60s: no )",
                              options);
    }
    copy[length - 1] = 0;
    while (good && (option = strsep(&rest, ","))) {
        char *value = strchr(option, '=');
        option += strspn(option, " ");
        if (!value) {
            good = error_set_kind(error, ERROR_INPUT,
                                  "sampler option %.60s: expected key=value", option);
        } else {
            *value++ = 0;
            option[strcspn(option, " ")] = 0;
            value += strspn(value, " \"'");
            value[strcspn(value, " \"'")] = 0;
            good = schedule_config_set(config, option, value, error);
        }
    }
    free(copy);
    return good;
}

static bool choose_schedule(struct plan *self, const struct sampler *sampler,
                            const char *schedule, struct error *error)
{
    self->karras = sampler->has_karras && self->config->karras == 1;
    if (!strcasecmp(schedule, "Automatic"))
        return true;
    self->karras = !strcasecmp(schedule, "Karras");
    if (!self->karras && strcasecmp(schedule, "Normal"))
        return error_set_kind(error, ERROR_INPUT,
                              "no schedule %.60s; there are Automatic, Normal, Karras",
                              schedule);
    if (self->karras && !sampler->has_karras)
        return error_set_kind(error, ERROR_INPUT,
                              "schedule Karras: %s has none; Euler and DPM++ 2M do",
                              sampler->label);
    return true;
}

/* Training schedule and room for the steps. */
static bool prepare(struct plan *self, double **alphas, double **sigmas,
                    struct error *error)
{
    size_t train = self->config->train_steps, room = self->steps + PLAN_MORE_STEPS;
    *alphas = schedule_alphas(self->config, error);
    *sigmas = schedule_alphas(self->config, error);
    if (!*alphas || !*sigmas)
        return false;
    schedule_alphas_to_sigmas(*sigmas, train);
    self->alphas = *alphas;
    self->sigmas = *sigmas;
    if (self->steps < 1 || self->steps > train)
        return error_set_kind(
            error, ERROR_INPUT,
            "steps %zu, expected 1 to the %zu the model was trained on", self->steps,
            train);
    self->timesteps = calloc(self->steps, sizeof *self->timesteps);
    self->levels = calloc(self->steps + 1, sizeof *self->levels);
    self->step = calloc(room, sizeof *self->step);
    self->level = calloc(room, sizeof *self->level);
    if (!self->timesteps || !self->levels || !self->step || !self->level)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu steps",
                              self->steps);
    for (size_t i = 0; i < room; i++)
        self->step[i].save = -1;
    return true;
}

/* diffusers' get_timesteps: how many of the steps are skipped. */
static bool choose_first(struct plan *self, double strength, struct error *error)
{
    if (!(strength > 0 && strength <= 1))
        return error_set_kind(error, ERROR_INPUT,
                              "strength %g, expected more than 0, at most 1", strength);
    size_t run = (size_t)((double)self->steps * strength);
    if (!run)
        return error_set_kind(error, ERROR_INPUT,
                              "strength %g of %zu steps leaves none to run; take %.0f "
                              "steps or more",
                              strength, self->steps, ceil(1 / strength));
    self->first = self->steps - run;
    return true;
}

/* Betas may be legal and yet leave two steps no distance, or one too much for a float. */
static bool is_finite(const struct plan *self, struct error *error)
{
    bool good = isfinite(self->start_scale);
    for (size_t i = 0; i < self->count; i++) {
        good = good && isfinite(self->level[i].image) && isfinite(self->level[i].noise);
        const struct step *step = &self->step[i];
        const float numbers[] = {
            step->timestep, step->input_scale, step->d_x,  step->d_e,  step->clip,
            step->x_x,      step->x_e,         step->x_d,  step->h[0], step->h[1],
            step->h[2],     step->h[3],        step->noise};
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++)
            good = good && isfinite(numbers[j]);
    }
    return good || error_set_kind(error, ERROR_INPUT,
                                  "%zu steps over betas from %g to %g have no finite "
                                  "coefficients; is scheduler_config.json right?",
                                  self->steps, self->config->beta_start,
                                  self->config->beta_end);
}

/* Hands the plan's steps over to the run. */
static void give(struct plan *self, const struct sampler_options *options,
                 struct sampler_run *run)
{
    bool from_image = options->from_image || options->strength < 1;
    *run = (struct sampler_run){
        .step = self->step,
        .count = self->count,
        .start_image = from_image ? self->level[0].image : 0,
        .start_scale = from_image ? self->level[0].noise : self->start_scale,
        .known = self->level,
    };
    for (size_t i = 0; i < self->count; i++)
        self->step[i].guidance = (float)options->guidance;
    memmove(run->known, run->known + 1, (self->count - 1) * sizeof *run->known);
    run->known[self->count - 1] = (struct sampler_level){1, 0};
    self->step = NULL;
    self->level = NULL;
}

bool sampler_plan(struct sampler_run *self, const char *name,
                  const struct schedule_config *config,
                  const struct sampler_options *options, struct error *error)
{
    bool good = false;
    double *alphas = NULL, *sigmas = NULL;
    struct schedule_config own = *config;
    struct plan plan = {.config = &own, .steps = options->steps, .eta = options->eta};
    const struct sampler *sampler = find_sampler(name, error);
    const char *bracket = strchr(name, '(');
    *self = (struct sampler_run){0};
    if (!sampler || (bracket && !apply_options(&own, bracket + 1, error)) ||
        !choose_schedule(&plan, sampler, options->schedule, error))
        goto out;
    if (!(options->eta >= 0 && options->eta <= 1)) {
        error_set_kind(error, ERROR_INPUT, "eta %g, expected 0 to 1", options->eta);
        goto out;
    }
    if (!prepare(&plan, &alphas, &sigmas, error) ||
        !choose_first(&plan, options->strength, error))
        goto out;
    if (!sampler->plan(&plan, error) || !is_finite(&plan, error)) {
        error_prefix(error, "%s", sampler->label);
        goto out;
    }
    give(&plan, options, self);
    good = true;
out:
    free(alphas);
    free(sigmas);
    free(plan.timesteps);
    free(plan.levels);
    free(plan.step);
    free(plan.level);
    return good;
}

void sampler_run_clear(struct sampler_run *self)
{
    free(self->step);
    free(self->known);
    *self = (struct sampler_run){0};
}

void sampler_clean(struct step *step, enum prediction prediction, double alpha,
                   double sigma)
{
    const double clean[][2] = {
        [PREDICTION_EPSILON] = {1 / alpha, -sigma / alpha},
        [PREDICTION_V] = {alpha, -sigma},
        [PREDICTION_SAMPLE] = {0, 1},
    };
    step->d_x = (float)clean[prediction][0];
    step->d_e = (float)clean[prediction][1];
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
    if (timestep >= (double)self->config->train_steps)
        return error_set_kind(error, ERROR_INPUT,
                              "steps %zu need timestep %g, the model has 0 to %zu",
                              self->steps, timestep, self->config->train_steps - 1);
    if (timestep < 0)
        *alpha = ends_on_one ? 1 : self->alphas[0];
    else
        *alpha = self->alphas[(size_t)timestep];
    return true;
}
