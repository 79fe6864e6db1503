#include <stdlib.h>
#include <string.h>

#include "proto/job/options.h"
#include "tests/test.h"

static void the_table_is_sorted_and_every_default_is_taken_back(void **state)
{
    struct task task;
    task_init(&task);
    size_t count = 0;
    for (const struct option *option = options; option->name; option++, count++) {
        if (option > options)
            assert_true(strcmp(option[-1].name, option->name) < 0);
        char *text = task_get(&task, option);
        assert_string_equal(text, option->fallback);
        assert_true(task_set(&task, option->name, text, NULL));
        free(text);
    }
    assert_int_equal(count, OPTION_COUNT_ALL);
    task_clear(&task);
}

static void a_value_of_every_kind_comes_back_as_it_was_given(void **state)
{
    static const char *const pairs[][2] = {
        {"cfg", "7.25"},
        {"cfg", "0.1"},
        {"eta", "0.30000000000000004"},
        {"size", "72x104"},
        {"size", "auto"},
        {"seed", "18446744073709551615"},
        {"steps", "1000"},
        {"prompt", "an \"é\" 猫"},
        {"negative", ""},
        {"schedule", "Karras"},
        {"crop", "12,0"},
        {"prediction", "sample"},
        {"variation", "7:0.25"},
        {"variation", "18446744073709551615:1"},
        {"variation", ""},
        {"seed-resize", "512x768"},
    };
    struct task task;
    task_init(&task);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_true(task_set(&task, pairs[i][0], pairs[i][1], NULL));
        char *text = task_get(&task, option_find(pairs[i][0]));
        assert_string_equal(text, pairs[i][1]);
        free(text);
    }
    task_clear(&task);
}

static void a_value_may_say_what_several_options_do(void **state)
{
    struct task task;
    struct error error = {0};
    task_init(&task);
    assert_true(task_set(&task, "hires", "2:Lanczos:8:0.6", NULL));
    assert_true(task.hires_scale == 2 && task.hires_steps == 8);
    assert_true(task.strength == 0.6);
    assert_string_equal(task.hires_upscaler, "Lanczos");
    assert_true(task_set(&task, "hires", "768x1024::9", NULL));
    assert_true(task.hires_height == 1024 && task.hires_steps == 9);
    assert_string_equal(task.hires_upscaler, "Lanczos");
    assert_false(task_set(&task, "hires", "2:Latent:8:0.6:1", &error));
    assert_non_null(strstr(error.text, "2:Latent:8:0.6:1"));
    assert_false(task_set(&task, "hires", "2:Latent:many", &error));
    assert_non_null(strstr(error.text, "hires-steps"));
    assert_true(task.hires_height == 1024);
    assert_true(task_set(&task, "inpaint-full-res", "48", NULL));
    assert_true(task.inpaint_padding == 48);
    assert_string_equal(task.inpaint_full_res, "on");
    task_clear(&task);
}

static void samplers_are_found_by_any_case_and_by_class_name(void **state)
{
    static const char *const pairs[][2] = {
        {"euler A", "Euler a"},
        {"EULER", "Euler"},
        {"Euler", "Euler"},
        {"euler", "euler"},
        {"DPMSolverMultistep", "DPMSolverMultistepScheduler"},
        {"pndmscheduler", "PNDMScheduler"},
        {"HeunDiscrete(steps_offset=1, clip_sample=True)",
         "HeunDiscreteScheduler(steps_offset=1, clip_sample=True)"},
    };
    struct task task;
    task_init(&task);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_true(task_set(&task, "sampler", pairs[i][0], NULL));
        assert_string_equal(task.sampler, pairs[i][1]);
    }
    task_clear(&task);
}

static void a_schedule_in_an_old_samplers_name_is_set_too(void **state)
{
    struct task task;
    task_init(&task);
    assert_true(task_set(&task, "sampler", "DPM++ 2M SDE Karras", NULL));
    assert_string_equal(task.sampler, "DPM++ 2M SDE");
    assert_string_equal(task.schedule, "Karras");
    assert_true(task_set(&task, "sampler", "Euler", NULL));
    assert_string_equal(task.schedule, "Karras");
    assert_false(task_set(&task, "sampler", "Eule Exponential", NULL));
    assert_string_equal(task.schedule, "Karras");
    task_clear(&task);
}

static void bad_values_are_refused_in_a_sentence_and_change_nothing(void **state)
{
    static const struct {
        const char *name, *value, *says;
    } bad[] = {
        {"steps", "0", "steps: \"0\" is not a whole number from 1 to 1000"},
        {"steps", "1001", "from 1 to 1000"},
        {"steps", "+5", "steps: \"+5\""},
        {"steps", "", "steps: \"\""},
        {"steps", "5 ", "steps: \"5 \""},
        {"seed", "18446744073709551616", "seed:"},
        {"seed", "-1", "seed:"},
        {"cfg", "nan", "cfg: \"nan\" is not a number from 0 to 100"},
        {"cfg", "inf", "cfg:"},
        {"cfg", "0x1p3", "cfg:"},
        {"cfg", "-1", "cfg:"},
        {"cfg", "7,5", "cfg: \"7,5\""},
        {"eta", "1.01", "eta:"},
        {"size", "512", "size: \"512\" is not WIDTHxHEIGHT"},
        {"size", "0x0", "size: \"0x0\" is out of range"},
        {"size", "512x8193", "from 8 to 8192"},
        {"size", "99999999999999999999x8", "size:"},
        {"size", "512x512x", "size:"},
        {"sampler", "", "sampler: there is no \"\""},
        {"sampler", "Eul", "there is Euler, Euler a, Heun, LMS, "},
        {"sampler", "LCMScheduler(x", "\"(x\" is not (key=value,key=value)"},
        {"sampler", "LCMScheduler(a\nb)", "is not (key=value,key=value)"},
        {"variation", "7", "variation: \"7\" is not SEED:STRENGTH, like 7:0.2"},
        {"variation", "x:0.2", "variation: \"x:0.2\" is not SEED:STRENGTH"},
        {"variation", "7:1.5", "variation: \"1.5\" is not a number from 0 to 1"},
        {"sampler", "Euler|Euler a", "sampler:"},
        {"schedule", "karra", "Automatic, Normal, Karras"},
        {"model", "", "model: must not be empty"},
        {"prompt", "\xff\xfe", "prompt: the text is not UTF-8"},
        {"prompt", "cut \xe7\x8c", "not UTF-8"},
        {"stepz", "5", "there is no option \"stepz\""},
    };
    struct task task, before;
    task_init(&task);
    task_init(&before);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error = {0};
        assert_false(task_set(&task, bad[i].name, bad[i].value, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        if (!strstr(error.text, bad[i].says))
            fail_msg("%s=%s says: %s", bad[i].name, bad[i].value, error.text);
        for (const struct option *option = options; option->name; option++) {
            char *now = task_get(&task, option), *then = task_get(&before, option);
            assert_string_equal(now, then);
            free(now);
            free(then);
        }
    }
    task_clear(&task);
    task_clear(&before);
}

static void a_text_of_64_kib_is_taken_and_one_byte_more_is_not(void **state)
{
    char *text = malloc(65538);
    memset(text, 'a', 65537);
    text[65537] = 0;
    struct task task;
    struct error error = {0};
    task_init(&task);
    assert_false(task_set(&task, "prompt", text, &error));
    assert_string_equal(error.text, "prompt: 65537 bytes, at most 65536 are taken");
    text[65536] = 0;
    assert_true(task_set(&task, "prompt", text, &error));
    task_clear(&task);
    free(text);
}

static void a_zero_inside_a_message_s_text_is_refused(void **state)
{
    struct task task;
    struct error error = {0};
    task_init(&task);
    ProtobufCBinaryData name = {6, (uint8_t *)"prompt"}, empty = {0, NULL};
    ProtobufCBinaryData value = {3, (uint8_t *)"a\0b"};
    assert_false(task_set_bytes(&task, name, value, &error));
    assert_non_null(strstr(error.text, "zero"));
    assert_false(task_set_bytes(&task, empty, empty, &error));
    assert_true(task_set_bytes(&task, name, empty, &error));
    assert_string_equal(task.prompt, "");
    task_clear(&task);
}

static void a_copy_lives_on_its_own(void **state)
{
    struct task task, copy;
    task_init(&task);
    assert_true(task_set(&task, "prompt", "cat", NULL));
    task_copy(&copy, &task);
    assert_true(task_set(&task, "prompt", "dog", NULL));
    assert_string_equal(copy.prompt, "cat");
    task_clear(&task);
    assert_string_equal(copy.sampler, "DPM++ 2M");
    task_clear(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sorted_and_every_default_is_taken_back),
        cmocka_unit_test(a_value_of_every_kind_comes_back_as_it_was_given),
        cmocka_unit_test(a_value_may_say_what_several_options_do),
        cmocka_unit_test(samplers_are_found_by_any_case_and_by_class_name),
        cmocka_unit_test(a_schedule_in_an_old_samplers_name_is_set_too),
        cmocka_unit_test(bad_values_are_refused_in_a_sentence_and_change_nothing),
        cmocka_unit_test(a_text_of_64_kib_is_taken_and_one_byte_more_is_not),
        cmocka_unit_test(a_zero_inside_a_message_s_text_is_refused),
        cmocka_unit_test(a_copy_lives_on_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
