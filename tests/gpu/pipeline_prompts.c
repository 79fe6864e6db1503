/* What prompts become, against stable-diffusion-webui's and ComfyUI's own code around
 * transformers' encoder and diffusers' UNet (prompt_runs.json), and how prompts of different
 * kinds share a batch. */
#include "tests/gpu/support_model.h"
#include "worker/sd/conditioning.h"
#include "worker/sd/model.h"
#include "worker/sd/prompt.h"
#include "worker/sd/rendering.h"

static json_t *golden;

static int load(void **state)
{
    golden = json_load_file(FARM_GOLDEN_DIR "/prompt_runs.json", 0, NULL);
    return open_cpu_path(state) == 0 && golden ? 0 : -1;
}

static int unload(void **state)
{
    json_decref(golden);
    return close_gpu(state);
}

static void vectors_of_texts_are_those_of_a1111_and_comfyui(void **state)
{
    size_t i;
    json_t *test;
    double worst = 0;
    struct model_files files = {0};
    struct model model;
    assert_ok(model_files_from_folder(&files, FARM_GOLDEN_DIR "/tiny", &error));
    assert_ok(model_load(&model, gpu, &files, DTYPE_F32, &error));
    struct conditioning *conditioning = conditioning_new(&model.text, SIZE_MAX, NULL);
    struct embeddings embeddings;
    const struct embedding_file words[] = {
        {FARM_GOLDEN_DIR "/embeddings/stylish.safetensors", "stylish.safetensors"},
        {FARM_GOLDEN_DIR "/embeddings/cat-toy.safetensors", "cat-toy.safetensors"},
    };
    assert_ok(embeddings_load(&embeddings, &model.text, words, 2, &error));
    json_array_foreach(json_object_get(golden, "texts"), i, test)
    {
        char name[40];
        struct conditioning_form form = {
            .syntax = prompt_syntax_of(golden_text(test, "syntax"), ""),
            .clip_skip =
                (unsigned)json_integer_value(json_object_get(test, "clip_skip")),
            .embeddings = &embeddings};
        const struct condition *found;
        assert_ok(found = conditioning_take(conditioning, golden_text(test, "text"),
                                            &form, 1, &error));
        snprintf(name, sizeof name, "text.%zu", i);
        struct golden_tensor want = golden_load("prompt_runs.safetensors", name);
        assert_int_equal(found->keys, want.shape[0]);
        double far = relative_distance(found->values, want.values, want.count);
        if (!(far < 1e-5))
            fail_msg("text %zu: off by %g", i, far);
        worst = fmax(worst, far);
        conditioning_give(conditioning, &found);
        free(want.values);
    }
    print_message("    %zu texts within %.2g\n", i, worst);
    conditioning_destroy(&conditioning);
    embeddings_clear(&embeddings);
    model_clear(&model);
    model_files_clear(&files);
}

/* Kernels that taking the text costs: none where it is kept. */
static uint64_t launches_of(struct conditioning *conditioning, const char *text)
{
    const struct conditioning_form form = {.syntax = PROMPT_PLAIN, .clip_skip = 1};
    const struct condition *found;
    uint64_t before = gpu_launches(gpu);
    assert_ok(found = conditioning_take(conditioning, text, &form, 1, &error));
    conditioning_give(conditioning, &found);
    return gpu_launches(gpu) - before;
}

static void kept_texts_take_no_more_bytes_than_they_may(void **state)
{
    static const char *const texts[] = {"cat", "dog", "fox", "owl"};
    struct pipeline *pipeline = load_pipeline("tiny");
    struct text_stack *text = &pipeline->model.text;
    size_t each = text->tokens * text->c * sizeof(float);
    struct conditioning *conditioning = conditioning_new(text, 3 * each, NULL);
    assert_non_null(conditioning); /* of two texts, with what else is kept of them */
    for (size_t i = 0; i < 4; i++)
        assert_true(launches_of(conditioning, texts[i]) > 0);
    assert_int_equal(launches_of(conditioning, "fox"), 0);
    assert_int_equal(launches_of(conditioning, "owl"), 0);
    assert_true(launches_of(conditioning, "dog") > 0);
    assert_int_equal(launches_of(conditioning, "owl"), 0); /* fox went, not it */
    assert_true(launches_of(conditioning, "fox") > 0);
    conditioning_destroy(&conditioning);
    pipeline_destroy(&pipeline);
}

static struct image_request request(const char *prompt, const char *negative)
{
    return (struct image_request){
        .prompt = prompt,
        .negative = negative,
        .seed = (uint64_t)json_integer_value(json_object_get(golden, "seed")),
        .steps = (size_t)json_integer_value(json_object_get(golden, "steps")),
        .cfg = json_number_value(json_object_get(golden, "cfg")),
        .width = 64,
        .height = 64,
        .sampler = "EulerDiscreteScheduler",
        .schedule = "Automatic",
        .syntax = "a1111",
        .clip_skip = 1};
}

static void editing_alternation_and_and_guide_as_in_a1111(void **state)
{
    size_t i;
    json_t *test;
    double worst = 0;
    struct pipeline *pipeline = load_pipeline("tiny");
    json_array_foreach(json_object_get(golden, "runs"), i, test)
    {
        char name[40];
        struct image image;
        struct image_request wanted =
            request(golden_text(test, "prompt"), golden_text(test, "negative"));
        assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
        snprintf(name, sizeof name, "run.%zu", i);
        struct golden_tensor want = golden_load("prompt_runs.safetensors", name);
        double far = relative_distance(image.latents, want.values, want.count);
        if (!(far < 2e-4))
            fail_msg("run %zu: off by %g", i, far);
        worst = fmax(worst, far);
        free(want.values);
        image_clear(&image);
    }
    print_message("    %zu runs within %.2g\n", i, worst);
    pipeline_destroy(&pipeline);
}

static void prompts_of_every_kind_share_a_batch_without_a_trace(void **state)
{
    static const char long_text[] =
        "cat dog fox owl bee elk ant yak cat dog fox owl bee elk ant yak cat dog fox "
        "owl "
        "bee elk ant yak cat dog fox owl bee elk ant yak cat dog fox owl bee elk ant "
        "yak "
        "cat dog fox owl bee elk ant yak cat dog fox owl bee elk ant yak";
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[] = {
        request("a cat", "blurry"),
        request(long_text, ""),
        request("a cat AND a dog :0.5", "blue"),
        request("a [cat:dog:0.5]", long_text),
        request("a [cat|dog]", ""),
    };
    enum { COUNT = sizeof requests / sizeof *requests };
    struct image together[COUNT], alone;
    assert_ok(pipeline_render(pipeline, requests, COUNT, NULL, NULL, together, &error));
    for (size_t i = 0; i < COUNT; i++) {
        assert_ok(
            pipeline_render(pipeline, &requests[i], 1, NULL, NULL, &alone, &error));
        assert_memory_equal(alone.latents, together[i].latents,
                            alone.c * alone.h * alone.w * sizeof(float));
        assert_memory_equal(alone.rgb, together[i].rgb, alone.width * alone.height * 3);
        image_clear(&alone);
        image_clear(&together[i]);
    }
    pipeline_destroy(&pipeline);
}

static void a_long_prompt_is_cut_only_in_plain_syntax(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    static const char *const syntaxes[] = {"a1111", "comfy", "plain", "auto", NULL};
    static const bool cut[] = {false, false, true, true, true};
    char text[4 * 200 + 1] = "";
    for (size_t i = 0; i < 200; i++)
        memcpy(text + 4 * i, "cat ", 5);
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        struct image image;
        struct image_request wanted = request(text, "");
        wanted.syntax = syntaxes[i];
        wanted.steps = 1;
        assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
        assert_int_equal(image.truncated, cut[i]);
        image_clear(&image);
    }
    pipeline_destroy(&pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_texts_take_no_more_bytes_than_they_may),
        cmocka_unit_test(vectors_of_texts_are_those_of_a1111_and_comfyui),
        cmocka_unit_test(editing_alternation_and_and_guide_as_in_a1111),
        cmocka_unit_test(prompts_of_every_kind_share_a_batch_without_a_trace),
        cmocka_unit_test(a_long_prompt_is_cut_only_in_plain_syntax),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
