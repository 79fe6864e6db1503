/* The safety checker against diffusers' (tests/golden/safety). */
#include "worker/sd/safety.h"
#include "tests/gpu/support_run.h"

#define FOLDER FARM_GOLDEN_DIR "/safety/"

enum { PICTURES = 4 };

static struct pixels picture(size_t which)
{
    char name[20];
    snprintf(name, sizeof name, "picture.%zu", which);
    struct golden_tensor values = golden_load("safety/expected.safetensors", name);
    struct pixels picture = {values.shape[1], values.shape[0], malloc(values.count)};
    assert_non_null(picture.rgb);
    for (size_t i = 0; i < values.count; i++)
        picture.rgb[i] = (uint8_t)values.values[i];
    free(values.values);
    return picture;
}

static void judges_as_diffusers_does(const char *file)
{
    struct safety *safety = safety_load(gpu, file, "checker", NULL);
    struct golden_tensor scores = golden_load("safety/expected.safetensors", "scores");
    struct golden_tensor flagged =
        golden_load("safety/expected.safetensors", "flagged");
    assert_non_null(safety);
    assert_int_equal(scores.shape[0], PICTURES);
    for (size_t i = 0; i < PICTURES; i++) {
        struct pixels seen = picture(i);
        struct safety_finding finding;
        assert_ok(safety_check(safety, &seen, &finding, &error));
        assert_int_equal(finding.flagged, flagged.values[i] > 0);
        assert_int_equal(finding.specials + finding.concepts, scores.shape[1]);
        const float *want = scores.values + i * scores.shape[1];
        for (size_t c = 0; c < finding.specials; c++)
            assert_true(fabs(finding.special[c] - (double)want[c]) < 1.1e-3);
        for (size_t c = 0; c < finding.concepts; c++)
            assert_true(fabs(finding.concept[c] - (double)want[finding.specials + c]) <
                        1.1e-3);
        pixels_clear(&seen);
    }
    free(scores.values);
    free(flagged.values);
    safety_destroy(&safety);
}

static void a_checker_as_it_is_published_judges_as_diffusers_does(void **state)
{
    judges_as_diffusers_does(FOLDER "published.safetensors");
}

static void a_checker_as_newer_programs_save_it_judges_so_too(void **state)
{
    judges_as_diffusers_does(FOLDER "new.safetensors");
}

static void a_file_that_is_no_checker_is_refused_by_name(void **state)
{
    struct error error = {0};
    assert_null(
        safety_load(gpu, FARM_GOLDEN_DIR "/vae/other.safetensors", "mine", &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(error.text, "safety checker mine: is not a "
                                    "StableDiffusionSafetyChecker's weights");
}

static void a_flagged_picture_is_black_and_its_latents_are_zeros(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request request = apple_request();
    struct image image, plain;
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &plain, &error));
    request.safety_path = FOLDER "published.safetensors";
    request.safety_name = "checker";
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    assert_false(plain.flagged);
    assert_false(image.flagged);
    assert_memory_equal(image.rgb, plain.rgb, plain.width * plain.height * 3);
    image_clear(&image);

    request.safety_path = FOLDER "strict.safetensors";
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    assert_true(image.flagged);
    for (size_t i = 0; i < image.width * image.height * 3; i++)
        assert_int_equal(image.rgb[i], 0);
    for (size_t i = 0; i < image.c * image.h * image.w; i++)
        assert_true(image.latents[i] == 0);
    image_clear(&image);
    image_clear(&plain);
    pipeline_destroy(&pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checker_as_it_is_published_judges_as_diffusers_does),
        cmocka_unit_test(a_checker_as_newer_programs_save_it_judges_so_too),
        cmocka_unit_test(a_file_that_is_no_checker_is_refused_by_name),
        cmocka_unit_test(a_flagged_picture_is_black_and_its_latents_are_zeros),
    };
    return run_on_both_paths(tests);
}
