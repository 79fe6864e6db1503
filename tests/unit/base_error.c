#include <string.h>

#include "base/error.h"
#include "tests/test.h"

static void bytes_that_are_no_text_become_question_marks(void **state)
{
    struct error error = {0};
    error_set(&error, "cut %.4s, bad \xff, escape \x1b[2J, good 猫é\n", "aaa猫");
    assert_string_equal(error.text, "cut aaa?, bad ?, escape ?[2J, good 猫é\n");
}

static void a_sentence_longer_than_the_room_ends_on_a_whole_character(void **state)
{
    struct error error = {0};
    char wide[999] = "";
    while (strlen(wide) < sizeof wide - 4)
        strcat(wide, "猫");
    error_set_kind(&error, ERROR_INPUT, "x%s", wide);
    error_prefix(&error, "y");
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_int_equal(strncmp(error.text, "y: x猫", 7), 0);
    const char *last = error.text + strlen(error.text) - 3;
    assert_true(!strcmp(last, "猫") || strchr(last, '?'));
    assert_int_equal(error.kind, ERROR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_text_become_question_marks),
        cmocka_unit_test(a_sentence_longer_than_the_room_ends_on_a_whole_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
