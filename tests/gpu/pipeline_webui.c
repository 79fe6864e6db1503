/* Runs as stable-diffusion-webui makes them: its upscale pass. */
#include "tests/gpu/support_run.h"

static json_t *cases;

static const char *text_or_null(const json_t *run, const char *key)
{
    return json_string_value(json_object_get(run, key));
}

static struct image_request request_of(const json_t *run)
{
    struct image_request request = run_request(run);
    request.syntax = "a1111";
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

static void check_mode(const char *model, const char *mode, size_t least)
{
    struct pipeline *pipeline = load_pipeline(model);
    struct worst worst = {0};
    size_t i;
    json_t *run;
    json_array_foreach(cases, i, run)
    {
        struct image_request request = request_of(run);
        if (strcmp(golden_text(run, "model"), model) == 0 &&
            strcmp(golden_text(run, "mode"), mode) == 0)
            worst_render(&worst, pipeline, run, &request);
    }
    worst_check(&worst, least);
    pipeline_destroy(&pipeline);
}

static void the_upscale_pass_equals_that_of_the_web_ui(void **state)
{
    check_mode("tiny", "hires", 19);
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

static void an_enlarged_image_is_the_same_alone_and_in_a_batch(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[8];
    struct image together[8], alone;
    for (size_t i = 0; i < 8; i++) {
        requests[i] = enlarged;
        requests[i].seed = 100 + i;
    }
    assert_ok(pipeline_render(pipeline, requests, 8, NULL, NULL, together, &error));
    assert_ok(pipeline_render(pipeline, &requests[5], 1, NULL, NULL, &alone, &error));
    assert_int_equal(alone.width, 96);
    assert_memory_equal(alone.rgb, together[5].rgb, alone.width * alone.height * 3);
    assert_memory_equal(alone.latents, together[5].latents,
                        alone.c * alone.h * alone.w * sizeof *alone.latents);
    assert_memory_not_equal(alone.rgb, together[4].rgb, alone.width * alone.height * 3);
    image_clear(&alone);
    for (size_t i = 0; i < 8; i++)
        image_clear(&together[i]);
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
    struct pipeline *pipeline = load_pipeline("tiny");
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

static void what_cannot_be_enlarged_is_refused_by_name(void **state)
{
    uint8_t rgb[64 * 64 * 3] = {0};
    const struct pixels picture = {64, 64, rgb};
    struct image_request bad[5];
    static const char *const says[] = {"no hires-upscaler ESRGAN_4x; there are Latent,",
                                       "64x64 becomes 83x83, which Lanczos cannot",
                                       "64x64 becomes 6400x6400", "made from noise",
                                       "second pass: no sampler Nobody"};
    struct pipeline *pipeline = load_pipeline("tiny");
    for (size_t i = 0; i < 5; i++)
        bad[i] = enlarged;
    bad[0].hires.upscaler = "ESRGAN_4x";
    bad[1].hires.scale = 1.3;
    bad[2].hires.scale = 100;
    bad[3].init = &picture;
    bad[4].hires.sampler = "Nobody";
    for (size_t i = 0; i < 5; i++)
        assert_refused(pipeline, &bad[i], says[i]);
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
        cmocka_unit_test(an_enlarged_image_is_the_same_alone_and_in_a_batch),
        cmocka_unit_test(an_enlarged_image_goes_on_from_either_pass_bit_for_bit),
        cmocka_unit_test(what_cannot_be_enlarged_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
