/* What a rendering hands out on its way: snapshots from which another goes on bit for bit,
 * and previews. And the VAE in tiles. */
#include "base/path.h"
#include "tests/gpu/support_model.h"
#include "worker/sd/model.h"
#include "worker/sd/plans.h"
#include "worker/sd/tiles.h"

enum { IMAGES = 2, STEPS = 8 };

/* The last snapshots handed out, as bytes. */
struct kept {
    struct buffer bytes[IMAGES];
    size_t count;
};

static void keep(void *owner, size_t image, const struct snapshot *snapshot)
{
    struct kept *kept = owner;
    buffer_clear(&kept->bytes[image]);
    assert_true(snapshot_write(snapshot, &kept->bytes[image], NULL));
    kept->count++;
}

static void fill(struct image_request requests[IMAGES], const char *sampler)
{
    for (size_t i = 0; i < IMAGES; i++)
        requests[i] = (struct image_request){.prompt = i ? "a cat" : "a red apple",
                                             .negative = "",
                                             .seed = 40 + i,
                                             .steps = STEPS,
                                             .cfg = 5,
                                             .width = 104,
                                             .height = 72,
                                             .sampler = sampler,
                                             .schedule = "Automatic",
                                             .clip_skip = 1,
                                             .strength = 1};
}

static void clear(struct image images[IMAGES])
{
    for (size_t i = 0; i < IMAGES; i++)
        image_clear(&images[i]);
}

/* Renders with snapshots, then goes on from them on another pipeline. */
static void check(struct pipeline *one, struct pipeline *other,
                  struct image_request requests[IMAGES])
{
    struct kept kept = {0};
    struct image whole[IMAGES], watched[IMAGES], resumed[IMAGES];
    struct snapshot snapshot[IMAGES];
    const struct pipeline_watch watch = {.keep_every = 3, .keep = keep, .owner = &kept};
    assert_ok(pipeline_render(one, requests, IMAGES, NULL, NULL, whole, &error));
    pipeline_watch(one, &watch);
    assert_ok(pipeline_render(one, requests, IMAGES, NULL, NULL, watched, &error));
    pipeline_watch(one, NULL);
    assert_true(kept.count >= 2 * IMAGES);
    for (size_t i = 0; i < IMAGES; i++) {
        assert_ok(snapshot_read(&snapshot[i], kept.bytes[i].data, kept.bytes[i].size,
                                &error));
        assert_int_equal(snapshot[i].step, 6);
        requests[i].resume = &snapshot[i];
        buffer_clear(&kept.bytes[i]);
    }
    assert_ok(pipeline_render(other, requests, IMAGES, NULL, NULL, resumed, &error));
    for (size_t i = 0; i < IMAGES; i++) {
        size_t bytes = whole[i].c * whole[i].h * whole[i].w * sizeof(float);
        assert_memory_equal(watched[i].latents, whole[i].latents, bytes);
        assert_memory_equal(resumed[i].latents, whole[i].latents, bytes);
        assert_memory_equal(resumed[i].rgb, whole[i].rgb,
                            whole[i].width * whole[i].height * 3);
        snapshot_clear(&snapshot[i]);
    }
    clear(whole);
    clear(watched);
    clear(resumed);
}

static void a_rendering_goes_on_from_a_snapshot_bit_for_bit(void **state)
{
    static const char *const samplers[] = {"DDIMScheduler", "PNDMScheduler",
                                           "EulerAncestralDiscreteScheduler",
                                           "DPMSolverMultistepScheduler"};
    struct pipeline *one = load_pipeline("tiny"), *other = load_pipeline("tiny");
    for (size_t s = 0; s < sizeof samplers / sizeof *samplers; s++) {
        struct image_request requests[IMAGES];
        fill(requests, samplers[s]);
        check(one, other, requests);
    }
    pipeline_destroy(&one);
    pipeline_destroy(&other);
}

/* The left part of a picture. */
static void repaint(struct image_request requests[IMAGES])
{
    static uint8_t rgb[72 * 104 * 3], covered[72 * 104 * 3];
    static const struct pixels picture = {104, 72, rgb}, mask = {104, 72, covered};
    for (size_t i = 0; i < sizeof rgb; i++) {
        rgb[i] = (uint8_t)(i * 7 / 5);
        covered[i] = i / 3 % 104 < 60 ? 255 : 0;
    }
    for (size_t i = 0; i < IMAGES; i++) {
        requests[i].init = &picture;
        requests[i].mask = &mask;
    }
}

static void so_does_one_that_repaints_a_picture(void **state)
{
    struct pipeline *one = load_pipeline("tiny"), *other = load_pipeline("tiny");
    struct image_request requests[IMAGES];
    fill(requests, "EulerAncestralDiscreteScheduler");
    repaint(requests);
    check(one, other, requests);
    pipeline_destroy(&one);
    pipeline_destroy(&other);
}

/* Ends undecoded on one pipeline; the other does nothing but decode. */
static void check_last(struct pipeline *one, struct pipeline *other,
                       struct image_request requests[IMAGES])
{
    struct kept kept = {0};
    struct image whole[IMAGES], none[IMAGES], decoded[IMAGES];
    struct snapshot snapshot[IMAGES];
    struct error why = {0};
    const struct pipeline_watch watch = {
        .keep_last = true, .keep = keep, .owner = &kept};
    assert_ok(pipeline_render(one, requests, IMAGES, NULL, NULL, whole, &error));
    pipeline_watch(one, &watch);
    assert_false(pipeline_render(one, requests, IMAGES, NULL, NULL, none, &why));
    pipeline_watch(one, NULL);
    assert_int_equal(why.kind, ERROR_BUSY);
    assert_int_equal(kept.count, IMAGES);
    for (size_t i = 0; i < IMAGES; i++) {
        assert_ok(snapshot_read(&snapshot[i], kept.bytes[i].data, kept.bytes[i].size,
                                &error));
        assert_int_equal(snapshot[i].step, snapshot[i].steps);
        requests[i].resume = &snapshot[i];
        buffer_clear(&kept.bytes[i]);
    }
    assert_ok(pipeline_render(other, requests, IMAGES, NULL, NULL, decoded, &error));
    for (size_t i = 0; i < IMAGES; i++) {
        assert_memory_equal(decoded[i].latents, whole[i].latents,
                            whole[i].c * whole[i].h * whole[i].w * sizeof(float));
        assert_memory_equal(decoded[i].rgb, whole[i].rgb,
                            whole[i].width * whole[i].height * 3);
        snapshot_clear(&snapshot[i]);
        requests[i].resume = NULL;
    }
    clear(whole);
    clear(decoded);
}

static void what_ends_undecoded_is_decoded_elsewhere_to_the_same_pixels(void **state)
{
    struct pipeline *one = load_pipeline("tiny"), *other = load_pipeline("tiny");
    struct image_request requests[IMAGES];
    fill(requests, "Euler a");
    check_last(one, other, requests);
    for (size_t i = 0; i < IMAGES; i++) {
        requests[i].hires = (struct hires_request){.scale = 1.5, .upscaler = "Latent"};
        requests[i].strength = 0.5;
    }
    check_last(one, other, requests);
    fill(requests, "DPM++ 2M");
    repaint(requests);
    check_last(one, other, requests);
    pipeline_destroy(&one);
    pipeline_destroy(&other);
}

static void a_snapshot_of_another_picture_is_refused(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[IMAGES];
    struct image image;
    struct error error = {0};
    fill(requests, "DDIMScheduler");
    struct snapshot snapshot = {
        .c = 4, .h = 9, .w = 13, .step = 3, .steps = STEPS, .seed = 41};
    assert_true(snapshot_make(&snapshot, NULL));
    requests[0].resume = &snapshot;
    assert_false(pipeline_render(pipeline, requests, 1, NULL, NULL, &image, &error));
    assert_non_null(strstr(error.text, "of another picture than seed 40"));
    snapshot.seed = 40;
    assert_false(pipeline_render(pipeline, requests, 2, NULL, NULL, &image, &error));
    assert_non_null(strstr(error.text, "different steps"));
    snapshot_clear(&snapshot);
    pipeline_destroy(&pipeline);
}

struct shown {
    struct pixels last;
    size_t count;
};

static void show(void *owner, size_t image, const struct pixels *picture)
{
    struct shown *shown = owner;
    pixels_clear(&shown->last);
    shown->last = (struct pixels){.width = picture->width, .height = picture->height};
    assert_true(pixels_crop(&shown->last, picture, 0, 0, NULL));
    shown->count++;
}

/* The correlation of the last preview with the picture, place by place. */
static void a_preview_resembles_the_picture(void **state)
{
    struct pipeline *pipeline = load_pipeline("emoji");
    struct shown shown = {0};
    const struct pipeline_watch watch = {
        .preview_every = 2, .preview = show, .owner = &shown};
    struct image_request requests[IMAGES];
    struct image image;
    fill(requests, "DDIMScheduler");
    requests[0].prompt = "red apple, noto style";
    requests[0].width = requests[0].height = 64;
    pipeline_watch(pipeline, &watch);
    assert_ok(pipeline_render(pipeline, requests, 1, NULL, NULL, &image, &error));
    assert_int_equal(shown.count, STEPS / 2);
    size_t factor = pipeline_factor(pipeline), w = shown.last.width;
    assert_int_equal(w * factor, image.width);
    double sum[5] = {0}, count = (double)(w * shown.last.height * 3);
    for (size_t i = 0; i < w * shown.last.height * 3; i++) {
        size_t x = i / 3 % w * factor + factor / 2, y = i / 3 / w * factor + factor / 2;
        double a = shown.last.rgb[i], b = image.rgb[(y * image.width + x) * 3 + i % 3];
        const double terms[] = {a, b, a * a, b * b, a * b};
        for (size_t k = 0; k < 5; k++)
            sum[k] += terms[k] / count;
    }
    double correlation = (sum[4] - sum[0] * sum[1]) /
                         sqrt((sum[2] - sum[0] * sum[0]) * (sum[3] - sum[1] * sum[1]));
    print_message("    correlation with the picture %.2f\n", correlation);
    assert_true(correlation > 0.5);
    pixels_clear(&shown.last);
    image_clear(&image);
    pipeline_destroy(&pipeline);
}

static void check_tiles(struct plans *plans, const json_t *golden)
{
    struct golden_tensor latents = golden_role(golden, "inputs", "latents");
    struct golden_tensor picture = golden_role(golden, "inputs", "picture");
    struct golden_tensor pixels = golden_role(golden, "outputs", "pixels");
    struct golden_tensor moments = golden_role(golden, "outputs", "moments");
    size_t h = latents.shape[2], w = latents.shape[3], c = latents.shape[1];
    float factor = (float)plans->vae->config.scaling_factor;
    float *from = malloc(latents.count * sizeof *from);
    float *found = malloc(pixels.count * sizeof *found);
    float *nchw = malloc(pixels.count * sizeof *nchw);
    for (size_t i = 0; i < latents.count; i++)
        latents.values[i] *= factor;
    nchw_to_nhwc(from, latents.values, 1, c, h, w);
    assert_ok(tiles_decode(plans, tiles_side(plans->vae), from, h, w, found, &error));
    nhwc_to_nchw(nchw, found, 1, 3, pixels.shape[2], pixels.shape[3]);
    assert_golden("decoded", nchw, &pixels, 1e-4);
    nchw_to_nhwc(found, picture.values, 1, 3, picture.shape[2], picture.shape[3]);
    float *made = malloc(moments.count * sizeof *made);
    assert_ok(tiles_encode(plans, tiles_side(plans->vae), found, h, w, made, &error));
    nhwc_to_nchw(nchw, made, 1, 2 * c, h, w);
    assert_golden("encoded", nchw, &moments, 1e-4);
    free(made);
    free(nchw);
    free(found);
    free(from);
    free(latents.values);
    free(picture.values);
    free(pixels.values);
    free(moments.values);
}

static void tiles_are_those_of_diffusers(void **state)
{
    json_t *cases = json_load_file(FARM_GOLDEN_DIR "/pictures.json", 0, NULL), *golden;
    struct model_files files;
    char *folder = model_path("tiny", "");
    assert_ok(model_files_from_folder(&files, folder, &error));
    struct model model = {.gpu = gpu};
    assert_ok(model_load(&model, gpu, &files, DTYPE_F32, &error));
    struct plans plans = {
        .gpu = gpu, .dtype = DTYPE_F32, .unet = &model.unet, .vae = &model.vae};
    assert_int_equal(tiles_side(&model.vae), 8);
    size_t i, checked = 0;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(golden_text(golden, "kind"), "tiles") != 0)
            continue;
        check_tiles(&plans, golden);
        checked++;
    }
    assert_int_equal(checked, 3);
    plans_drop(&plans);
    model_clear(&model);
    model_files_clear(&files);
    free(folder);
    json_decref(cases);
}

static void a_picture_of_one_tile_is_the_same_in_tiles(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[IMAGES];
    struct image whole, tiled, wide;
    fill(requests, "DDIMScheduler");
    requests[0].width = requests[0].height = 64;
    assert_ok(pipeline_render(pipeline, requests, 1, NULL, NULL, &whole, &error));
    requests[0].tile = requests[1].tile = true;
    assert_ok(pipeline_render(pipeline, requests, 1, NULL, NULL, &tiled, &error));
    assert_memory_equal(whole.rgb, tiled.rgb, 64 * 64 * 3);
    assert_ok(pipeline_render(pipeline, &requests[1], 1, NULL, NULL, &wide, &error));
    assert_int_equal(wide.width, 104);
    image_clear(&whole);
    image_clear(&tiled);
    image_clear(&wide);
    pipeline_destroy(&pipeline);
}

/* A device of so much memory as would do for tiles but not for the whole picture. */
static void a_picture_too_big_for_the_memory_is_made_in_tiles(void **state)
{
    struct gpu *usual = gpu;
    struct image_request request[IMAGES];
    struct image tiled, forced;
    size_t needs[2];
    fill(request, "DDIMScheduler");
    request->width = request->height = 256;
    request->steps = 1;
    for (int whole = 0; whole < 2; whole++) {
        struct pipeline *pipeline = load_pipeline("tiny");
        request->tile = !whole;
        assert_ok(pipeline_render(pipeline, request, 1, NULL, NULL, &forced, &error));
        needs[whole] = gpu_allocated(gpu);
        if (whole)
            image_clear(&forced);
        else
            tiled = forced;
        pipeline_destroy(&pipeline);
    }
    assert_true(needs[1] > needs[0] + (needs[0] >> 4));
    char *limit = path_format("%zuK", (needs[0] + needs[1]) >> 11);
    setenv("FARM_GPU_MEMORY", limit, 1);
    gpu = gpu_open(0, NULL);
    unsetenv("FARM_GPU_MEMORY");
    assert_non_null(gpu);
    struct pipeline *pipeline = load_pipeline("tiny");
    assert_ok(pipeline_render(pipeline, request, 1, NULL, NULL, &forced, &error));
    assert_memory_equal(forced.rgb, tiled.rgb, 256 * 256 * 3);
    pipeline_destroy(&pipeline);
    gpu_close(&gpu);
    gpu = usual;
    image_clear(&tiled);
    image_clear(&forced);
    free(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rendering_goes_on_from_a_snapshot_bit_for_bit),
        cmocka_unit_test(so_does_one_that_repaints_a_picture),
        cmocka_unit_test(what_ends_undecoded_is_decoded_elsewhere_to_the_same_pixels),
        cmocka_unit_test(a_snapshot_of_another_picture_is_refused),
        cmocka_unit_test(a_preview_resembles_the_picture),
        cmocka_unit_test(tiles_are_those_of_diffusers),
        cmocka_unit_test(a_picture_of_one_tile_is_the_same_in_tiles),
        cmocka_unit_test(a_picture_too_big_for_the_memory_is_made_in_tiles),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
