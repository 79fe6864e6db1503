#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/kitty.h"
#include "tests/test.h"

/* Reads what was put, as a terminal would; gives the bytes of the picture. */
static size_t read_back(struct buffer *put, uint8_t *into, size_t room)
{
    const char *at = buffer_text(put);
    size_t size = 0, part;
    for (bool more = true; more; at += 2) {
        assert_memory_equal(at, "\x1b_G", 3);
        const char *data = strchr(at, ';') + 1, *end = strchr(data, '\x1b');
        assert_true(end - data <= 4096 && end[1] == '\\');
        more = memcmp(data - 4, "m=1;", 4) == 0;
        assert_int_equal(sodium_base642bin(into + size, room - size, data,
                                           (size_t)(end - data), NULL, &part, NULL,
                                           sodium_base64_VARIANT_ORIGINAL),
                         0);
        size += part;
        at = end;
    }
    assert_int_equal(*at, 0);
    return size;
}

static void a_picture_is_put_in_parts_that_a_terminal_takes(void **state)
{
    static const size_t sizes[] = {1, 3072, 3073, 10000};
    uint8_t picture[10000], found[10000];
    for (size_t i = 0; i < sizeof picture; i++)
        picture[i] = (uint8_t)(i * 31 / 7);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct buffer put = {0};
        kitty_put(picture, sizes[s], 8, &put);
        assert_non_null(strstr(buffer_text(&put), "a=T,f=100,q=2,"));
        assert_non_null(strstr(buffer_text(&put), "C=1,r=8,"));
        assert_int_equal(read_back(&put, found, sizeof found), sizes[s]);
        assert_memory_equal(found, picture, sizes[s]);
        buffer_clear(&put);
    }
}

static void only_terminals_that_say_so_are_sent_pictures(void **state)
{
    setenv("TERM", "xterm-256color", 1);
    unsetenv("TERM_PROGRAM");
    assert_false(kitty_is_there());
    setenv("TERM_PROGRAM", "WezTerm", 1);
    assert_true(kitty_is_there());
    unsetenv("TERM_PROGRAM");
    setenv("TERM", "xterm-kitty", 1);
    assert_true(kitty_is_there());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_is_put_in_parts_that_a_terminal_takes),
        cmocka_unit_test(only_terminals_that_say_so_are_sent_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
