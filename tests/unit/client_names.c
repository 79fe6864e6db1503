#include <stdlib.h>
#include <string.h>

#include "client/names.h"
#include "tests/test.h"

static void expect_name(const char *template, bool several, const char *expected)
{
    struct task task;
    task_init(&task);
    assert_true(task_set(&task, "prompt", "a cat/../dog, \"é\"", NULL));
    assert_true(task_set(&task, "seed", "7", NULL));
    assert_true(names_check(template, NULL));
    char *name = names_make(template, &task, 12, several);
    assert_string_equal(name, expected);
    free(name);
    task_clear(&task);
}

static void names_follow_their_template(void **state)
{
    expect_name(NAMES_DEFAULT, true, "00012-7");
    expect_name("{index}", true, "12");
    expect_name("x{seed:03}_{cfg}", false, "x007_7");
    expect_name("{sampler}", false, "DPM++_2M");
}

static void a_template_without_index_cannot_overwrite(void **state)
{
    expect_name("{seed}", true, "7-00012");
    expect_name("{seed}", false, "7");
}

static void values_never_make_a_path(void **state)
{
    expect_name("{prompt}", false, "a_cat_.._dog,_____");
}

static void templates_that_are_no_file_names_are_refused(void **state)
{
    static const char *const bad[] = {"",      "a/b",       "../x",       ".hidden",
                                      "{foo}", "{index:x}", "{index:99}", "{index:-2}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error = {0};
        assert_false(names_check(bad[i], &error));
        assert_int_equal(error.kind, ERROR_INPUT);
    }
}

static void a_long_name_is_cut_before_its_number(void **state)
{
    struct task task;
    char long_prompt[1000] = "", template[] = "{prompt}{prompt}{prompt}{prompt}";
    while (strlen(long_prompt) < 900)
        strcat(long_prompt, "word");
    task_init(&task);
    assert_true(task_set(&task, "prompt", long_prompt, NULL));
    char *name = names_make(template, &task, 3, true);
    assert_true(strlen(name) < 240);
    assert_string_equal(name + strlen(name) - 6, "-00003");
    free(name);
    task_clear(&task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_follow_their_template),
        cmocka_unit_test(a_template_without_index_cannot_overwrite),
        cmocka_unit_test(values_never_make_a_path),
        cmocka_unit_test(templates_that_are_no_file_names_are_refused),
        cmocka_unit_test(a_long_name_is_cut_before_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
