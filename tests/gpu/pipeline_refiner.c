/* A model and its refiner: runs as diffusers' two pipelines and stable-diffusion-webui make them,
 * alone, in batches, half way, and on a device that does not hold both. */
#include "tests/gpu/support_family.h"
#include "tests/gpu/support_run.h"

enum { PAIRS = 2 };
static struct pair {
    const char *base, *refiner;
    struct family families[2];
    struct pipeline *pipeline;
} pairs[PAIRS] = {{.base = "sdxl", .refiner = "refiner"},
                  {.base = "sd1_single", .refiner = "sd2_single"}};
static json_t *golden;

static struct pipeline *load(const struct pair *pair)
{
    struct error error = {0};
    struct pipeline *pipeline =
        pipeline_load(gpu, &pair->families[0].files, DTYPE_F32, &error);
    if (!pipeline)
        fail_msg("%s: %s", pair->base, error.text);
    return pipeline;
}

static int open_all(void **state)
{
    if (open_cpu_path(state) != 0)
        return -1;
    for (size_t i = 0; i < PAIRS; i++) {
        family_open(&pairs[i].families[0], pairs[i].base);
        family_open(&pairs[i].families[1], pairs[i].refiner);
        pairs[i].pipeline = load(&pairs[i]);
    }
    golden = json_load_file(FARM_GOLDEN_DIR "/families/refined.json", 0, NULL);
    return golden ? 0 : -1;
}

static int close_all(void **state)
{
    for (size_t i = 0; i < PAIRS; i++) {
        pipeline_destroy(&pairs[i].pipeline);
        family_close(&pairs[i].families[0]);
        family_close(&pairs[i].families[1]);
    }
    json_decref(golden);
    return close_gpu(state);
}

static const struct pair *pair_of(const json_t *run)
{
    return &pairs[strcmp(golden_text(run, "base"), "sdxl") == 0 ? 0 : 1];
}

static struct image_request request_of(const json_t *run)
{
    struct image_request request = run_request(run);
    request.aesthetic = run_number(run, "aesthetic", 6);
    request.refiner = (struct refiner_request){&pair_of(run)->families[1].files,
                                               "second", run_number(run, "at", 0)};
    return request;
}

/* The run of that sampler. */
static const json_t *run_of(const char *sampler)
{
    size_t i;
    json_t *run;
    json_array_foreach(json_object_get(golden, "runs"), i,
                       run) if (strcmp(golden_text(run, "sampler"), sampler) ==
                                0) return run;
    fail_msg("no run of %s", sampler);
    return NULL;
}

static void runs_of_two_models_equal_those_of_the_references(void **state)
{
    size_t i, begun = 0;
    json_t *run;
    json_array_foreach(json_object_get(golden, "runs"), i, run)
    {
        char name[40];
        struct image image;
        struct image_request request = request_of(run);
        struct pixels picture = {0};
        if (json_object_get(run, "strength")) {
            picture = invented_picture("picture", request.width, request.height);
            request.init = &picture;
            begun++;
        }
        snprintf(name, sizeof name, "%zu.latents", i);
        assert_ok(pipeline_render(pair_of(run)->pipeline, &request, 1, NULL, NULL,
                                  &image, &error));
        struct golden_tensor want = family_tensor("refined", name);
        print_message("    %s at %g of %zu\n", request.sampler, request.refiner.at,
                      request.steps);
        assert_golden(name, image.latents, &want, 2e-3);
        free(want.values);
        free(picture.rgb);
        image_clear(&image);
    }
    assert_true(i >= 20 && begun == 1);
}

static void images_are_the_same_alone_and_in_a_batch(void **state)
{
    static const char *const samplers[] = {"EulerAncestralDiscreteScheduler",
                                           "DPM++ 2M"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *run = run_of(samplers[i]);
        assert_same_in_batches(pair_of(run)->pipeline, request_of(run));
    }
}

/* Every snapshot that is handed out, one image's. */
struct kept {
    struct buffer bytes[16];
    size_t count;
};

static void keep(void *owner, size_t image, const struct snapshot *snapshot)
{
    struct kept *kept = owner;
    assert_true(kept->count < 16);
    assert_true(snapshot_write(snapshot, &kept->bytes[kept->count++], NULL));
}

/* In either's part, right between the two, and after the last step. */
static void it_goes_on_from_any_snapshot_bit_for_bit(void **state)
{
    static const char *const samplers[] = {"EulerAncestralDiscreteScheduler",
                                           "DPM++ 2M", "DPM++ SDE", "Euler a"};
    for (size_t s = 0; s < sizeof samplers / sizeof *samplers; s++) {
        const json_t *run = run_of(samplers[s]);
        struct pipeline *pipeline = pair_of(run)->pipeline;
        struct image_request request = request_of(run);
        struct kept kept = {0};
        struct image whole, resumed;
        const struct pipeline_watch watch = {
            .keep_every = 1, .keep = keep, .owner = &kept};
        pipeline_watch(pipeline, &watch);
        assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &whole, &error));
        assert_true(kept.count >= 4);
        const struct pipeline_watch undecoded = {
            .keep_last = true, .keep = keep, .owner = &kept};
        struct error why = {0};
        size_t count = kept.count;
        pipeline_watch(pipeline, &undecoded);
        assert_false(
            pipeline_render(pipeline, &request, 1, NULL, NULL, &resumed, &why));
        pipeline_watch(pipeline, NULL);
        assert_int_equal(why.kind, ERROR_BUSY);
        assert_int_equal(kept.count, count + 1);
        for (size_t k = 0; k < kept.count; k++) {
            struct snapshot snapshot;
            assert_ok(snapshot_read(&snapshot, kept.bytes[k].data, kept.bytes[k].size,
                                    &error));
            request.resume = &snapshot;
            assert_ok(
                pipeline_render(pipeline, &request, 1, NULL, NULL, &resumed, &error));
            assert_memory_equal(resumed.rgb, whole.rgb, whole.width * whole.height * 3);
            assert_memory_equal(resumed.latents, whole.latents,
                                whole.c * whole.h * whole.w * sizeof(float));
            image_clear(&resumed);
            snapshot_clear(&snapshot);
            buffer_clear(&kept.bytes[k]);
        }
        image_clear(&whole);
    }
}

static void what_it_leaves_undecoded_is_decoded_elsewhere(void **state)
{
    static const char *const samplers[] = {"EulerAncestralDiscreteScheduler",
                                           "Euler a"};
    for (size_t s = 0; s < 2; s++) {
        const json_t *run = run_of(samplers[s]);
        struct pipeline *pipeline = pair_of(run)->pipeline;
        struct image_request request = request_of(run);
        struct kept kept = {0};
        struct image whole, decoded;
        struct snapshot snapshot;
        struct error stopped = {0};
        const struct pipeline_watch watch = {
            .keep_last = true, .keep = keep, .owner = &kept};
        assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &whole, &error));
        pipeline_watch(pipeline, &watch);
        assert_false(
            pipeline_render(pipeline, &request, 1, NULL, NULL, &decoded, &stopped));
        pipeline_watch(pipeline, NULL);
        assert_int_equal(kept.count, 1);
        assert_ok(
            snapshot_read(&snapshot, kept.bytes[0].data, kept.bytes[0].size, &error));
        request.resume = &snapshot;
        assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &decoded, &error));
        assert_memory_equal(decoded.rgb, whole.rgb, whole.width * whole.height * 3);
        snapshot_clear(&snapshot);
        buffer_clear(&kept.bytes[0]);
        image_clear(&whole);
        image_clear(&decoded);
    }
}

static void without_it_a_model_renders_as_before(void **state)
{
    struct image_request request = request_of(run_of("EulerDiscreteScheduler"));
    struct pipeline *fresh = load(&pairs[0]);
    struct image alone, after;
    request.refiner = (struct refiner_request){0};
    assert_ok(
        pipeline_render(pairs[0].pipeline, &request, 1, NULL, NULL, &after, &error));
    assert_ok(pipeline_render(fresh, &request, 1, NULL, NULL, &alone, &error));
    assert_memory_equal(after.rgb, alone.rgb, alone.width * alone.height * 3);
    image_clear(&after);
    image_clear(&alone);
    pipeline_destroy(&fresh);
}

static void what_does_not_fit_together_is_refused(void **state)
{
    struct image_request request = request_of(run_of("EulerDiscreteScheduler"));
    struct pixels picture = invented_picture("picture", 16, 16);
    request.sampler = "euler";
    assert_render_refused(pairs[0].pipeline, &request, "a refiner goes on in runs of");
    request.sampler = "DPM adaptive";
    assert_render_refused(pairs[0].pipeline, &request, "a refiner goes on in runs of");
    request.sampler = "DDIMScheduler(timestep_spacing=trailing)";
    request.refiner.at = 0.99;
    assert_render_refused(pairs[0].pipeline, &request, "none are left for it");
    request.refiner.at = 0.5;
    request.init = request.mask = &picture;
    assert_render_refused(pairs[0].pipeline, &request, "whole pictures");
    free(picture.rgb);
}

static size_t bytes_of(const struct family *family)
{
    struct error error = {0};
    size_t before = gpu_allocated(gpu);
    struct pipeline *pipeline = pipeline_load(gpu, &family->files, DTYPE_F32, &error);
    assert_non_null(pipeline);
    size_t bytes = gpu_allocated(gpu) - before;
    pipeline_destroy(&pipeline);
    return bytes;
}

/* The device is opened anew with a little less memory than both models take. */
static void a_device_that_holds_one_of_them_gives_the_same_picture(void **state)
{
    const json_t *run = run_of("Euler a");
    struct image_request request = request_of(run);
    struct image both, one;
    struct pair *pair = &pairs[1];
    assert_ok(pipeline_render(pair->pipeline, &request, 1, NULL, NULL, &both, &error));
    for (size_t i = 0; i < PAIRS; i++)
        pipeline_destroy(&pairs[i].pipeline);
    size_t most = bytes_of(&pair->families[0]) + bytes_of(&pair->families[1]) - 1000;
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%zu", most);
    close_gpu(state);
    setenv("FARM_GPU_MEMORY", bytes, 1);
    assert_int_equal(open_cpu_path(state), 0);
    unsetenv("FARM_GPU_MEMORY");
    pair->pipeline = load(pair);
    for (size_t i = 0; i < 2; i++) { /* the second has to wake what sleeps */
        assert_ok(
            pipeline_render(pair->pipeline, &request, 1, NULL, NULL, &one, &error));
        assert_memory_equal(one.rgb, both.rgb, both.width * both.height * 3);
        assert_true(gpu_allocated(gpu) <= most);
        image_clear(&one);
    }
    image_clear(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_two_models_equal_those_of_the_references),
        cmocka_unit_test(images_are_the_same_alone_and_in_a_batch),
        cmocka_unit_test(it_goes_on_from_any_snapshot_bit_for_bit),
        cmocka_unit_test(what_it_leaves_undecoded_is_decoded_elsewhere),
        cmocka_unit_test(without_it_a_model_renders_as_before),
        cmocka_unit_test(what_does_not_fit_together_is_refused),
        cmocka_unit_test(a_device_that_holds_one_of_them_gives_the_same_picture),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
