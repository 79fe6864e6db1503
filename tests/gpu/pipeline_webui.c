/* Runs as stable-diffusion-webui makes them: its upscale pass, image to image, inpainting. */
#include "tests/gpu/support_run.h"

static json_t *cases;

static const char *text_or_null(const json_t *run, const char *key)
{
    return json_string_value(json_object_get(run, key));
}

static enum inpaint_fill fill_of(const json_t *run)
{
    const char *fill = text_or_null(run, "fill");
    if (!fill || strcmp(fill, "original") == 0)
        return INPAINT_ORIGINAL;
    return strcmp(fill, "fill") == 0           ? INPAINT_FILL
           : strcmp(fill, "latent-noise") == 0 ? INPAINT_NOISE
                                               : INPAINT_NOTHING;
}

static struct image_request request_of(const json_t *run, const struct pixels *picture,
                                       const struct pixels *mask)
{
    struct image_request request = run_request(run);
    request.syntax = "a1111";
    request.init = picture->rgb ? picture : NULL;
    request.mask = mask->rgb ? mask : NULL;
    request.mask_blur = run_number(run, "mask_blur", 0);
    request.mask_invert = json_is_true(json_object_get(run, "mask_invert"));
    request.prediction = text_or_null(run, "prediction");
    request.full_res = json_object_get(run, "padding") != NULL;
    request.full_res_padding = (size_t)run_number(run, "padding", 0);
    request.inpaint_fill = fill_of(run);
    request.noise.delta = (uint64_t)run_number(run, "ensd", 0);
    request.hires = (struct hires_request){
        .scale = run_number(run, "hires_scale", 0),
        .width = (size_t)run_number(run, "hires_width", 0),
        .height = (size_t)run_number(run, "hires_height", 0),
        .upscaler = text_or_null(run, "hires_upscaler"),
        .steps = (size_t)run_number(run, "hires_steps", 0),
        .cfg = run_number(run, "hires_cfg", 0),
        .sampler = text_or_null(run, "hires_sampler"),
        .schedule = text_or_null(run, "hires_schedule"),
    };
    return request;
}

static void the_upscale_pass_equals_that_of_the_web_ui(void **state)
{
    worst_of_mode(cases, request_of, "tiny", "hires", 19);
}

static void image_to_image_equals_that_of_the_web_ui(void **state)
{
    worst_of_mode(cases, request_of, "tiny", "img2img", 4);
}

static void inpainting_with_any_model_equals_that_of_the_web_ui(void **state)
{
    worst_of_mode(cases, request_of, "tiny", "inpaint", 25);
}

static void inpainting_with_nine_channels_equals_that_of_the_web_ui(void **state)
{
    worst_of_mode(cases, request_of, "inpaint", "inpaint", 6);
}

static const struct image_request enlarged = {
    .prompt = "[a:the:1.5] [red:blue:0.5] apple",
    .negative = "",
    .steps = 3,
    .cfg = 5,
    .width = 64,
    .height = 64,
    .sampler = "Euler a",
    .schedule = "Automatic",
    .clip_skip = 1,
    .strength = 0.7,
    .hires = {.scale = 1.5, .upscaler = "Lanczos", .steps = 4},
};

static void images_are_the_same_alone_and_in_a_batch(void **state)
{
    struct pipeline *pipeline = load_variant("tiny");
    static const char *const samplers[] = {"DPM++ 2M SDE", "dpmpp_3m_sde", "seeds_2"};
    struct image_request request = enlarged;
    bool inpainted = false;
    size_t i;
    json_t *run;
    assert_same_in_batches(pipeline, request);
    request.sampler = "DPM++ SDE";
    assert_same_in_batches(pipeline, request);
    json_array_foreach(cases, i, run)
    {
        if (inpainted || !json_object_get(run, "padding"))
            continue;
        struct pixels picture = golden_pixels(run, "picture");
        struct pixels mask = golden_pixels(run, "mask");
        request = request_of(run, &picture, &mask);
        request.steps = 4;
        for (size_t k = 0; k < sizeof samplers / sizeof *samplers; k++) {
            request.sampler = samplers[k];
            assert_same_in_batches(pipeline, request);
        }
        pixels_clear(&picture);
        pixels_clear(&mask);
        inpainted = true;
    }
    assert_true(inpainted);
    pipeline_destroy(&pipeline);
}

/* Progress as the caller sees it, and the snapshots of one of the passes. */
struct seen {
    size_t calls, of, kept;
    size_t step; /* of the snapshot that is wanted */
    struct buffer bytes;
};

static bool on_progress(void *owner, size_t done, size_t of)
{
    struct seen *seen = owner;
    assert_int_equal(done, seen->calls);
    seen->calls++;
    seen->of = of;
    return true;
}

static void keep(void *owner, size_t image, const struct snapshot *snapshot)
{
    struct seen *seen = owner;
    assert_int_equal(image, 0);
    assert_int_equal(snapshot->steps, 7);
    seen->kept++;
    if (snapshot->step == seen->step)
        assert_true(snapshot_write(snapshot, &seen->bytes, NULL));
}

static void an_enlarged_image_goes_on_from_either_pass_bit_for_bit(void **state)
{
    struct pipeline *pipeline = load_variant("tiny");
    for (size_t step = 1; step <= 6; step += 4) {
        struct image whole, resumed;
        struct seen seen = {.step = step};
        struct snapshot snapshot;
        struct image_request request = enlarged;
        const struct pipeline_watch watch = {
            .keep_every = 1, .keep = keep, .owner = &seen};
        pipeline_watch(pipeline, &watch);
        assert_ok(
            pipeline_render(pipeline, &request, 1, on_progress, &seen, &whole, &error));
        pipeline_watch(pipeline, NULL);
        assert_int_equal(seen.of, 7);
        assert_int_equal(seen.calls, 8);
        assert_int_equal(seen.kept, 5);
        assert_ok(snapshot_read(&snapshot, seen.bytes.data, seen.bytes.size, &error));
        request.resume = &snapshot;
        assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &resumed, &error));
        assert_memory_equal(whole.latents, resumed.latents,
                            whole.c * whole.h * whole.w * sizeof *whole.latents);
        image_clear(&whole);
        image_clear(&resumed);
        snapshot_clear(&snapshot);
        buffer_clear(&seen.bytes);
    }
    pipeline_destroy(&pipeline);
}

static void what_cannot_be_enlarged_or_repainted_is_refused_by_name(void **state)
{
    uint8_t rgb[64 * 64 * 3] = {0};
    const struct pixels picture = {64, 64, rgb};
    const struct pixels black = {64, 64, rgb};
    struct image_request bad[6];
    static const char *const says[] = {"no hires-upscaler ESRGAN_4x; there are Latent,",
                                       "64x64 becomes 83x83, which Lanczos cannot",
                                       "64x64 becomes 6400x6400",
                                       "made from noise",
                                       "second pass: no sampler Nobody",
                                       "nothing white in it"};
    struct pipeline *pipeline = load_variant("tiny");
    for (size_t i = 0; i < 6; i++)
        bad[i] = enlarged;
    bad[0].hires.upscaler = "ESRGAN_4x";
    bad[1].hires.scale = 1.3;
    bad[2].hires.scale = 100;
    bad[3].init = &picture;
    bad[4].hires.sampler = "Nobody";
    bad[5].hires.scale = 0;
    bad[5].init = &picture;
    bad[5].mask = &black;
    bad[5].full_res = true;
    for (size_t i = 0; i < 6; i++)
        assert_render_refused(pipeline, &bad[i], says[i]);
    pipeline_destroy(&pipeline);
}

static int open_all(void **state)
{
    cases = json_load_file(FARM_GOLDEN_DIR "/webui.json", 0, NULL);
    return cases ? open_cpu_path(state) : -1;
}

static int close_all(void **state)
{
    json_decref(cases);
    return close_gpu(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_upscale_pass_equals_that_of_the_web_ui),
        cmocka_unit_test(image_to_image_equals_that_of_the_web_ui),
        cmocka_unit_test(inpainting_with_any_model_equals_that_of_the_web_ui),
        cmocka_unit_test(inpainting_with_nine_channels_equals_that_of_the_web_ui),
        cmocka_unit_test(images_are_the_same_alone_and_in_a_batch),
        cmocka_unit_test(an_enlarged_image_goes_on_from_either_pass_bit_for_bit),
        cmocka_unit_test(what_cannot_be_enlarged_or_repainted_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
