#include "worker/sd/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/adaptive.h"
#include "worker/sd/sampler_family.h"
#include "worker/sd/schedule_k.h"

const char *const *sampler_names(void)
{
    enum { MOST = 128 };
    static const char *names[MOST + 1];
    for (size_t i = 0; samplers[i].name && i < MOST; i++)
        names[i] = samplers[i].name;
    return names;
}

static const struct sampler *find_sampler(const char *name, struct error *error)
{
    struct buffer known = {0};
    size_t length = strcspn(name, "(");
    /* "Euler" is A1111's, "euler" ComfyUI's; any other spelling is taken for either. */
    for (int loosely = 0; loosely < 2; loosely++)
        for (const struct sampler *sampler = samplers; sampler->name; sampler++) {
            const char *const names[] = {sampler->name, sampler->also};
            for (size_t k = 0; k < 2 && names[k]; k++)
                if (strlen(names[k]) == length &&
                    !(loosely ? strncasecmp : strncmp)(names[k], name, length))
                    return sampler;
        }
    for (const struct sampler *sampler = samplers; sampler->name; sampler++)
        buffer_printf(&known, NULL, "%s%s", known.size ? ", " : "", sampler->name);
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

/* What the sampler takes for what the configuration does not say. A1111 and ComfyUI know
 * Stable Diffusion's betas only. */
static void fill_defaults(struct schedule_config *config, const struct sampler *sampler)
{
    bool is_stable = sampler->traits & (TRAIT_BETAS | TRAIT_K);
    if (config->beta_start == 0)
        config->beta_start = is_stable ? 0.00085 : 0.0001;
    if (config->beta_end == 0)
        config->beta_end = is_stable ? 0.012 : 0.02;
    if (!config->beta_schedule[0])
        strcpy(config->beta_schedule,
               sampler->traits & (TRAIT_SCALED | TRAIT_K) ? "scaled_linear" : "linear");
    if (!(sampler->traits & (TRAIT_ZERO | TRAIT_ALMOST_ZERO | TRAIT_K)))
        config->zero_snr = 0;
    if (sampler->traits & TRAIT_LEADING) {
        config->clip_sample = config->set_alpha_to_one = 0;
        config->skip_prk_steps = 1;
    }
}

static const char *const curve_names[] = {
    [CURVE_NONE] = "Normal",
    [CURVE_KARRAS] = "Karras",
    [CURVE_EXPONENTIAL] = "Exponential",
    [CURVE_BETA] = "Beta",
};

/* diffusers': Automatic keeps what the configuration says. */
static bool choose_curve(struct plan *self, const struct sampler *sampler,
                         const char *schedule, struct error *error)
{
    const int said[] = {0, self->config->karras == 1, self->config->exponential == 1,
                        self->config->beta == 1};
    bool is_automatic = !strcasecmp(schedule, "Automatic");
    bool has_curves = sampler->traits & TRAIT_CURVES;
    int wanted = -1, count = 0;
    for (int i = 0; i < 4; i++) {
        if (is_automatic ? said[i] : !strcasecmp(schedule, curve_names[i]))
            wanted = i;
        count += said[i];
    }
    if (is_automatic && !has_curves)
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
    if (wanted > 0 && !has_curves)
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
    size_t room = schedule_k_room(self->steps + 1);
    self->stride = train / self->steps;
    size_t evaluations = 2 * room + PLAN_MORE_STEPS;
    *alphas = schedule_alphas(self->config, self->is_k, error);
    *sigmas = schedule_alphas(self->config, self->is_k, error);
    if (!*alphas || !*sigmas)
        return false;
    /* What sigma takes instead of a zero: diffusers', and A1111's and ComfyUI's. */
    double least = self->is_k ? 4.8973451890853435e-08 : 0x1p-24;
    if (!(sampler->traits & TRAIT_ZERO) && self->config->zero_snr == 1)
        (*alphas)[train - 1] = (*sigmas)[train - 1] = least;
    schedule_alphas_to_sigmas(*sigmas, train);
    self->alphas = *alphas;
    self->sigmas = *sigmas;
    self->timesteps = calloc(room, sizeof *self->timesteps);
    self->levels = calloc(room, sizeof *self->levels);
    self->step = calloc(evaluations, sizeof *self->step);
    self->level = calloc(evaluations, sizeof *self->level);
    self->interval = calloc(evaluations, sizeof *self->interval);
    if (!self->timesteps || !self->levels || !self->step || !self->level ||
        !self->interval)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu steps",
                              self->steps);
    for (size_t i = 0; i < evaluations; i++)
        self->step[i].save = self->step[i].keep = -1;
    return true;
}

static bool check_options(const struct sampler_options *options, struct error *error)
{
    if (!(options->strength > 0 && options->strength <= 1))
        return error_set_kind(error, ERROR_INPUT,
                              "strength %g, expected more than 0, at most 1",
                              options->strength);
    if (!(options->eta >= 0 && options->eta <= 1))
        return error_set_kind(error, ERROR_INPUT, "eta %g, expected 0 to 1",
                              options->eta);
    return true;
}

/* diffusers' get_timesteps: how many of the steps are skipped. */
static bool choose_first(struct plan *self, struct error *error)
{
    size_t run = (size_t)((double)self->steps * self->strength);
    if (self->skipped)
        run = self->steps - self->skipped;
    if (!run)
        return error_set_kind(error, ERROR_INPUT,
                              "strength %g of %zu steps leaves none to run; take %.0f "
                              "steps or more",
                              self->strength, self->steps, ceil(1 / self->strength));
    self->first = self->steps - run;
    return true;
}

static bool place_as_diffusers(struct plan *self, const struct sampler *sampler,
                               const struct sampler_options *options,
                               struct error *error)
{
    return choose_curve(self, sampler, options->schedule, error) &&
           choose_first(self, error) && sampler->place(self, error);
}

static const char *automatic_schedule(const struct sampler *sampler)
{
    if (sampler->traits & TRAIT_COMFY)
        return "Normal";
    if (sampler->traits & TRAIT_EXPONENTIAL)
        return "Exponential";
    return sampler->traits & TRAIT_KARRAS ? "Karras" : "Uniform";
}

/* A1111 runs int(min(strength, 0.999) steps) + 1 of the steps from a picture; ComfyUI has
 * made int(steps / strength) steps, of which the last `steps` are run. */
static bool place_as_k(struct plan *self, const struct sampler *sampler,
                       const struct sampler_options *options, struct error *error)
{
    bool discards = sampler->traits & TRAIT_DISCARDS;
    bool is_automatic = !strcasecmp(options->schedule, "Automatic");
    const char *schedule =
        is_automatic ? automatic_schedule(sampler) : options->schedule;
    struct schedule_model model = {.sigmas = self->sigmas,
                                   .count = (size_t)self->config->train_steps,
                                   .is_xl = options->is_xl,
                                   .is_comfy = self->is_comfy};
    size_t count, asked = self->steps;
    assert(self->levels && self->timesteps);
    if (sampler->place && !is_automatic)
        return error_set_kind(error, ERROR_INPUT,
                              "schedule %s: %s has its own; leave it Automatic",
                              schedule, sampler->name);
    if (sampler->place)
        return sampler->place(self, error);
    if (!schedule_k(&model, schedule, asked + discards, self->levels, &count, error))
        return false;
    if (discards) {
        self->levels[count - 2] = self->levels[count - 1];
        count--;
    }
    self->steps = count - 1;
    for (size_t i = 0; i < self->steps; i++)
        self->timesteps[i] = sampler_timestep(self, self->levels[i]);
    size_t run = (size_t)(fmin(self->strength, 0.999) * (double)asked) + 1;
    if (self->asked)
        run = self->asked;
    size_t skipped = asked - run; /* of the steps asked for, where there are more too */
    if (self->is_comfy)
        skipped = self->steps > options->steps ? self->steps - options->steps : 0;
    if (self->from_image)
        self->first = skipped;
    double top = self->levels[self->first], most = model.sigmas[model.count - 1];
    bool is_whole = self->is_comfy && top > most * (1 - 1e-5);
    self->start_scale = is_whole ? sqrt(top * top + 1) : top;
    self->start = (struct sampler_level){1, self->start_scale};
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
            step->keep_h[1], step->keep_h[2],   step->keep_h[3], step->x_u,
            step->keep_u,
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
static void give(struct plan *self, const struct sampler *sampler,
                 const struct sampler_options *options, struct sampler_run *run)
{
    struct sampler_level start = self->start.noise > 0 ? self->start : self->level[0];
    enum noise_source continued = self->is_comfy ? NOISE_RESEEDED : NOISE_CONTINUED;
    *run = (struct sampler_run){
        .ways = self->is_comfy ? WAYS_COMFY
                : self->is_k   ? WAYS_A1111
                               : WAYS_DIFFUSERS,
        .step = self->step,
        .count = self->count,
        .start_image = self->from_image ? start.image : 0,
        .start_scale = self->from_image ? start.noise : self->start_scale,
        .known = self->level,
        .source = sampler->traits & TRAIT_BROWNIAN ? NOISE_BROWNIAN : continued,
        .interval = self->interval,
        .posterior = !self->is_k,
        .renews = sampler->traits & TRAIT_RENEWS,
        .uncond = sampler->traits & TRAIT_UNCOND,
        .adaptive = self->adaptive,
    };
    /* diffusers takes a guidance up to 1 for none. */
    double guidance =
        self->is_k ? options->guidance * self->guidance : fmax(options->guidance, 1);
    run->guided = guidance != 1 || run->uncond;
    for (size_t i = 0; i < self->count; i++) {
        self->step[i].guidance = (float)guidance;
        self->step[i].rescale = (float)options->guidance_rescale;
    }
    /* A Brownian motion lives between the least and the most of the run's sigmas; diffusers
     * counts those in too that a run from a picture skips. */
    size_t last = self->steps - (self->levels[self->steps] == 0);
    double most = self->levels[self->is_k ? self->first : 0];
    run->range = (struct sampler_interval){self->levels[last], most};
    memmove(run->known, run->known + 1, (self->count - 1) * sizeof *run->known);
    run->known[self->count - 1] = (struct sampler_level){1, 0};
    sampler_share(self, sampler, options, run);
    self->step = NULL;
    self->level = NULL;
    self->interval = NULL;
    self->adaptive = NULL;
}

static void clear(struct plan *self, double *alphas, double *sigmas)
{
    free(alphas);
    free(sigmas);
    free(self->timesteps);
    free(self->levels);
    free(self->step);
    free(self->level);
    free(self->interval);
    adaptive_destroy(&self->adaptive);
}

/* `skipped`: of diffusers' refiner, the steps that the model has run. */
static bool plan_from(struct sampler_run *self, const char *name,
                      const struct schedule_config *config,
                      const struct sampler_options *options, size_t skipped,
                      struct error *error)
{
    bool good = false;
    double *alphas = NULL, *sigmas = NULL;
    struct hold *hold = NULL;
    struct schedule_config own = *config;
    struct plan plan = {.config = &own,
                        .steps = options->steps,
                        .eta = options->eta,
                        .strength = options->strength,
                        .skipped = skipped,
                        .guidance = 1,
                        .from_image = options->from_image};
    const struct sampler *sampler = find_sampler(name, error);
    const char *bracket = strchr(name, '(');
    *self = (struct sampler_run){0};
    if (!sampler || (bracket && !apply_options(&own, bracket + 1, error)) ||
        !check_options(options, error))
        return false;
    plan.is_k = sampler->traits & TRAIT_K;
    plan.is_comfy = sampler->traits & TRAIT_COMFY;
    if (options->strength < 1)
        plan.from_image = true;
    else if (options->inpaints && !plan.is_k)
        plan.from_image = false;
    fill_defaults(&own, sampler);
    if (plan.is_comfy && options->strength < 0.9999)
        plan.steps = (size_t)((double)options->steps / options->strength);
    if (plan.is_k && !plan.is_comfy && options->is_second) {
        plan.asked = options->steps;
        plan.steps = (size_t)((double)options->steps / fmin(options->strength, 0.999));
    }
    if (prepare(&plan, sampler, &alphas, &sigmas, error)) {
        good = (plan.is_k ? place_as_k : place_as_diffusers)(&plan, sampler, options,
                                                             error) &&
               sampler->fill(&plan, error) && is_finite(&plan, error);
        if (!good)
            error_prefix(error, "%s", sampler->name);
    }
    good = good && sampler_holds(&plan, sampler, options, &hold, error);
    if (good)
        give(&plan, sampler, options, self);
    self->hold = hold;
    if (!good)
        sampler_run_clear(self);
    clear(&plan, alphas, sigmas);
    return good;
}

static bool can_share(const struct sampler *sampler, struct error *error)
{
    return !(sampler->traits & TRAIT_COMFY || sampler->fill == sampler_dpm_adaptive) ||
           error_set_kind(error, ERROR_INPUT,
                          "sampler %s: a refiner goes on in runs of A1111's samplers "
                          "of fixed steps and of diffusers' classes",
                          sampler->name);
}

/* diffusers' refiner: begins within the schedule of all steps, wherever that began for the
 * model. */
static bool plan_refiner(struct sampler_run *self, const char *name,
                         const struct schedule_config *config,
                         const struct sampler_options *options, struct error *error)
{
    struct sampler_options whole = *options;
    whole.strength = 1;
    whole.from_image = whole.inpaints = false;
    if (!plan_from(self, name, config, &whole, 0, error))
        return false;
    size_t skipped = self->refined_from;
    sampler_run_clear(self);
    if (skipped >= options->steps)
        return error_set_kind(error, ERROR_INPUT,
                              "refiner: at %g of %zu steps none are left for it; take "
                              "more steps or let it go on sooner",
                              options->refiner_at, options->steps);
    return plan_from(self, name, config, &whole, skipped, error);
}

bool sampler_plan(struct sampler_run *self, const char *name,
                  const struct schedule_config *config,
                  const struct sampler_options *options, struct error *error)
{
    const struct sampler *sampler = find_sampler(name, error);
    *self = (struct sampler_run){0};
    if (!sampler || (options->refiner_at > 0 && !can_share(sampler, error)))
        return false;
    bool own = options->refines && !(sampler->traits & TRAIT_K);
    return own ? plan_refiner(self, name, config, options, error)
               : plan_from(self, name, config, options, 0, error);
}

void sampler_run_clear(struct sampler_run *self)
{
    free(self->step);
    free(self->known);
    free(self->hold);
    free(self->interval);
    adaptive_destroy(&self->adaptive);
    *self = (struct sampler_run){0};
}

bool sampler_adapts(const char *name)
{
    const struct sampler *sampler = find_sampler(name, NULL);
    return sampler && sampler->fill == sampler_dpm_adaptive;
}
