#include <string.h>

#include <stdlib.h>
#include <time.h>

#include "client/command.h"
#include "client/deadline.h"
#include "tests/test.h"

/* Reads the words as what follows `render`. */
static bool read(struct arguments *arguments, char **words, struct error *error)
{
    int argc = 0, used;
    while (words[argc])
        argc++;
    const struct command *command = command_find(argc, words, &used);
    assert_non_null(command);
    return arguments_read(arguments, command, argc - used + 1, words + used - 1, error);
}

static void options_are_read_in_every_form_and_the_last_one_wins(void **state)
{
    struct arguments arguments;
    char *words[] = {"render", "a cat",   "--steps=5", "--seed", "-1",    "-n4",
                     "-o",     "out",     "-qy",       "--axis", "cfg=1", "--axis",
                     "eta=0",  "--steps", "6",         "--",     "--dog", NULL};
    assert_true(read(&arguments, words, NULL));
    assert_string_equal(arguments_value(&arguments, "steps", NULL), "6");
    assert_string_equal(arguments_value(&arguments, "seed", NULL), "-1");
    assert_string_equal(arguments_value(&arguments, "images", NULL), "4");
    assert_string_equal(arguments_value(&arguments, "out", NULL), "out");
    assert_string_equal(arguments_value(&arguments, "cfg", "7"), "7");
    assert_true(arguments.quiet);
    assert_true(arguments_has(&arguments, "yes"));
    size_t at = 0;
    assert_string_equal(arguments_next(&arguments, "axis", &at), "cfg=1");
    assert_string_equal(arguments_next(&arguments, "axis", &at), "eta=0");
    assert_null(arguments_next(&arguments, "axis", &at));
    assert_int_equal(arguments.rest_count, 2);
    assert_string_equal(arguments.rest[1], "--dog");
    arguments_clear(&arguments);
}

static int64_t due(const char *text, int64_t now)
{
    int64_t deadline = -1;
    struct error error = {0};
    if (!deadline_read(text, now, &deadline, &error))
        fail_msg("%s", error.text);
    return deadline;
}

static void a_deadline_is_a_time_from_now_or_of_the_clock(void **state)
{
    setenv("TZ", "UTC", 1);
    tzset();
    int64_t noon = 1800014400; /* 2027-01-15 12:00:00 UTC */
    assert_int_equal(due("90s", noon), noon + 90);
    assert_int_equal(due("2h", noon), noon + 7200);
    assert_int_equal(due("1d", noon), noon + 86400);
    assert_int_equal(due("18:30", noon), noon + 23400);
    assert_int_equal(due("11:00", noon), noon + 23 * 3600);
    assert_int_equal(due("2027-01-15", noon), noon + 12 * 3600 - 1);
    assert_int_equal(due("2027-01-15 13:00", noon), noon + 3600);
    assert_int_equal(due("2027-01-15T13:00:05Z", noon), noon + 3605);
    assert_int_equal(due("1800020000", noon), 1800020000);
    assert_int_equal(due("0", noon), 0);
    static const char *const wrong[] = {"",           "soon",  "2x",
                                        "25:00",      "12:61", "2027-13-01",
                                        "2027-02-31", "-1h",   "2027-01-15 13:00 PM",
                                        "1 h"};
    for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++) {
        struct error error = {0};
        int64_t deadline;
        if (deadline_read(wrong[w], noon, &deadline, &error))
            fail_msg("\"%s\" was taken for %lld", wrong[w], (long long)deadline);
    }
    assert_int_equal(due("12:00", noon), noon + 86400);
    struct error error = {0};
    assert_false(deadline_read("2026-12-31", noon, &(int64_t){0}, &error));
    assert_non_null(strstr(error.text, "has passed"));
}

static void expect_refused(char **words, const char *says)
{
    struct arguments arguments;
    struct error error = {0};
    assert_false(read(&arguments, words, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    if (!strstr(error.text, says))
        fail_msg("expected \"%s\", it says \"%s\"", says, error.text);
    arguments_clear(&arguments);
}

static void what_is_unknown_or_incomplete_is_named(void **state)
{
    expect_refused((char *[]){"render", "--stepz=4", "x", NULL},
                   "render has no option --stepz;");
    expect_refused((char *[]){"render", "--prompt", "x", NULL}, "no option --prompt");
    expect_refused((char *[]){"jobs", "--steps", "4", NULL},
                   "jobs has no option --steps");
    expect_refused((char *[]){"render", "-x", NULL}, "no option -x");
    expect_refused((char *[]){"render", "-seed", "4", NULL}, "no option -seed");
    expect_refused((char *[]){"render", "--steps", NULL}, "--steps needs a value");
    expect_refused((char *[]){"render", "x", "-o", NULL}, "-o needs a value");
    expect_refused((char *[]){"render", "--json=1", NULL}, "--json takes no value");
    expect_refused((char *[]){"wait", NULL}, "something is missing");
    expect_refused((char *[]){"wait", "a", "b", NULL}, "\"b\" is too much");
    expect_refused((char *[]){"token", "new", "x", NULL}, "\"x\" is too much");
}

static void commands_of_two_words_are_found(void **state)
{
    int words;
    char *model_add[] = {"model", "add", "x", NULL}, *model[] = {"model", NULL};
    assert_string_equal(command_find(3, model_add, &words)->name, "model add");
    assert_int_equal(words, 2);
    assert_null(command_find(1, model, &words));
    assert_null(command_find(0, model, &words));
}

static void every_command_says_what_it_does(void **state)
{
    for (const struct command *const *command = commands; *command; command++) {
        assert_non_null((*command)->usage);
        assert_true(strlen((*command)->help) > 10);
        assert_non_null((*command)->run);
        assert_true((*command)->least <= (*command)->most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read_in_every_form_and_the_last_one_wins),
        cmocka_unit_test(a_deadline_is_a_time_from_now_or_of_the_clock),
        cmocka_unit_test(what_is_unknown_or_incomplete_is_named),
        cmocka_unit_test(commands_of_two_words_are_found),
        cmocka_unit_test(every_command_says_what_it_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
