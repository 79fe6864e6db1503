#include <stdlib.h>
#include <string.h>

#include "proto/job/files.h"
#include "tests/test.h"

static const struct option picture = {
    .name = "init", .type = OPTION_FILE, .most = 1, .choices = "picture"};
static const struct option lora = {
    .name = "lora", .type = OPTION_FILE, .most = 3, .choices = "lora"};
static const struct option refiner = {
    .name = "refiner", .type = OPTION_FILE, .most = 1, .choices = "model"};

static void assert_text(const struct option *option, const char *value,
                        const char *expected)
{
    struct file_uses uses;
    struct error error = {0};
    if (!file_uses_read(&uses, option, value, &error))
        fail_msg("%s", error.text);
    char *text = file_uses_text(&uses);
    assert_string_equal(text, expected);
    free(text);
    file_uses_clear(&uses);
}

static void assert_refused(const struct option *option, const char *value,
                           const char *says)
{
    struct file_uses uses;
    struct error error = {0};
    assert_false(file_uses_read(&uses, option, value, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, says));
}

static void a_weight_stands_behind_the_last_colon_of_a_lora(void **state)
{
    struct file_uses uses;
    assert_true(file_uses_read(&uses, &lora, "a:b.safetensors:0.25;c:-1.50", NULL));
    assert_int_equal(uses.count, 2);
    assert_string_equal(uses.item[0].file, "a:b.safetensors");
    assert_true(uses.item[0].weight == 0.25);
    assert_string_equal(uses.item[1].file, "c");
    assert_true(uses.item[1].weight == -1.5);
    file_uses_clear(&uses);
}

static void equal_uses_have_one_text(void **state)
{
    assert_text(&lora, "a:0.80;b:1;c:1e0", "a:0.8;b;c");
    assert_text(&lora, "a:-0", "a:0");
    assert_text(&lora, "a:x;b:;c:200", "a:x;b:;c:200"); /* these are names */
    assert_text(&picture, "C:1", "C:1");                /* pictures have no weight */
    assert_text(&picture, "", "");
}

static void a_refiner_goes_on_at_a_share_of_the_way(void **state)
{
    assert_text(&refiner, "sd_xl:0.80", "sd_xl"); /* as where nothing is said */
    assert_text(&refiner, "sd_xl", "sd_xl");
    assert_text(&refiner, "models/a:b:0.5", "models/a:b:0.5");
    assert_refused(&refiner, "sd_xl:1",
                   "refiner: \"sd_xl:1\": where it goes on is a share");
    assert_refused(&refiner, "a;b", "at most 1 file is");
}

static void more_files_than_an_option_takes_are_refused(void **state)
{
    assert_refused(&picture, "a.png;b.png", "init: \"a.png;b.png\": at most 1 file is");
    assert_refused(&lora, "a;b;c;d", "at most 3 files are");
    assert_refused(&lora, "a;", "from 1 to");
    assert_refused(&lora, ";a", "from 1 to");
}

static void a_tasks_inputs_are_the_ids_its_options_name(void **state)
{
    struct task task;
    struct error error = {0};
    uint8_t ids[INPUTS_MOST][32];
    size_t count;
    char hex[65] = "";
    memset(hex, 'a', 64);
    task_init(&task);
    assert_true(task_inputs(&task, ids, &count, NULL));
    assert_int_equal(count, 0);
    assert_true(task_set(&task, "init", hex, NULL));
    assert_true(task_inputs(&task, ids, &count, NULL));
    assert_int_equal(count, 1);
    assert_int_equal(ids[0][31], 0xaa);
    assert_true(task_set(&task, "init", "cat.png", NULL));
    assert_false(task_inputs(&task, ids, &count, &error));
    assert_non_null(strstr(error.text, "init: \"cat.png\""));
    task_clear(&task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_weight_stands_behind_the_last_colon_of_a_lora),
        cmocka_unit_test(equal_uses_have_one_text),
        cmocka_unit_test(a_refiner_goes_on_at_a_share_of_the_way),
        cmocka_unit_test(more_files_than_an_option_takes_are_refused),
        cmocka_unit_test(a_tasks_inputs_are_the_ids_its_options_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
