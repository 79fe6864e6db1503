/* Another autoencoder in the model's place, against diffusers (tests/golden/vae). */
#include "tests/gpu/support_run.h"

#define FOLDER FARM_GOLDEN_DIR "/vae/"

static struct image render(struct pipeline *pipeline, const char *vae)
{
    struct image image;
    struct image_request request = apple_request();
    request.vae_path = vae;
    request.vae_name = "x.safetensors";
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    return image;
}

static double pixels_apart(const struct image *image)
{
    return pixel_distance(image, golden_load("vae/pixels.safetensors", "pixels"));
}

static void another_vae_decodes_as_in_diffusers_in_both_layouts(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image own = render(pipeline, NULL);
    struct image other = render(pipeline, FOLDER "other.safetensors");
    struct image single = render(pipeline, FOLDER "single.safetensors");
    struct image again = render(pipeline, NULL);
    size_t bytes = own.width * own.height * 3;
    print_message("    pixels within %.2g\n", pixels_apart(&other));
    assert_true(pixels_apart(&other) < 0.6);
    assert_true(pixels_apart(&own) > 5);
    assert_memory_equal(single.rgb, other.rgb, bytes);
    assert_memory_equal(again.rgb, own.rgb, bytes);
    image_clear(&own);
    image_clear(&other);
    image_clear(&single);
    image_clear(&again);
    pipeline_destroy(&pipeline);
}

static void a_file_that_is_no_vae_is_refused_and_the_model_keeps_its_own(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image own = render(pipeline, NULL), image;
    struct error error = {0};
    struct image_request request = {.prompt = "a cat",
                                    .negative = "",
                                    .steps = 1,
                                    .cfg = 1,
                                    .sampler = "EulerDiscreteScheduler",
                                    .schedule = "Automatic",
                                    .clip_skip = 1,
                                    .vae_path =
                                        FARM_GOLDEN_DIR "/lora/peft.safetensors",
                                    .vae_name = "peft.safetensors"};
    assert_false(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "vae peft.safetensors: "));
    struct image again = render(pipeline, NULL);
    assert_memory_equal(again.rgb, own.rgb, own.width * own.height * 3);
    image_clear(&own);
    image_clear(&again);
    pipeline_destroy(&pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_vae_decodes_as_in_diffusers_in_both_layouts),
        cmocka_unit_test(a_file_that_is_no_vae_is_refused_and_the_model_keeps_its_own),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
