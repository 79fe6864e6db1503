/* Whole runs as stable-diffusion-webui and ComfyUI make them: k-diffusion's samplers around
 * diffusers' UNet, with their prompts' weights, first noise, schedules and steps from a picture. */
#include "tests/gpu/support_run.h"
#include "worker/sd/sampler.h"

/* Where a length is found on the way, one part in ten million of what the UNet says turns into
 * one in a hundred of the latents: k-diffusion beside itself. Floats leave several of them. */
static void check_adaptive(const struct worst *worst)
{
    print_message("    DPM adaptive: latents within %.2g\n", worst->latents);
    assert_true(worst->runs > 0 && worst->latents < 1e-1);
}

/* Runs of labels, or of ComfyUI's names. */
static void check(bool of_comfy, size_t least)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    json_t *runs = json_load_file(FARM_GOLDEN_DIR "/convention_runs.json", 0, NULL);
    struct worst worst = {0}, adaptive = {0};
    size_t i;
    json_t *golden;
    json_array_foreach(runs, i, golden)
    {
        struct image_request request = run_request(golden);
        struct pixels picture = golden_pixels(golden, "picture");
        bool is_comfy = *request.sampler >= 'a';
        request.syntax = "auto";
        request.init = picture.rgb ? &picture : NULL;
        if (is_comfy == of_comfy)
            worst_render(sampler_adapts(request.sampler) ? &adaptive : &worst, pipeline,
                         golden, &request);
        pixels_clear(&picture);
    }
    worst_check(&worst, least);
    if (!of_comfy)
        check_adaptive(&adaptive);
    json_decref(runs);
    pipeline_destroy(&pipeline);
}

static void runs_of_labels_are_a1111s(void **state)
{
    check(false, 15);
}

static void runs_of_lower_case_names_are_comfyuis(void **state)
{
    check(true, 13);
}

static struct image_request masked_request(const json_t *run,
                                           const struct pixels *picture,
                                           const struct pixels *mask)
{
    struct image_request request = run_request(run);
    request.syntax = "auto";
    request.init = picture;
    request.mask = mask;
    request.prediction = json_string_value(json_object_get(run, "prediction"));
    return request;
}

static void masks_under_comfyuis_names_are_comfyuis(void **state)
{
    json_t *runs = json_load_file(FARM_GOLDEN_DIR "/mask_runs.json", 0, NULL);
    worst_of_mode(runs, masked_request, "tiny", "inpaint", 20);
    worst_of_mode(runs, masked_request, "inpaint", "inpaint", 2);
    json_decref(runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_labels_are_a1111s),
        cmocka_unit_test(runs_of_lower_case_names_are_comfyuis),
        cmocka_unit_test(masks_under_comfyuis_names_are_comfyuis),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
