/* Runs that take pictures against diffusers' pipelines: image to image, inpainting with 4 and
 * 9 channels, InstructPix2Pix. */
#include "tests/gpu/support_run.h"

static json_t *cases;

/* The tiny model with a UNet of its own. */
static struct pipeline *load_variant(const char *unet)
{
    struct model_files files;
    char *folder = model_path("tiny", "");
    assert_ok(model_files_from_folder(&files, folder, &error));
    struct error error = {0};
    for (size_t i = 0; i < files.count; i++)
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

static struct image_request request_of(const json_t *golden,
                                       const struct pixels *picture,
                                       const struct pixels *mask)
{
    struct image_request request = run_request(golden);
    bool edits = strcmp(golden_text(golden, "mode"), "edit") == 0;
    request.init = edits ? NULL : picture;
    request.image = edits ? picture : NULL;
    request.mask = mask->rgb ? mask : NULL;
    request.mask_blur = run_number(golden, "mask_blur", 0);
    request.image_cfg = run_number(golden, "image_cfg", 1.5);
    return request;
}

static void check(struct pipeline *pipeline, const json_t *golden, struct worst *worst)
{
    struct pixels picture = golden_pixels(golden, "picture");
    struct pixels mask = golden_pixels(golden, "mask");
    struct image_request request = request_of(golden, &picture, &mask);
    worst_render(worst, pipeline, golden, &request);
    pixels_clear(&picture);
    pixels_clear(&mask);
}

static void check_mode(const char *model, const char *mode, size_t least)
{
    struct pipeline *pipeline =
        strcmp(model, "tiny") == 0 ? load_pipeline(model) : load_variant(model);
    struct worst worst = {0};
    size_t i;
    json_t *golden;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(golden_text(golden, "kind"), "picture run") != 0 ||
            strcmp(golden_text(golden, "model"), model) != 0 ||
            strcmp(golden_text(golden, "mode"), mode) != 0)
            continue;
        check(pipeline, golden, &worst);
    }
    worst_check(&worst, least);
    pipeline_destroy(&pipeline);
}

static void image_to_image_equals_that_of_diffusers(void **state)
{
    check_mode("tiny", "img2img", 18);
}

static void inpainting_with_any_model_equals_that_of_diffusers(void **state)
{
    check_mode("tiny", "inpaint", 16);
}

static void inpainting_with_nine_channels_equals_that_of_diffusers(void **state)
{
    check_mode("inpaint", "inpaint", 16);
}

static void editing_by_instruction_equals_that_of_diffusers(void **state)
{
    check_mode("edit", "edit", 8);
}

static void pictures_a_model_cannot_use_are_refused_by_name(void **state)
{
    uint8_t rgb[64 * 64 * 3] = {0};
    const struct pixels picture = {64, 64, rgb}, small = {32, 64, rgb};
    const struct image_request plain = {.prompt = "",
                                        .negative = "",
                                        .steps = 2,
                                        .cfg = 7,
                                        .sampler = "DDIMScheduler",
                                        .schedule = "Automatic",
                                        .clip_skip = 1,
                                        .strength = 0.5,
                                        .image_cfg = 1.5};
    struct image_request bad[4] = {plain, plain, plain, plain};
    bad[0].image = &picture;
    bad[1].mask = &picture;
    bad[2].init = &picture;
    bad[2].mask = &small;
    bad[3].init = &picture;
    bad[3].strength = 0.1;
    static const char *const says[] = {"does not edit pictures",
                                       "no picture to repaint", "32x64 pixels",
                                       "leaves none to run"};
    struct pipeline *tiny = load_pipeline("tiny"), *edit = load_variant("edit"),
                    *inpaint = load_variant("inpaint");
    for (size_t i = 0; i < 4; i++)
        assert_refused(tiny, &bad[i], says[i]);
    assert_refused(edit, &plain, "it needs image");
    assert_refused(inpaint, &plain, "it needs init and mask");
    pipeline_destroy(&tiny);
    pipeline_destroy(&edit);
    pipeline_destroy(&inpaint);
}

/* The same bytes alone and in a batch of 8. */
static void check_batch(struct pipeline *pipeline, struct image_request request)
{
    struct image_request requests[8];
    struct image together[8], alone;
    for (size_t i = 0; i < 8; i++) {
        requests[i] = request;
        requests[i].seed = 100 + i;
        requests[i].prompt = i % 2 ? "a cat" : "a red apple, noto style";
    }
    assert_ok(pipeline_render(pipeline, requests, 8, NULL, NULL, together, &error));
    for (size_t i = 0; i < 8; i += 7) {
        assert_ok(
            pipeline_render(pipeline, &requests[i], 1, NULL, NULL, &alone, &error));
        assert_memory_equal(alone.rgb, together[i].rgb, alone.width * alone.height * 3);
        assert_memory_equal(alone.latents, together[i].latents,
                            alone.c * alone.h * alone.w * sizeof *alone.latents);
        image_clear(&alone);
    }
    assert_memory_not_equal(together[0].rgb, together[1].rgb,
                            together[0].width * together[0].height * 3);
    for (size_t i = 0; i < 8; i++)
        image_clear(&together[i]);
}

static void an_image_is_the_same_alone_and_in_a_batch_in_every_mode(void **state)
{
    static const struct {
        const char *model, *mode;

    } modes[] = {{"tiny", "img2img"},
                 {"tiny", "inpaint"},
                 {"inpaint", "inpaint"},
                 {"edit", "edit"}};
    for (size_t m = 0; m < 4; m++) {
        struct pipeline *pipeline = strcmp(modes[m].model, "tiny") == 0
                                        ? load_pipeline("tiny")
                                        : load_variant(modes[m].model);
        size_t i;
        json_t *golden;
        json_array_foreach(cases, i, golden)
        {
            if (strcmp(golden_text(golden, "kind"), "picture run") != 0 ||
                strcmp(golden_text(golden, "model"), modes[m].model) != 0 ||
                strcmp(golden_text(golden, "mode"), modes[m].mode) != 0 ||
                strcmp(golden_text(golden, "sampler"),
                       "EulerAncestralDiscreteScheduler") != 0)
                continue;
            struct pixels picture = golden_pixels(golden, "picture");
            struct pixels mask = golden_pixels(golden, "mask");
            struct image_request request = request_of(golden, &picture, &mask);
            request.steps = 4;
            check_batch(pipeline, request);
            pixels_clear(&picture);
            pixels_clear(&mask);
            break;
        }
        pipeline_destroy(&pipeline);
    }
}

static int open_all(void **state)
{
    cases = json_load_file(FARM_GOLDEN_DIR "/pictures.json", 0, NULL);
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
        cmocka_unit_test(image_to_image_equals_that_of_diffusers),
        cmocka_unit_test(inpainting_with_any_model_equals_that_of_diffusers),
        cmocka_unit_test(inpainting_with_nine_channels_equals_that_of_diffusers),
        cmocka_unit_test(editing_by_instruction_equals_that_of_diffusers),
        cmocka_unit_test(pictures_a_model_cannot_use_are_refused_by_name),
        cmocka_unit_test(an_image_is_the_same_alone_and_in_a_batch_in_every_mode),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
