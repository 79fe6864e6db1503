#include "base/buffer.h"

#include <string.h>

#include "tests/test.h"

static void appended_pieces_stand_one_behind_the_other(void **state)
{
    struct buffer buffer = {0};
    for (int i = 0; i < 1000; i++)
        assert_true(buffer_append(&buffer, "abc", 3, NULL));
    assert_true(buffer_printf(&buffer, NULL, "%d", 42));
    assert_int_equal(buffer.size, 3002);
    assert_string_equal(buffer_text(&buffer) + 2997, "abc42");
    buffer_clear(&buffer);
    assert_string_equal(buffer_text(&buffer), "");
}

static void the_limit_is_kept_and_named_and_the_content_stays(void **state)
{
    struct buffer buffer = {.limit = 4};
    struct error error = {0};
    assert_true(buffer_append(&buffer, "abc", 3, &error));
    assert_false(buffer_append(&buffer, "de", 2, &error));
    assert_string_equal(error.text, "more than the limit of 4 bytes");
    assert_false(buffer_printf(&buffer, &error, "%s", "de"));
    assert_true(buffer_append(&buffer, "d", 1, &error));
    assert_string_equal(buffer_text(&buffer), "abcd");
    buffer_clear(&buffer);
}

static void a_size_that_would_wrap_around_is_refused(void **state)
{
    struct buffer buffer = {0};
    struct error error = {0};
    assert_true(buffer_append(&buffer, "a", 1, &error));
    assert_null(buffer_room(&buffer, SIZE_MAX, &error));
    assert_null(buffer_room(&buffer, SIZE_MAX - 1, &error));
    buffer_clear(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_pieces_stand_one_behind_the_other),
        cmocka_unit_test(the_limit_is_kept_and_named_and_the_content_stays),
        cmocka_unit_test(a_size_that_would_wrap_around_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
