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

void assert_render_refused(struct pipeline *pipeline,
                           const struct image_request *request, const char *says)
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

struct pipeline *load_variant(const char *unet)
{
    struct model_files files;
    char *folder = model_path("tiny", "");
    assert_ok(model_files_from_folder(&files, folder, &error));
    struct error error = {0};
    for (size_t i = 0; strcmp(unet, "tiny") != 0 && i < files.count; i++)
        if (strncmp(files.file[i].name, "unet/", 5) == 0) {
            free(files.file[i].path);
            files.file[i].path = model_path(unet, files.file[i].name);
        }
    struct pipeline *pipeline = pipeline_load(gpu, &files, DTYPE_F32, &error);
    if (!pipeline)
        fail_msg("%s", error.text);
    model_files_clear(&files);
    free(folder);
    return pipeline;
}

/* Renders some of them once more, fewer together. */
static void assert_same_again(struct pipeline *pipeline,
                              const struct image_request *requests, size_t count,
                              const struct image *together)
{
    struct image again[8];
    assert_true(count <= 8);
    assert_ok(pipeline_render(pipeline, requests, count, NULL, NULL, again, &error));
    for (size_t i = 0; i < count; i++) {
        const struct image *image = &again[i];
        assert_memory_equal(image->rgb, together[i].rgb,
                            image->width * image->height * 3);
        assert_memory_equal(image->latents, together[i].latents,
                            image->c * image->h * image->w * sizeof *image->latents);
        image_clear(&again[i]);
    }
}

void assert_same_in_batches(struct pipeline *pipeline, struct image_request request)
{
    struct image_request requests[8];
    struct image together[8];
    for (size_t i = 0; i < 8; i++) {
        requests[i] = request;
        requests[i].seed = 100 + i;
        requests[i].prompt = i % 2 ? "a cat" : "a red apple, noto style";
    }
    assert_ok(pipeline_render(pipeline, requests, 8, NULL, NULL, together, &error));
    assert_same_again(pipeline, requests, 1, together);
    assert_same_again(pipeline, requests + 3, 4, together + 3);
    assert_same_again(pipeline, requests + 7, 1, together + 7);
    assert_memory_not_equal(together[0].rgb, together[1].rgb,
                            together[0].width * together[0].height * 3);
    for (size_t i = 0; i < 8; i++)
        image_clear(&together[i]);
}

void worst_of_mode(json_t *cases, run_request_of *request_of, const char *model,
                   const char *mode, size_t least)
{
    struct pipeline *pipeline = load_variant(model);
    struct worst worst = {0};
    size_t i;
    json_t *run;
    json_array_foreach(cases, i, run)
    {
        if (!strstr(golden_text(run, "kind"), " run") ||
            strcmp(golden_text(run, "model"), model) != 0 ||
            strcmp(golden_text(run, "mode"), mode) != 0)
            continue;
        struct pixels picture = golden_pixels(run, "picture");
        struct pixels mask = golden_pixels(run, "mask");
        struct image_request request = request_of(run, &picture, &mask);
        worst_render(&worst, pipeline, run, &request);
        pixels_clear(&picture);
        pixels_clear(&mask);
    }
    worst_check(&worst, least);
    pipeline_destroy(&pipeline);
}
