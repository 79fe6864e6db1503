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

/* The whole file, and the decoder alone in the original's names. */
static void a_tiny_vae_decodes_and_encodes_as_in_diffusers(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image whole = render(pipeline, FOLDER "taesd.safetensors");
    struct image alone = render(pipeline, FOLDER "taesd_decoder.safetensors");
    struct golden_tensor want = golden_load("vae/pixels.safetensors", "taesd");
    double far = pixel_distance(&whole, golden_load("vae/pixels.safetensors", "taesd"));
    print_message("    pixels within %.2g\n", far);
    assert_true(far < 0.6);
    assert_memory_equal(alone.rgb, whole.rgb, whole.width * whole.height * 3);

    struct pixels start = {whole.width, whole.height, calloc(want.count, 1)};
    struct image_request request = apple_request();
    struct image image;
    for (size_t i = 0; i < want.count; i++)
        start.rgb[i] = (uint8_t)want.values[i];
    request.init = &start;
    request.strength = 0.75;
    request.vae_path = FOLDER "taesd.safetensors";
    request.vae_name = "taesd.safetensors";
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    struct golden_tensor latents =
        golden_load("vae/pixels.safetensors", "taesd.latents");
    assert_int_equal(latents.count, image.c * image.h * image.w);
    assert_golden("latents from a picture", image.latents, &latents, 2e-3);
    image_clear(&image);
    request.vae_path = FOLDER "taesd_decoder.safetensors";
    struct error error = {0};
    assert_false(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    assert_string_equal(error.text, "the VAE is a decoder alone; to begin from a "
                                    "picture give one with an encoder");
    free(start.rgb);
    free(latents.values);
    free(want.values);
    image_clear(&whole);
    image_clear(&alone);
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

/* The last picture shown, which is of the last latents. */
static void keep_last(void *owner, size_t image, const struct pixels *picture)
{
    struct pixels *last = owner;
    pixels_clear(last);
    *last = (struct pixels){.width = picture->width, .height = picture->height};
    assert_true(pixels_crop(last, picture, 0, 0, NULL));
}

static void a_tiny_vae_decodes_previews_at_full_size(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct pixels last = {0};
    const struct pipeline_watch watch = {
        .preview_every = 1, .preview = keep_last, .owner = &last};
    pipeline_watch(pipeline, &watch);
    struct image plain = render(pipeline, NULL);
    assert_int_equal(last.width, plain.w);
    struct image tiny = render(pipeline, FOLDER "taesd.safetensors");
    assert_int_equal(last.width, tiny.width);
    assert_memory_equal(last.rgb, tiny.rgb, tiny.width * tiny.height * 3);
    pixels_clear(&last);
    image_clear(&plain);
    image_clear(&tiny);
    pipeline_destroy(&pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_vae_decodes_as_in_diffusers_in_both_layouts),
        cmocka_unit_test(a_tiny_vae_decodes_and_encodes_as_in_diffusers),
        cmocka_unit_test(a_file_that_is_no_vae_is_refused_and_the_model_keeps_its_own),
        cmocka_unit_test(a_tiny_vae_decodes_previews_at_full_size),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
