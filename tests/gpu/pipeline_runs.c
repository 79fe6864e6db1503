/* Whole runs against diffusers' StableDiffusionPipeline: every sampler, 1, 5 and 20 steps,
 * with and without guidance, sizes of even and odd latents. */
#include "tests/gpu/support_run.h"

static void check_model(const char *model)
{
    struct pipeline *pipeline = load_pipeline(model);
    json_t *cases = golden_manifest(), *golden;
    struct worst worst = {0};
    size_t i;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(golden_text(golden, "kind"), "run") != 0 ||
            strcmp(golden_text(golden, "model"), model) != 0)
            continue;
        struct image_request request = run_request(golden);
        worst_render(&worst, pipeline, golden, &request);
    }
    worst_check(&worst, 60);
    json_decref(cases);
    pipeline_destroy(&pipeline);
}

static void runs_of_a_random_model_equal_those_of_diffusers(void **state)
{
    check_model("tiny");
}

static void runs_of_the_bundled_model_equal_those_of_diffusers(void **state)
{
    check_model("emoji");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_a_random_model_equal_those_of_diffusers),
        cmocka_unit_test(runs_of_the_bundled_model_equal_those_of_diffusers),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
