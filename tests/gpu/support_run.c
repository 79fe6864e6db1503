#include "tests/gpu/support_run.h"

double run_number(const json_t *run, const char *key, double fallback)
{
    const json_t *value = json_object_get(run, key);
    assert_true(!value || json_is_number(value));
    return value ? json_number_value(value) : fallback;
}

struct image_request run_request(const json_t *run)
{
    const char *prompt = json_string_value(json_object_get(run, "prompt"));
    const char *schedule = json_string_value(json_object_get(run, "schedule"));
    assert_true(run_number(run, "steps", 0) > 0);
    return (struct image_request){
        .prompt = prompt ? prompt : "",
        .negative = json_string_value(json_object_get(run, "negative")),
        .syntax = "plain",
        .seed = (uint64_t)run_number(run, "seed", 0),
        .steps = (size_t)run_number(run, "steps", 0),
        .cfg = run_number(run, "cfg", 0),
        .width = (size_t)run_number(run, "width", 0),
        .height = (size_t)run_number(run, "height", 0),
        .sampler = golden_text(run, "sampler"),
        .schedule = schedule ? schedule : "Automatic",
        .eta = run_number(run, "eta", 0),
        .clip_skip = (unsigned)run_number(run, "clip_skip", 1),
        .strength = run_number(run, "strength", 1),
    };
}

struct image_request apple_request(void)
{
    return (struct image_request){.prompt = "a red apple",
                                  .negative = "blue",
                                  .seed = 42,
                                  .steps = 4,
                                  .cfg = 5,
                                  .width = 64,
                                  .height = 64,
                                  .sampler = "EulerDiscreteScheduler",
                                  .schedule = "Automatic",
                                  .syntax = "plain",
                                  .clip_skip = 1};
}

struct pixels golden_pixels(const json_t *golden, const char *role)
{
    if (!json_object_get(json_object_get(golden, "inputs"), role))
        return (struct pixels){0};
    struct golden_tensor tensor = golden_role(golden, "inputs", role);
    struct pixels pixels = {tensor.shape[1], tensor.shape[0], malloc(tensor.count)};
    for (size_t i = 0; i < tensor.count; i++)
        pixels.rgb[i] = (uint8_t)tensor.values[i];
    free(tensor.values);
    return pixels;
}

double pixel_distance(const struct image *image, struct golden_tensor want)
{
    double sum = 0;
    assert_int_equal(want.count, image->width * image->height * 3);
    for (size_t i = 0; i < want.count; i++)
        sum += fabs((double)want.values[i] - image->rgb[i]);
    free(want.values);
    return sum / (double)want.count;
}

void assert_refused(struct pipeline *pipeline, const struct image_request *request,
                    const char *says)
{
    struct error refusal = {0};
    struct image image;
    assert_false(pipeline_render(pipeline, request, 1, NULL, NULL, &image, &refusal));
    assert_int_equal(refusal.kind, ERROR_INPUT);
    if (!strstr(refusal.text, says))
        fail_msg("\"%s\" does not say \"%s\"", refusal.text, says);
}

void worst_render(struct worst *worst, struct pipeline *pipeline, const json_t *run,
                  const struct image_request *request)
{
    struct image image;
    assert_ok(pipeline_render(pipeline, request, 1, NULL, NULL, &image, &error));
    struct golden_tensor want = golden_role(run, "outputs", "latents");
    assert_int_equal(want.count, image.c * image.h * image.w);
    double far = relative_distance(image.latents, want.values, want.count);
    free(want.values);
    if (!(far <= worst->latents)) {
        worst->latents = far;
        snprintf(worst->where, sizeof worst->where,
                 "%s %s, %zu steps, strength %g, cfg %g, %zux%zu", request->sampler,
                 request->schedule, request->steps, request->strength, request->cfg,
                 request->width, request->height);
    }
    if (json_object_get(json_object_get(run, "outputs"), "pixels"))
        worst->pixels =
            fmax(worst->pixels,
                 pixel_distance(&image, golden_role(run, "outputs", "pixels")));
    image_clear(&image);
    worst->runs++;
}

void worst_check(const struct worst *worst, size_t least)
{
    print_message("    %zu runs: latents within %.2g (%s), pixels within %.2g\n",
                  worst->runs, worst->latents, worst->where, worst->pixels);
    assert_true(worst->runs >= least);
    assert_true(worst->latents < 2e-3); /* relative L2 */
    assert_true(worst->pixels < 0.6);   /* mean difference, of 255 */
}
