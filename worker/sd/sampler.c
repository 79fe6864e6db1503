#include "worker/sd/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/sampler_family.h"

/* What a class takes where scheduler_config.json says nothing. */
enum betas { BETAS_DDPM, BETAS_STABLE, BETAS_SCALED };

/* Whether and how rescale_betas_zero_snr is heeded: the last alpha is 0, or almost. */
enum zero_snr { ZERO_IGNORED, ZERO_WHOLE, ZERO_ALMOST };

static const struct sampler {
    const char *name, *also; /* also NULL: no second name */
    sampler_family *plan;
    bool has_curves; /* whether it takes use_karras_sigmas and its like */
    enum betas betas;
    enum zero_snr zero_snr;
} samplers[] = {
    {"Euler", NULL, sampler_euler, true, BETAS_DDPM, ZERO_ALMOST},
    {"Euler a", NULL, sampler_euler_ancestral, false, BETAS_DDPM, ZERO_ALMOST},
    {"DPM++ 2M", NULL, sampler_dpm_multistep, true, BETAS_DDPM, ZERO_ALMOST},
    {"DDIM", NULL, sampler_ddim, false, BETAS_DDPM, ZERO_WHOLE},
    {"DDIMScheduler", NULL, sampler_ddim, false, BETAS_DDPM, ZERO_WHOLE},
    {"DDPMScheduler", "DDPM", sampler_ddpm, false, BETAS_DDPM, ZERO_WHOLE},
    {"DEISMultistepScheduler", "DEISMultistep", sampler_deis, true, BETAS_DDPM,
     ZERO_IGNORED},
    {"DPMSolverMultistepScheduler", "DPMSolverMultistep", sampler_dpm_multistep, true,
     BETAS_DDPM, ZERO_ALMOST},
    {"DPMSolverSinglestepScheduler", "DPMSolverSinglestep", sampler_dpm_singlestep,
     true, BETAS_DDPM, ZERO_IGNORED},
    {"EulerAncestralDiscreteScheduler", "EulerAncestralDiscrete",
     sampler_euler_ancestral, false, BETAS_DDPM, ZERO_ALMOST},
    {"EulerDiscreteScheduler", "EulerDiscrete", sampler_euler, true, BETAS_DDPM,
     ZERO_ALMOST},
    {"HeunDiscreteScheduler", "HeunDiscrete", sampler_heun, true, BETAS_STABLE,
     ZERO_IGNORED},
    {"KDPM2AncestralDiscreteScheduler", "KDPM2AncestralDiscrete",
     sampler_dpm2_ancestral, true, BETAS_STABLE, ZERO_IGNORED},
    {"KDPM2DiscreteScheduler", "KDPM2Discrete", sampler_dpm2, true, BETAS_STABLE,
     ZERO_IGNORED},
    {"LCMScheduler", NULL, sampler_lcm, false, BETAS_SCALED, ZERO_WHOLE},
    {"LMSDiscreteScheduler", "LMSDiscrete", sampler_lms, true, BETAS_DDPM,
     ZERO_IGNORED},
    {"PNDMScheduler", "PNDM", sampler_pndm, false, BETAS_DDPM, ZERO_IGNORED},
    {"UniPCMultistepScheduler", "UniPCMultistep", sampler_unipc, true, BETAS_DDPM,
     ZERO_ALMOST},
};
enum { SAMPLERS = sizeof samplers / sizeof *samplers };

const char *const *sampler_names(void)
{
    static const char *names[SAMPLERS + 1];
    for (size_t i = 0; i < SAMPLERS; i++)
        names[i] = samplers[i].name;
    return names;
}

static bool is_named(const char *text, size_t length, const char *name)
{
    return name && strlen(name) == length && !strncasecmp(text, name, length);
}

static const struct sampler *find_sampler(const char *name, struct error *error)
{
    struct buffer known = {0};
    size_t length = strcspn(name, "(");
    for (size_t i = 0; i < SAMPLERS; i++)
        if (is_named(name, length, samplers[i].name) ||
            is_named(name, length, samplers[i].also))
            return &samplers[i];
    for (size_t i = 0; i < SAMPLERS; i++)
        buffer_printf(&known, NULL, "%s%s", i ? ", " : "", samplers[i].name);
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

/* What the class takes for what the configuration does not say. */
static void fill_defaults(struct schedule_config *config, const struct sampler *sampler)
{
    bool is_ddpm = sampler->betas == BETAS_DDPM;
    if (config->beta_start == 0)
        config->beta_start = is_ddpm ? 0.0001 : 0.00085;
    if (config->beta_end == 0)
        config->beta_end = is_ddpm ? 0.02 : 0.012;
    if (!config->beta_schedule[0])
        strcpy(config->beta_schedule,
               sampler->betas == BETAS_SCALED ? "scaled_linear" : "linear");
    if (sampler->zero_snr == ZERO_IGNORED)
        config->zero_snr = 0;
}

static const char *const curve_names[] = {
    [CURVE_NONE] = "Normal",
    [CURVE_KARRAS] = "Karras",
    [CURVE_EXPONENTIAL] = "Exponential",
    [CURVE_BETA] = "Beta",
};

/* Automatic keeps what the configuration says. */
static bool choose_schedule(struct plan *self, const struct sampler *sampler,
                            const char *schedule, struct error *error)
{
    const int said[] = {0, self->config->karras == 1, self->config->exponential == 1,
                        self->config->beta == 1};
    bool is_automatic = !strcasecmp(schedule, "Automatic");
    int wanted = -1, count = 0;
    for (int i = 0; i < 4; i++) {
        if (is_automatic ? said[i] : !strcasecmp(schedule, curve_names[i]))
            wanted = i;
        count += said[i];
    }
    if (is_automatic && !sampler->has_curves)
        return true;
    if (is_automatic && count > 1)
        return error_set_kind(error, ERROR_INPUT,
                              "use_karras_sigmas, use_exponential_sigmas and "
                              "use_beta_sigmas: only one can be true");
    if (!is_automatic && wanted < 0)
        return error_set_kind(error, ERROR_INPUT,
                              "no schedule %.60s; there are Automatic, Normal, Karras, "
                              "Exponential, Beta",
                              schedule);
    if (wanted > 0 && !sampler->has_curves)
        return error_set_kind(error, ERROR_INPUT,
                              "schedule %s: %s has none; leave it Automatic",
                              curve_names[wanted], sampler->name);
    self->curve = wanted > 0 ? (enum curve)wanted : CURVE_NONE;
    return true;
}

/* Training schedule and room for the steps. */
static bool prepare(struct plan *self, const struct sampler *sampler, double **alphas,
                    double **sigmas, struct error *error)
{
    size_t train = (size_t)self->config->train_steps;
    if (self->steps < 1 || self->steps > train)
        return error_set_kind(
            error, ERROR_INPUT,
            "steps %zu, expected 1 to the %zu the model was trained on", self->steps,
            train);
    size_t room = 2 * self->steps + PLAN_MORE_STEPS;
    *alphas = schedule_alphas(self->config, error);
    *sigmas = schedule_alphas(self->config, error);
    if (!*alphas || !*sigmas)
        return false;
    if (sampler->zero_snr == ZERO_ALMOST && self->config->zero_snr == 1)
        (*alphas)[train - 1] = (*sigmas)[train - 1] = 0x1p-24;
    schedule_alphas_to_sigmas(*sigmas, train);
    self->alphas = *alphas;
    self->sigmas = *sigmas;
    self->timesteps = calloc(self->steps, sizeof *self->timesteps);
    self->levels = calloc(self->steps + 1, sizeof *self->levels);
    self->step = calloc(room, sizeof *self->step);
    self->level = calloc(room, sizeof *self->level);
    if (!self->timesteps || !self->levels || !self->step || !self->level)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu steps",
                              self->steps);
    for (size_t i = 0; i < room; i++)
        self->step[i].save = self->step[i].keep = -1;
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
            step->timestep,  step->input_scale, step->d_x,       step->d_e,
            step->clip,      step->x_x,         step->x_e,       step->x_d,
            step->h[0],      step->h[1],        step->h[2],      step->h[3],
            step->noise,     step->keep_x,      step->keep_d,    step->keep_h[0],
            step->keep_h[1], step->keep_h[2],   step->keep_h[3],
        };
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
    for (size_t i = 0; i < self->count; i++) {
        self->step[i].guidance = (float)options->guidance;
        self->step[i].rescale = (float)options->guidance_rescale;
    }
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
    fill_defaults(&own, sampler);
    if (!(options->eta >= 0 && options->eta <= 1)) {
        error_set_kind(error, ERROR_INPUT, "eta %g, expected 0 to 1", options->eta);
        goto out;
    }
    if (!prepare(&plan, sampler, &alphas, &sigmas, error) ||
        !choose_first(&plan, options->strength, error))
        goto out;
    if (!sampler->plan(&plan, error) || !is_finite(&plan, error)) {
        error_prefix(error, "%s", sampler->name);
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
