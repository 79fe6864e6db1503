#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/pattern.h"

enum { HEAP_KIB = 1024 };

static enum pattern_found look(const char *text, enum pattern_of of, const char *at,
                               struct pattern_meter *meter)
{
    struct error error = {0};
    struct pattern *pattern = pattern_new(text, of, &error);
    if (!pattern)
        fail_msg("%s", error.text);
    enum pattern_found found = pattern_look(pattern, at, strlen(at), HEAP_KIB, meter);
    pattern_destroy(&pattern);
    return found;
}

static enum pattern_found found(const char *text, enum pattern_of of, const char *at)
{
    struct pattern_meter meter = {.most = 100000};
    return look(text, of, at, &meter);
}

static void words_are_found_anywhere_in_any_case(void **state)
{
    assert_int_equal(found("\\bgr\u00fcn\\b", PATTERN_OF_WORDS, "ein GR\u00dcN\n"),
                     PATTERN_FOUND);
    assert_int_equal(found("a.b", PATTERN_OF_WORDS, "A\nB"), PATTERN_FOUND);
    assert_int_equal(found("owl", PATTERN_OF_WORDS, "a cat"), PATTERN_CLEAR);
}

static void names_are_looked_at_from_their_beginning(void **state)
{
    assert_int_equal(found("down", PATTERN_OF_NAMES, "down.0"), PATTERN_FOUND);
    assert_int_equal(found("down", PATTERN_OF_NAMES, "up.down"), PATTERN_CLEAR);
    assert_int_equal(found("down", PATTERN_OF_NAMES, "Down"), PATTERN_CLEAR);
}

static void a_repetition_within_a_repetition_ends_undecided(void **state)
{
    char text[2001];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 2] = '!';
    text[sizeof text - 1] = 0;
    struct pattern_meter meter = {.most = 100000};
    assert_int_equal(look("(a+)+$", PATTERN_OF_WORDS, text, &meter), PATTERN_UNDECIDED);
    assert_in_range(meter.work, 100000, 103000);
}

static void the_steps_of_several_matches_are_added_up(void **state)
{
    struct pattern_meter meter = {.most = 30};
    assert_int_equal(look("cat", PATTERN_OF_NAMES, "cat", &meter), PATTERN_FOUND);
    for (int i = 0; i < 10; i++)
        look("cat", PATTERN_OF_NAMES, "cat", &meter);
    assert_int_equal(look("cat", PATTERN_OF_NAMES, "cat", &meter), PATTERN_UNDECIDED);
}

static void what_is_no_text_is_undecided(void **state)
{
    assert_int_equal(found("cat", PATTERN_OF_WORDS, "\xff cat"), PATTERN_UNDECIDED);
}

static void what_is_no_pattern_is_told_with_its_place(void **state)
{
    struct error error = {0};
    assert_null(pattern_new("(cat", PATTERN_OF_NAMES, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "\"(cat\" is no pattern at its character 5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_found_anywhere_in_any_case),
        cmocka_unit_test(names_are_looked_at_from_their_beginning),
        cmocka_unit_test(a_repetition_within_a_repetition_ends_undecided),
        cmocka_unit_test(the_steps_of_several_matches_are_added_up),
        cmocka_unit_test(what_is_no_text_is_undecided),
        cmocka_unit_test(what_is_no_pattern_is_told_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
