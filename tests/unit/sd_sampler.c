/* Every step list is run here in double around a model that is a formula, and its result
 * compared with what diffusers' schedulers made of the same model (tests/golden). */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/test.h"
#include "worker/sd/adaptive.h"
#include "worker/sd/brownian.h"
#include "worker/sd/noise.h"
#include "worker/sd/sampler.h"

enum { COUNT = 20, SLOTS = 4 };

static json_t *golden, *golden_k, *golden_own;
static char path[] = "/tmp/farm-scheduler-XXXXXX";

static int load_golden(void **state)
{
    golden = json_load_file(FARM_GOLDEN_DIR "/samplers.json", 0, NULL);
    golden_k = json_load_file(FARM_GOLDEN_DIR "/samplers_k.json", 0, NULL);
    golden_own = json_load_file(FARM_GOLDEN_DIR "/samplers_own.json", 0, NULL);
    int file = mkstemp(path);
    return golden && golden_k && golden_own && file >= 0 ? close(file) : -1;
}

static int free_golden(void **state)
{
    json_decref(golden);
    json_decref(golden_k);
    json_decref(golden_own);
    return unlink(path);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void load_config(struct schedule_config *config, const char *name)
{
    struct error error = {0};
    json_t *value = json_object_get(json_object_get(golden, "configs"), name);
    assert_int_equal(json_dump_file(value, path, 0), 0);
    if (!schedule_config_load(config, path, &error))
        fail_msg("%s: %s", name, error.text);
}

static double model(double x, double timestep)
{
    return tanh(x) + 0.25 * sin(timestep / 100) * x;
}

/* What the model says without the prompt. */
static double plain_model(double x, double timestep)
{
    return 0.7 * tanh(x) - 0.1 * cos(timestep / 100) * x;
}

static void take_step(const struct step *step, bool guided, double *x,
                      double history[SLOTS][COUNT], const float z[COUNT])
{
    for (size_t i = 0; i < COUNT; i++) {
        double e = model(x[i] * step->input_scale, step->timestep);
        double uncond = plain_model(x[i] * step->input_scale, step->timestep);
        if (guided)
            e = uncond + (double)step->guidance * (e - uncond);
        double d = step->d_x * x[i] + step->d_e * e;
        if (step->clip > 0)
            d = fmax(fmin(d, step->clip), -step->clip);
        double next = step->x_x * x[i] + step->x_e * e + step->x_d * d +
                      step->x_u * uncond + (double)step->noise * z[i];
        double kept = step->keep_x * x[i] + step->keep_d * d + step->keep_u * uncond;
        for (size_t j = 0; j < SLOTS; j++) {
            next += step->h[j] * history[j][i];
            kept += step->keep_h[j] * history[j][i];
        }
        x[i] = next;
        if (step->save >= 0)
            history[step->save][i] = d;
        if (step->keep >= 0)
            history[step->keep][i] = kept;
    }
}

/* The latents of a picture, as the oracle has them. */
static double picture(size_t i)
{
    return -1.5 + 2.5 * (double)i / (COUNT - 1);
}

static void run_steps(const struct sampler_run *run, bool guided, uint64_t seed,
                      double *x)
{
    struct noise noise;
    float start[COUNT];
    double history[SLOTS][COUNT] = {0};
    struct brownian *brownian = NULL;
    if (run->source == NOISE_BROWNIAN)
        assert_non_null(
            brownian = brownian_new(seed, run->range.from, run->range.to, COUNT, NULL));
    noise_seed(&noise, seed);
    noise_normal(&noise, start, COUNT);
    if (run->source == NOISE_RESEEDED)
        noise_seed(&noise, seed + 1);
    for (size_t i = 0; i < COUNT; i++)
        x[i] = start[i] * run->start_scale + picture(i) * run->start_image;
    for (size_t i = 0; i < run->count; i++) {
        float z[COUNT] = {0};
        const struct sampler_interval *interval = &run->interval[i];
        if (run->step[i].noise != 0 && brownian)
            assert_true(brownian_draw(brownian, interval->from, interval->to, z, NULL));
        else if (run->step[i].noise != 0)
            noise_normal(&noise, z, COUNT);
        take_step(&run->step[i], guided, x, history, z);
    }
    brownian_destroy(&brownian);
}

/* A run whose steps are found on the way; gives the number of evaluations. */
static size_t run_adaptive(const struct sampler_run *run, bool guided, uint64_t seed,
                           double *x)
{
    struct noise noise;
    float start[COUNT], z[COUNT] = {0}, values[(1 + SLOTS) * COUNT];
    double history[SLOTS][COUNT] = {0};
    size_t evaluations = 0;
    noise_seed(&noise, seed);
    noise_normal(&noise, start, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        x[i] = start[i] * run->start_scale + picture(i) * run->start_image;
    while (adaptive_done(run->adaptive) < 1) {
        double due;
        adaptive_attempt(run->adaptive, run->step);
        for (size_t i = 0; i < ADAPTIVE_EVALUATIONS; i++, evaluations++)
            take_step(&run->step[i], guided, x, history, z);
        for (size_t i = 0; i < (1 + SLOTS) * COUNT; i++)
            values[i] = (float)(i < COUNT ? x[i] : history[i / COUNT - 1][i % COUNT]);
        assert_true(adaptive_judge(run->adaptive, values, COUNT, &due, NULL));
        if (due >= 0)
            noise_normal(&noise, start, COUNT);
        for (size_t i = 0; i < COUNT; i++)
            x[i] = values[i] + (due > 0 ? due * start[i] : 0);
    }
    return evaluations;
}

/* Relative L2 distance of x from the list of numbers. */
static double distance(const double *x, const json_t *expected)
{
    double difference = 0, size = 0;
    assert_int_equal(json_array_size(expected), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double value = json_number_value(json_array_get(expected, i));
        difference += (x[i] - value) * (x[i] - value);
        size += value * value;
    }
    return sqrt(difference / size);
}

static void check_level(const char *what, double image, double noise,
                        const json_t *expected)
{
    double wanted[2];
    for (size_t i = 0; i < 2; i++)
        wanted[i] = json_number_value(json_array_get(expected, i));
    if (fabs(image - wanted[0]) > 1e-6 || fabs(noise - wanted[1]) > 1e-6 * wanted[1])
        fail_msg("%s: level %g, %g, expected %g, %g", what, image, noise, wanted[0],
                 wanted[1]);
}

/* The levels at which a picture's own latents stand after each step. */
static void check_known(const char *what, const struct sampler_run *run,
                        const json_t *expected)
{
    const struct sampler_level *last = &run->known[run->count - 1];
    assert_true(last->image == 1 && last->noise == 0);
    for (size_t i = 0; expected && i + 1 < run->count; i++)
        check_level(what, run->known[i].image, run->known[i].noise,
                    json_array_get(expected, i));
}

static void check_timesteps(const char *what, const struct sampler_run *run,
                            const json_t *timesteps, float guidance)
{
    if (run->count != json_array_size(timesteps))
        fail_msg("%s: %zu evaluations", what, run->count);
    for (size_t i = 0; i < run->count; i++) {
        double expected = json_number_value(json_array_get(timesteps, i));
        if (fabs(run->step[i].timestep - expected) > 1e-3)
            fail_msg("%s: timestep %zu is %g, expected %g", what, i,
                     run->step[i].timestep, expected);
        assert_true(guidance == 0 || run->step[i].guidance == guidance);
    }
}

static void check_case(const json_t *test, const char *name, double *worst)
{
    struct schedule_config config;
    struct sampler_run run;
    struct error error = {0};
    bool guided = json_is_number(json_object_get(test, "cfg"));
    struct sampler_options options = {
        .schedule = text_of(test, "schedule"),
        .steps = (size_t)number_of(test, "steps"),
        .eta = number_of(test, "eta"),
        .guidance = guided ? number_of(test, "cfg") : 7,
        .strength = 1,
        .from_image = json_is_number(json_object_get(test, "strength")),
        .is_xl = json_is_true(json_object_get(test, "is_xl")),
    };
    double x[COUNT];
    char what[200];
    bool is_scaled = !strcmp(name, "DDIM CFG++");
    snprintf(what, sizeof what, "%s, %s, %s, %zu steps, eta %g, strength %g",
             text_of(test, "config"), name, options.schedule, options.steps,
             options.eta, number_of(test, "strength"));
    if (options.from_image)
        options.strength = number_of(test, "strength");
    load_config(&config, text_of(test, "config"));
    bool good = sampler_plan(&run, name, &config, &options, &error);
    if (json_is_true(json_object_get(test, "fails"))) {
        if (good || error.kind != ERROR_INPUT)
            fail_msg("%s: diffusers refuses this", what);
        return;
    }
    if (!good)
        fail_msg("%s: %s", what, error.text);
    const json_t *timesteps = json_object_get(test, "timesteps");
    assert_true(run.guided == (options.guidance != 1 || run.uncond));
    if (!run.adaptive)
        check_timesteps(what, &run, timesteps, is_scaled ? 0 : (float)options.guidance);
    check_level(what, run.start_image, run.start_scale, json_object_get(test, "start"));
    check_known(what, &run, json_object_get(test, "known"));
    uint64_t seed = (uint64_t)number_of(golden, "seed");
    if (!run.adaptive)
        run_steps(&run, guided, seed, x);
    else if (run_adaptive(&run, guided, seed, x) != json_array_size(timesteps))
        fail_msg("%s: another number of evaluations", what);
    double far = distance(x, json_object_get(test, "latents"));
    /* diffusers' floats leave no more where latents begin at sigma 4096; times of Brownian
     * motion are sigmas cut at 6 decimals, less than floats agree to; and where a length is
     * found on the way, a last bit may decide which whole timestep is the nearest */
    bool is_coarse = !strcmp(text_of(test, "config"), "zero-snr") ||
                     run.source == NOISE_BROWNIAN || run.adaptive;
    if (!(far < (run.adaptive ? 5e-3 : is_coarse ? 1e-3 : 1e-4)))
        fail_msg("%s: relative distance %g", what, far);
    if (far > *worst && !is_coarse)
        *worst = far;
    sampler_run_clear(&run);
}

static void check_cases(const json_t *from, size_t least)
{
    size_t i;
    json_t *test;
    double worst = 0;
    json_array_foreach(json_object_get(from, "cases"), i, test)
        check_case(test, text_of(test, "sampler"), &worst);
    print_message("%zu runs, farthest %.1e\n", i, worst);
    assert_true(i > least);
}

static void step_lists_end_where_diffusers_schedulers_end(void **state)
{
    check_cases(golden, 1400);
}

static void step_lists_end_where_k_diffusions_samplers_end(void **state)
{
    check_cases(golden_k, 150);
}

static void step_lists_end_where_a1111s_and_comfyuis_own_samplers_end(void **state)
{
    check_cases(golden_own, 250);
}

static bool plan(const char *name, const char *schedule, size_t steps, double eta,
                 struct error *error)
{
    struct schedule_config config;
    struct sampler_run run = {0};
    load_config(&config, "sd15");
    bool good = sampler_plan(
        &run, name, &config,
        &(struct sampler_options){
            .schedule = schedule, .steps = steps, .eta = eta, .strength = 1},
        error);
    sampler_run_clear(&run);
    return good;
}

static void class_names_may_leave_scheduler_out(void **state)
{
    assert_true(plan("EulerDiscrete", "Automatic", 5, 0, NULL));
    assert_true(plan("dpmsolvermultistep(solver_order=3)", "karras", 5, 0, NULL));
    assert_false(plan("EulerDiscreteScheduler2", "Automatic", 5, 0, NULL));
}

static void options_in_brackets_replace_the_models_configuration(void **state)
{
    struct schedule_config config;
    struct sampler_run plain, leading;
    struct error error = {0};
    struct sampler_options options = {
        .schedule = "Automatic", .steps = 10, .strength = 1};
    load_config(&config, "sdxl");
    assert_true(
        sampler_plan(&leading, "EulerDiscreteScheduler", &config, &options, NULL));
    load_config(&config, "sd15");
    assert_true(sampler_plan(
        &plain, "EulerDiscreteScheduler(timestep_spacing='leading', steps_offset=1)",
        &config, &options, NULL));
    assert_memory_equal(plain.step, leading.step, plain.count * sizeof *plain.step);
    sampler_run_clear(&plain);
    sampler_run_clear(&leading);
    assert_false(plan("EulerDiscrete(steps_offset=x)", "Automatic", 10, 0, &error));
    assert_non_null(strstr(error.text, "steps_offset \"x\", expected 0 or more"));
    assert_false(plan("EulerDiscrete(what=1)", "Automatic", 10, 0, &error));
    assert_string_equal(error.text, "no sampler option what");
    assert_false(plan("EulerDiscrete(what)", "Automatic", 10, 0, &error));
    assert_false(plan("EulerDiscrete(", "Automatic", 10, 0, &error));
    assert_false(
        plan("DPMSolverMultistep(solver_order=4)", "Automatic", 10, 0, &error));
    assert_string_equal(error.text, "solver_order 4, expected 1, 2 or 3");
}

static void what_cannot_be_sampled_is_one_clear_sentence(void **state)
{
    static const struct {
        const char *name, *schedule;
        size_t steps;
        double eta;
        const char *expected;
    } cases[] = {
        {"Heun!", "Automatic", 20, 0, "no sampler Heun!; there are Euler, Euler a, "},
        {"", "Automatic", 20, 0, "no sampler ; there are Euler"},
        {"Euler", "Cubic", 20, 0, "no schedule Cubic; there are"},
        {"DDIMScheduler", "Karras", 20, 0, "schedule Karras: DDIMScheduler has none"},
        {"Euler", "Normal", 0, 0, "steps 0, expected 1 to the 1000"},
        {"Euler", "Normal", 1001, 0, "steps 1001, expected 1 to the 1000"},
        {"DPMSolverMultistep", "Normal", 1000, 0, "steps 1000: this sampler takes 1"},
        {"DDIMScheduler", "Normal", 1000, 0,
         "steps 1000 with steps_offset 1 need timesteps"},
        {"DDIM", "Normal", 20, -1, "eta -1, expected 0 to 1"},
        {"DDIM", "Normal", 20, NAN, "eta nan, expected 0 to 1"},
        {"PNDM(skip_prk_steps=False)", "Normal", 3, 0,
         "PNDMScheduler: steps 3, expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        assert_false(plan(cases[i].name, cases[i].schedule, cases[i].steps,
                          cases[i].eta, &error));
        if (!strstr(error.text, cases[i].expected))
            fail_msg("expected \"%s\" in \"%s\"", cases[i].expected, error.text);
        assert_int_equal(error.kind, ERROR_INPUT);
    }
}

static void cfg_pp_takes_a_mask_with_any_guidance_but_none(void **state)
{
    struct schedule_config config;
    struct sampler_run run;
    struct error error = {0};
    struct sampler_options options = {
        .schedule = "Automatic", .steps = 4, .strength = 1, .inpaints = true};
    load_config(&config, "sd15");
    assert_false(sampler_plan(&run, "euler_cfg_pp", &config, &options, &error));
    assert_string_equal(error.text,
                        "euler_cfg_pp: guidance 0: with a mask CFG++ needs another");
    options.guidance = 0.5;
    assert_true(sampler_plan(&run, "euler_cfg_pp", &config, &options, NULL));
    assert_true(run.hold[0].guidance == 0.5F);
    sampler_run_clear(&run);
}

static void a_strength_that_leaves_no_step_is_refused(void **state)
{
    static const struct {
        double strength;
        const char *expected;
    } cases[] = {
        {0, "strength 0, expected more than 0, at most 1"},
        {1.01, "strength 1.01, expected more than 0"},
        {NAN, "strength nan, expected more than 0"},
        {0.04, "strength 0.04 of 20 steps leaves none to run; take 25 steps or more"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schedule_config config;
        struct sampler_run run;
        struct error error = {0};
        struct sampler_options options = {
            .schedule = "Automatic", .steps = 20, .strength = cases[i].strength};
        schedule_config_defaults(&config);
        assert_false(sampler_plan(&run, "DDIMScheduler", &config, &options, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        if (!strstr(error.text, cases[i].expected))
            fail_msg("expected \"%s\" in \"%s\"", cases[i].expected, error.text);
    }
}

static void a_configuration_that_would_change_the_picture_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"{\"thresholding\": true}", "thresholding true, expected false"},
        {"{\"trained_betas\": [0.1]}", "trained_betas [0.1], expected null"},
        {"{\"rescale_betas_zero_snr\": 1}", "rescale_betas_zero_snr 1, expected true"},
        {"{\"algorithm_type\": \"x\"}", "algorithm_type \"x\", expected dpmsolver, "},
        {"{\"solver_order\": 2.5}", "solver_order 2.5, expected 1, 2 or 3"},
        {"{\"final_sigmas_type\": \"\"}", "final_sigmas_type \"\", expected zero or"},
        {"{\"variance_type\": \"learned\"}", "variance_type \"learned\", expected"},
        {"{\"sigma_min\": 0.1}", "sigma_min 0.1, expected null"},
        {"{\"num_train_timesteps\": -5}", "num_train_timesteps -5, expected 1 to"},
        {"{\"num_train_timesteps\": 1000000000}", "expected 1 to 100000"},
        {"{\"beta_end\": \"x\"}", "beta_end \"x\", expected a number"},
        {"{\"beta_schedule\": \"cubic\"}", "beta_schedule \"cubic\", expected linear"},
        {"{\"prediction_type\": 3}", "prediction_type 3, expected epsilon"},
        {"{\"steps_offset\": 1.5}", "steps_offset 1.5, expected 0 or more"},
        {"{\"clip_sample\": 1}", "clip_sample 1, expected true or false"},
        {"[]", "expected an object"},
        {"{", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schedule_config config;
        struct error error = {0};
        assert_true(path_write(path, cases[i][0], strlen(cases[i][0]), 0600, NULL));
        assert_false(schedule_config_load(&config, path, &error));
        if (!strstr(error.text, cases[i][1]) || !strstr(error.text, path))
            fail_msg("expected \"%s\" in \"%s\"", cases[i][1], error.text);
        assert_int_equal(error.kind, ERROR_INPUT);
    }
}

static void pythons_infinity_in_a_file_means_none(void **state)
{
    static const char text[] =
        "{\"lambda_min_clipped\": -Infinity, \"steps_offset\": 1}";
    struct schedule_config config;
    assert_true(path_write(path, text, strlen(text), 0600, NULL));
    assert_true(schedule_config_load(&config, path, NULL));
    assert_int_equal(config.steps_offset, 1);
}

static void betas_that_leave_no_signal_are_refused(void **state)
{
    struct schedule_config config;
    struct error error = {0};
    schedule_config_defaults(&config);
    strcpy(config.beta_schedule, "linear");
    config.beta_start = config.beta_end = 0.999;
    assert_null(schedule_alphas(&config, false, &error));
    assert_non_null(strstr(error.text, "leave no signal at timestep"));
}

static void betas_without_finite_steps_are_refused(void **state)
{
    struct schedule_config config;
    struct sampler_run run = {0};
    struct error error = {0};
    struct sampler_options options = {
        .schedule = "Automatic", .steps = 20, .strength = 1};
    schedule_config_defaults(&config);
    config.train_steps = 2176;
    strcpy(config.beta_schedule, "scaled_linear");
    config.beta_start = 0.00085;
    config.beta_end = 0.112; /* the last alpha is 1e-41: its sigma overflows a float */
    assert_false(sampler_plan(&run, "Euler", &config, &options, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "have no finite coefficients"));
    assert_null(run.step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_lists_end_where_diffusers_schedulers_end),
        cmocka_unit_test(step_lists_end_where_k_diffusions_samplers_end),
        cmocka_unit_test(step_lists_end_where_a1111s_and_comfyuis_own_samplers_end),
        cmocka_unit_test(class_names_may_leave_scheduler_out),
        cmocka_unit_test(options_in_brackets_replace_the_models_configuration),
        cmocka_unit_test(what_cannot_be_sampled_is_one_clear_sentence),
        cmocka_unit_test(cfg_pp_takes_a_mask_with_any_guidance_but_none),
        cmocka_unit_test(a_strength_that_leaves_no_step_is_refused),
        cmocka_unit_test(a_configuration_that_would_change_the_picture_is_refused),
        cmocka_unit_test(pythons_infinity_in_a_file_means_none),
        cmocka_unit_test(betas_that_leave_no_signal_are_refused),
        cmocka_unit_test(betas_without_finite_steps_are_refused),
    };
    return cmocka_run_group_tests(tests, load_golden, free_golden);
}
