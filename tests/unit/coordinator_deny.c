#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "coordinator/deny.h"
#include "proto/wire.h"
#include "tests/folder.h"

static const Farm__Role ADMIN = FARM__ROLE__ROLE_ADMIN,
                        SUBMIT = FARM__ROLE__ROLE_SUBMIT;

static struct deny *open_list(const char *text, struct error *error)
{
    char *path = path_format("%s/deny", folder);
    assert_true(path_write(path, text, strlen(text), 0600, NULL));
    struct deny *list = deny_open(path, error);
    free(path);
    return list;
}

/* What the list says of a job with this prompt, and an option beside it: the rule's name,
 * "" when it is permitted. */
static const char *judged(const struct deny *list, Farm__Role role, const char *prompt,
                          const char *option, const char *value)
{
    static char rule[DENY_NAME];
    double share;
    struct error error = {0};
    ProtobufCBinaryData prompts[] = {wire_text(prompt)}, values[] = {wire_text(value)};
    Farm__Axis axis = FARM__AXIS__INIT, *axes[] = {&axis};
    axis.name = wire_text(option);
    axis.values = values;
    axis.n_values = 1;
    Farm__Job job = FARM__JOB__INIT;
    job.prompts = prompts;
    job.n_prompts = 1;
    job.axes = axes;
    job.n_axes = *option ? 1 : 0;
    bool ok = deny_permits(list, role, &job, rule, &share, &error);
    assert_int_equal(ok, !*rule);
    assert_true(ok || (error.kind == ERROR_INPUT && strstr(error.text, rule)));
    assert_true(share >= 0 && share < 2);
    return rule;
}

static void a_rule_holds_for_its_roles_in_any_case_and_form(void **state)
{
    struct deny *list = open_list("# words\n\n"
                                  "submit no-gore \\b(gore|snuff)\\b\n"
                                  "all names   jane\\s+doe\n",
                                  NULL);
    assert_int_equal(deny_count(list), 2);
    assert_string_equal(judged(list, SUBMIT, "a cat", "", ""), "");
    assert_string_equal(judged(list, SUBMIT, "so much GORE!", "", ""), "no-gore");
    assert_string_equal(judged(list, ADMIN, "so much GORE!", "", ""), "");
    assert_string_equal(judged(list, ADMIN, "Jane\n Doe", "", ""), "names");
    assert_string_equal(judged(list, SUBMIT, "go\u200bre", "", ""), "no-gore");
    assert_string_equal(judged(list, SUBMIT, "\uff47\uff4f\uff52\uff45", "", ""),
                        "no-gore");
    assert_string_equal(judged(list, SUBMIT, "category", "", ""), "");
    deny_close(&list);
}

static void every_alternative_axis_and_negative_prompt_is_looked_at(void **state)
{
    struct deny *list = open_list("all words gore\n", NULL);
    assert_string_equal(judged(list, SUBMIT, "a {cat|dog} {in snow|in gore}", "", ""),
                        "words");
    assert_string_equal(judged(list, SUBMIT, "a g{ore|reat cat}", "", ""), "words");
    assert_string_equal(judged(list, SUBMIT, "a cat", "negative", "gore"), "words");
    assert_string_equal(judged(list, SUBMIT, "a cat", "prompt", "gore"), "words");
    assert_string_equal(judged(list, SUBMIT, "a cat", "sampler", "gore"), "");
    deny_close(&list);
}

static void a_line_that_is_no_rule_is_named(void **state)
{
    static const char *const wrong[][2] = {
        {"all one a\nsubmit two\n", "deny:2"}, {"worker one a\n", "roles"},
        {"all one (a\n", "character 3"},       {"all Ein/e a\n", "name"},
        {"all slow ^(a+)+$\n", "steps"},       {"all slow (x|xx)*[yz]$\n", "steps"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error error = {0};
        assert_null(open_list(wrong[i][0], &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_non_null(strstr(error.text, wrong[i][1]));
    }
    assert_null(deny_open("/nowhere/deny", NULL));
}

static void more_prompts_than_can_be_read_are_refused(void **state)
{
    struct deny *list = open_list("all one 1$\n", NULL);
    char many[200] = ""; /* two million prompts */
    for (int g = 0; g < 7; g++)
        strcat(many, "{2|3|4|5|6|7|8|9}");
    assert_string_equal(judged(list, SUBMIT, many, "", ""), "one");
    deny_close(&list);
}

static void no_prompt_keeps_the_loop_for_long(void **state)
{
    struct deny *list = open_list("all square a.*b.*c.*d$\n", NULL);
    char *prompt = malloc(65001);
    memset(prompt, 'a', 65000);
    for (size_t i = 0; i < 65000; i += 3)
        prompt[i] = "abc"[i / 3 % 3];
    prompt[64000] = 'd';
    prompt[65000] = 0;
    /* to the end it would take days */
    assert_string_equal(judged(list, SUBMIT, prompt, "", ""), "square");
    free(prompt);
    deny_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_holds_for_its_roles_in_any_case_and_form),
        cmocka_unit_test(every_alternative_axis_and_negative_prompt_is_looked_at),
        cmocka_unit_test(a_line_that_is_no_rule_is_named),
        cmocka_unit_test(more_prompts_than_can_be_read_are_refused),
        cmocka_unit_test(no_prompt_keeps_the_loop_for_long),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
