/* What is planned of a device's memory is what is taken of it. */
#include "worker/sd/footprint.h"
#include "tests/gpu/support_family.h"
#include "tests/gpu/support_run.h"

static const char *const families[] = {"sd1_single", "sd1_taesd", "sdxl",
                                       "pixels_class"};
enum { FAMILIES = sizeof families / sizeof *families };

static void check_arenas(const struct footprint *plan, const char *name)
{
    for (size_t i = 0; i < FOOTPRINT_PHASES; i++) {
        const struct footprint_part *part = &plan->part[i];
        if (20 * part->arena > 23 * part->live)
            fail_msg("%s: %s: an arena of %zu bytes for %zu alive", name,
                     footprint_phase_name[i], part->arena, part->live);
    }
}

/* Renders one image; the device then holds what was planned and not a byte else. */
static void check_family(const char *name, enum dtype dtype, const char *checker)
{
    struct family family;
    struct footprint plan;
    struct image image;
    struct pipeline *pipeline;
    family_open(&family, name);
    size_t side = strncmp(name, "pixels", 6) == 0 ? 0 : 64; /* 0: the model's */
    const struct footprint_request planned = {&family.files, dtype,  side, side, 1,
                                              checker,       checker};
    assert_ok(footprint_plan(&plan, 0, &planned, &error));
    check_arenas(&plan, name);
    struct image_request request = {.prompt = "a red apple",
                                    .negative = "blue",
                                    .steps = 1,
                                    .width = plan.width,
                                    .height = plan.height,
                                    .cfg = 5,
                                    .sampler = "DDIMScheduler",
                                    .schedule = "Automatic",
                                    .syntax = "plain",
                                    .aesthetic = 6,
                                    .safety_path = checker,
                                    .safety_name = checker,
                                    .clip_skip = 1};
    assert_ok(pipeline = pipeline_load(gpu, &family.files, dtype, &error));
    assert_true(gpu_allocated(gpu) <= plan.weights);
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    print_message("    %s: %zu KiB, of which %zu weights\n", name, plan.whole >> 10,
                  plan.weights >> 10);
    assert_int_equal(gpu_allocated(gpu), plan.whole);
    image_clear(&image);
    pipeline_destroy(&pipeline);
    assert_int_equal(gpu_allocated(gpu), 0);
    family_close(&family);
}

static void the_plan_is_what_is_allocated_for_every_family(void **state)
{
    for (size_t i = 0; i < FAMILIES; i++)
        check_family(families[i], DTYPE_F32, NULL);
    check_family("sdxl", DTYPE_F16, NULL);
    check_family("sd1_taesd", DTYPE_F32,
                 FARM_GOLDEN_DIR "/safety/published.safetensors");
}

static void a_plan_takes_no_memory_and_knows_what_does_not_fit(void **state)
{
    struct family family;
    struct footprint roomy, narrow;
    family_open(&family, "sdxl");
    struct footprint_request wanted = {
        .files = &family.files, .width = 256, .height = 256, .images = 1};
    assert_ok(footprint_plan(&roomy, 0, &wanted, &error));
    assert_false(roomy.tiled);
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%zu", roomy.weights);
    setenv("FARM_GPU_MEMORY", bytes, 1);
    assert_ok(footprint_plan(&narrow, 0, &wanted, &error));
    unsetenv("FARM_GPU_MEMORY");
    assert_true(narrow.tiled);
    assert_true(narrow.part[FOOTPRINT_VAE].arena < roomy.part[FOOTPRINT_VAE].arena);
    assert_int_equal(narrow.weights, roomy.weights);
    assert_true(roomy.least < roomy.whole && roomy.least > roomy.weights);
    assert_int_equal(gpu_allocated(gpu), 0);
    struct error error = {0};
    wanted.width = 255;
    assert_false(footprint_plan(&narrow, 0, &wanted, &error));
    assert_non_null(strstr(error.text, "size 255x256"));
    family_close(&family);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_is_what_is_allocated_for_every_family),
        cmocka_unit_test(a_plan_takes_no_memory_and_knows_what_does_not_fit),
    };
    return run_on_both_paths(tests);
}
