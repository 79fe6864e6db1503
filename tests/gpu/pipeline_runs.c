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

static void a_request_may_say_what_a_model_predicts(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    json_t *runs = json_load_file(FARM_GOLDEN_DIR "/prediction_runs.json", 0, NULL);
    struct worst worst = {0};
    size_t i;
    json_t *golden;
    json_array_foreach(runs, i, golden)
    {
        struct image_request request = run_request(golden);
        request.prediction = golden_text(golden, "prediction");
        request.zsnr = json_string_value(json_object_get(golden, "zsnr"));
        worst_render(&worst, pipeline, golden, &request);
    }
    worst_check(&worst, 7);
    json_decref(runs);
    pipeline_destroy(&pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_may_say_what_a_model_predicts),
        cmocka_unit_test(runs_of_a_random_model_equal_those_of_diffusers),
        cmocka_unit_test(runs_of_the_bundled_model_equal_those_of_diffusers),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
