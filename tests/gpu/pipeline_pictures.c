/* Runs that take pictures against diffusers' pipelines: image to image, inpainting with 4 and
 * 9 channels, InstructPix2Pix. */
#include "tests/gpu/support_run.h"

static json_t *cases;

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
    request.full_res = json_object_get(golden, "padding") != NULL;
    request.full_res_padding = (size_t)run_number(golden, "padding", 0);
    request.image_cfg = run_number(golden, "image_cfg", 1.5);
    return request;
}

static void image_to_image_equals_that_of_diffusers(void **state)
{
    worst_of_mode(cases, request_of, "tiny", "img2img", 18);
}

static void inpainting_with_any_model_equals_that_of_diffusers(void **state)
{
    worst_of_mode(cases, request_of, "tiny", "inpaint", 17);
}

static void inpainting_with_nine_channels_equals_that_of_diffusers(void **state)
{
    worst_of_mode(cases, request_of, "inpaint", "inpaint", 17);
}

static void editing_by_instruction_equals_that_of_diffusers(void **state)
{
    worst_of_mode(cases, request_of, "edit", "edit", 8);
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
        assert_render_refused(tiny, &bad[i], says[i]);
    assert_render_refused(edit, &plain, "it needs image");
    assert_render_refused(inpaint, &plain, "it needs init and mask");
    pipeline_destroy(&tiny);
    pipeline_destroy(&edit);
    pipeline_destroy(&inpaint);
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
        struct pipeline *pipeline = load_variant(modes[m].model);
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
            assert_same_in_batches(pipeline, request);
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
