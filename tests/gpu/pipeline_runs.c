/* Whole runs against diffusers' StableDiffusionPipeline: every sampler, 1, 5 and 20 steps,
 * with and without guidance, sizes of even and odd latents. */
#include "tests/gpu/support_model.h"

static double number(const json_t *golden, const char *key)
{
    const json_t *value = json_object_get(golden, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static double pixel_distance(const struct image *image, const json_t *golden)
{
    struct golden_tensor want = golden_role(golden, "outputs", "pixels");
    double sum = 0;
    assert_int_equal(want.count, image->width * image->height * 3);
    for (size_t i = 0; i < want.count; i++)
        sum += fabs((double)want.values[i] - image->rgb[i]);
    free(want.values);
    return sum / (double)want.count;
}

/* The farthest of all cases, and where. */
struct worst {
    double latents, pixels;
    char where[200];
};

static void check(struct pipeline *pipeline, const json_t *golden, struct worst *worst)
{
    struct image_request request = {
        .prompt = golden_text(golden, "prompt"),
        .negative = golden_text(golden, "negative"),
        .seed = (uint64_t)number(golden, "seed"),
        .steps = (size_t)number(golden, "steps"),
        .cfg = number(golden, "cfg"),
        .width = (size_t)number(golden, "width"),
        .height = (size_t)number(golden, "height"),
        .sampler = golden_text(golden, "sampler"),
        .schedule = golden_text(golden, "schedule"),
        .syntax = "plain",
        .eta = number(golden, "eta"),
        .clip_skip = (unsigned)number(golden, "clip_skip"),
    };
    struct image image;
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    struct golden_tensor want = golden_role(golden, "outputs", "latents");
    assert_int_equal(want.count, image.c * image.h * image.w);
    double far = relative_distance(image.latents, want.values, want.count);
    free(want.values);
    if (!(far <= worst->latents)) {
        worst->latents = far;
        snprintf(worst->where, sizeof worst->where, "%s %s, %zu steps, cfg %g, %zux%zu",
                 request.sampler, request.schedule, request.steps, request.cfg,
                 request.width, request.height);
    }
    if (json_object_get(json_object_get(golden, "outputs"), "pixels"))
        worst->pixels = fmax(worst->pixels, pixel_distance(&image, golden));
    image_clear(&image);
}

static void check_model(const char *model)
{
    struct pipeline *pipeline = load_pipeline(model);
    json_t *cases = golden_manifest(), *golden;
    struct worst worst = {0};
    size_t i, checked = 0;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(golden_text(golden, "kind"), "run") != 0 ||
            strcmp(golden_text(golden, "model"), model) != 0)
            continue;
        check(pipeline, golden, &worst);
        checked++;
    }
    print_message("    %zu runs: latents within %.2g (%s), pixels within %.2g\n",
                  checked, worst.latents, worst.where, worst.pixels);
    assert_true(checked >= 60);
    assert_true(worst.latents < 2e-3); /* relative L2 */
    assert_true(worst.pixels < 0.6);   /* mean difference, of 255 */
    json_decref(cases);
    pipeline_destroy(&pipeline);
}

static void runs_of_a_random_model_equal_those_of_diffusers(void **state)
{
    check_model("tiny");
}

static void runs_of_the_bundled_model_equal_those_of_diffusers(void **state)
{
    check_model("emoji");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_a_random_model_equal_those_of_diffusers),
        cmocka_unit_test(runs_of_the_bundled_model_equal_those_of_diffusers),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
