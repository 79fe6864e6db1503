#include <stdlib.h>
#include <string.h>

#include "proto/job/params.h"
#include "tests/test.h"

static const char *field(const struct params *params, const char *name)
{
    for (size_t i = 0; i < params->count; i++)
        if (!strcmp(params->field[i].name, name))
            return params->field[i].value;
    return NULL;
}

static void written(const struct task *task, const char *model, const char *hash,
                    struct buffer *text)
{
    const struct params_models models = {model, hash, ""};
    assert_true(params_write(task, &models, text, NULL));
}

static void a_task_is_written_as_the_ecosystem_writes_it(void **state)
{
    struct task task;
    struct buffer text = {0};
    task_init(&task);
    assert_true(task_set(&task, "prompt", "a cat", NULL));
    assert_true(task_set(&task, "schedule", "Karras", NULL));
    assert_true(task_set(&task, "seed", "1", NULL));
    assert_true(task_set(&task, "size", "512x512", NULL));
    written(&task, "emoji", "0123456789", &text);
    assert_string_equal(buffer_text(&text),
                        "a cat\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, "
                        "CFG scale: 7, Seed: 1, Size: 512x512, Model hash: 0123456789, "
                        "Model: emoji, RNG: CPU, Version: clfarm " FARM_VERSION);
    buffer_clear(&text);
    assert_true(task_set(&task, "negative", "blurry, dark", NULL));
    assert_true(task_set(&task, "eta", "0.5", NULL));
    assert_true(task_set(&task, "clip-skip", "2", NULL));
    written(&task, "a: \"b\"", "0", &text);
    assert_non_null(
        strstr(buffer_text(&text), "\nNegative prompt: blurry, dark\nSteps: 20, "));
    assert_non_null(
        strstr(buffer_text(&text),
               "Model: \"a: \\\"b\\\"\", Clip skip: 2, Eta DDIM: 0.5, RNG"));
    buffer_clear(&text);
    task_clear(&task);
}

static void what_is_written_reads_back(void **state)
{
    struct task task;
    struct buffer text = {0};
    struct params params;
    task_init(&task);
    assert_true(task_set(&task, "prompt", "a cat, (big:1.2)\nBREAK\n猫", NULL));
    assert_true(task_set(&task, "negative", "bad\nworse: 1", NULL));
    written(&task, "x, y: \"z\"\nw", "0", &text);
    assert_true(params_read(buffer_text(&text), &params, NULL));
    assert_string_equal(params.prompt, task.prompt);
    assert_string_equal(params.negative, task.negative);
    assert_string_equal(field(&params, "Model"), "x, y: \"z\"\nw");
    assert_string_equal(field(&params, "Sampler"), "DPM++ 2M");
    assert_string_equal(field(&params, "CFG scale"), "7");
    params_clear(&params);
    buffer_clear(&text);
    task_clear(&task);
}

static void a_second_pass_and_a_mask_are_written_in_the_web_uis_words(void **state)
{
    static const char *const set[][2] = {
        {"prompt", "a cat"},      {"hires", "1.5"},
        {"strength", "0.55"},     {"hires-upscaler", "Latent (nearest-exact)"},
        {"hires-steps", "12"},    {"hires-sampler", "DPM++ 2M Karras"},
        {"mask-invert", "on"},    {"mask-blur", "4"},
        {"mask", "0123"},         {"inpaint-fill", "latent noise"},
        {"inpaint-padding", "8"}, {"inpaint-full-res", "on"},
    };
    static const char *const want[][2] = {
        {"Hires upscale", "1.5"},
        {"Hires upscaler", "Latent (nearest-exact)"},
        {"Hires steps", "12"},
        {"Hires sampler", "DPM++ 2M"},
        {"Hires schedule type", "Karras"},
        {"Denoising strength", "0.55"},
        {"Mask mode", "Inpaint not masked"},
        {"Mask blur", "4"},
        {"Masked content", "latent noise"},
        {"Inpaint area", "Only masked"},
        {"Masked area padding", "8"},
    };
    struct task task;
    struct buffer text = {0};
    struct params params;
    task_init(&task);
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        assert_true(task_set(&task, set[i][0], set[i][1], NULL));
    written(&task, "emoji", "0", &text);
    assert_true(params_read(buffer_text(&text), &params, NULL));
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_string_equal(field(&params, want[i][0]), want[i][1]);
    assert_string_equal(field(&params, "Schedule type"), "Automatic");
    params_clear(&params);
    buffer_clear(&text);
    assert_true(task_set(&task, "hires", "768x1024", NULL));
    written(&task, "emoji", "0", &text);
    assert_non_null(strstr(buffer_text(&text), ", Hires resize: 768x1024, "));
    buffer_clear(&text);
    task_clear(&task);
}

static void a_refiner_is_named_with_its_hash_and_where_it_goes_on(void **state)
{
    const struct params_models models = {"base", "0", "sd_xl: refiner [7440042bbd]"};
    struct task task;
    struct buffer text = {0};
    struct params params;
    task_init(&task);
    assert_true(task_set(&task, "refiner", "5d5d:0.70", NULL));
    assert_true(params_write(&task, &models, &text, NULL));
    assert_true(params_read(buffer_text(&text), &params, NULL));
    assert_string_equal(field(&params, "Refiner"), "sd_xl: refiner [7440042bbd]");
    assert_string_equal(field(&params, "Refiner switch at"), "0.7");
    assert_string_equal(field(&params, "Refiner file"), "5d5d:0.7");
    params_clear(&params);
    buffer_clear(&text);
    task_clear(&task);
}

static void a_text_of_the_web_ui_with_quoted_fields_reads(void **state)
{
    struct params params;
    assert_true(params_read(
        "masterpiece, a lighthouse at dusk, <lora:sea:0.8>\r\n"
        "second line\r\n"
        "Negative prompt: lowres, (worst quality:1.4)\r\n"
        "more negative\r\n"
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: "
        "2847110264, Size: 512x768, Model hash: 6ce0161689, Model: "
        "v1-5-pruned-emaonly, "
        "Denoising strength: 0.55, Clip skip: 2, Lora hashes: \"sea: 12ab34cd56ef, "
        "sky: 00ff00ff00ff\", Hires upscale: 2, Hires upscaler: Latent "
        "(nearest-exact), "
        "Template: \"say \\\"hi\\\"\", Version: v1.10.1\r\n",
        &params, NULL));
    assert_string_equal(
        params.prompt,
        "masterpiece, a lighthouse at dusk, <lora:sea:0.8>\nsecond line");
    assert_string_equal(params.negative, "lowres, (worst quality:1.4)\nmore negative");
    assert_int_equal(params.count, 15);
    assert_string_equal(field(&params, "Seed"), "2847110264");
    assert_string_equal(field(&params, "Lora hashes"),
                        "sea: 12ab34cd56ef, sky: 00ff00ff00ff");
    assert_string_equal(field(&params, "Hires upscaler"), "Latent (nearest-exact)");
    assert_string_equal(field(&params, "Template"), "say \"hi\"");
    assert_string_equal(field(&params, "Version"), "v1.10.1");
    params_clear(&params);
}

static void odd_texts_are_prompts(void **state)
{
    static const char *const prompts[] = {
        "",       "just a prompt", "Steps: 20, Sampler: Euler", "a: b, c",
        ":::,,,", "\"\"\"",        "x: \"unclosed, y",
    };
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        struct params params;
        assert_true(params_read(prompts[i], &params, NULL));
        assert_string_equal(params.prompt, prompts[i]);
        assert_string_equal(params.negative, "");
        assert_int_equal(params.count, 0);
        params_clear(&params);
    }
}

static void fields_without_a_prompt_and_a_broken_quote_read(void **state)
{
    struct params params;
    assert_true(
        params_read("Negative prompt: x\nAb: 1, Cd: \"a\\\", Ef: \"\\", &params, NULL));
    assert_string_equal(params.prompt, "");
    assert_string_equal(params.negative, "x");
    assert_string_equal(field(&params, "Cd"), "\"a\\\"");
    assert_string_equal(field(&params, "Ef"), "\"\\");
    params_clear(&params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_is_written_as_the_ecosystem_writes_it),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_second_pass_and_a_mask_are_written_in_the_web_uis_words),
        cmocka_unit_test(a_refiner_is_named_with_its_hash_and_where_it_goes_on),
        cmocka_unit_test(a_text_of_the_web_ui_with_quoted_fields_reads),
        cmocka_unit_test(odd_texts_are_prompts),
        cmocka_unit_test(fields_without_a_prompt_and_a_broken_quote_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
