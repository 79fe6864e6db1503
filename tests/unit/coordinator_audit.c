#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/path.h"
#include "coordinator/audit.h"
#include "tests/folder.h"

static char *path;
static struct audit_chain chain;

static int set_up(void **state)
{
    int failed = make_folder(state);
    path = path_format("%s/audit.log", folder);
    return failed;
}

static int tear_down(void **state)
{
    free(path);
    return remove_folder(state);
}

static void write_lines(int first, int last)
{
    struct audit *audit = audit_open(path, NULL);
    assert_non_null(audit);
    for (int i = first; i <= last; i++)
        audit_write(audit, "line %d", i);
    audit_close(&audit);
}

/* Replaces the first `from` by `to`, which is as long. */
static void forge(const char *from, const char *to)
{
    struct buffer text = {0};
    assert_true(path_read(path, 100000, &text, NULL));
    char *found = strstr(buffer_text(&text), from);
    assert_non_null(found);
    memcpy(found, to, strlen(to));
    assert_true(path_write(path, text.data, text.size, 0600, NULL));
    buffer_clear(&text);
}

static void the_chain_goes_on_over_reopens(void **state)
{
    struct error error = {0};
    assert_true(audit_check(path, &chain, &error)); /* none yet */
    write_lines(1, 3);
    write_lines(4, 5);
    assert_true(audit_check(path, &chain, &error));
}

static void a_changed_line_breaks_the_chain_there(void **state)
{
    struct error error = {0};
    write_lines(1, 5);
    forge("line 3", "line 8");
    assert_false(audit_check(path, &chain, &error));
    assert_non_null(strstr(error.text, "line 3 was changed"));
}

static void a_removed_line_breaks_the_chain_behind_it(void **state)
{
    struct error error = {0};
    struct buffer text = {0};
    write_lines(1, 5);
    assert_true(path_read(path, 100000, &text, NULL));
    const char *second = strchr(buffer_text(&text), '\n') + 1;
    const char *third = strchr(second, '\n') + 1;
    size_t gone = (size_t)(third - second);
    memmove((char *)(uintptr_t)second, third, strlen(third));
    assert_true(path_write(path, text.data, text.size - gone, 0600, NULL));
    buffer_clear(&text);
    assert_false(audit_check(path, &chain, &error));
    assert_non_null(strstr(error.text, "line 2"));
}

static void text_from_outside_forges_no_line(void **state)
{
    struct error error = {0};
    struct buffer text = {0};
    struct audit *audit = audit_open(path, NULL);
    audit_write(audit, "name=%s", "x\n2026 revoked key=y");
    audit_close(&audit);
    assert_true(audit_check(path, &chain, &error));
    assert_true(path_read(path, 100000, &text, NULL));
    assert_non_null(strstr(buffer_text(&text), "x?2026"));
    buffer_clear(&text);
}

static void a_line_cut_by_a_crash_does_not_break_what_follows(void **state)
{
    struct error error = {0};
    struct buffer text = {0};
    write_lines(1, 3);
    assert_true(path_read(path, 100000, &text, NULL));
    assert_true(path_write(path, text.data, text.size - 40, 0600, NULL));
    buffer_clear(&text);
    write_lines(4, 5);
    assert_true(audit_check(path, &chain, &error));
    assert_int_equal(chain.lines, 5);
    assert_int_equal(chain.cut, 1);
    assert_int_equal(chain.first_cut, 3);
}

static void what_was_written_is_read_in_parts_and_synced_once(void **state)
{
    struct error error = {0};
    struct buffer text = {0};
    uint64_t size = 0;
    struct audit *audit = audit_open(path, NULL);
    assert_int_equal(audit_take_unsynced(audit), -1);
    audit_write(audit, "one");
    audit_write(audit, "two");
    assert_true(audit_take_unsynced(audit) >= 0);
    assert_int_equal(audit_take_unsynced(audit), -1);
    for (uint64_t at = 0; at == 0 || at < size; at = text.size)
        assert_true(audit_read(audit, at, 7, &text, &size, &error));
    assert_int_equal(text.size, size);
    assert_non_null(strstr(buffer_text(&text), "two #"));
    assert_true(audit_read(audit, UINT64_MAX, 7, &text, &size, &error));
    assert_int_equal(text.size, size);
    buffer_clear(&text);
    audit_close(&audit);
}

#define AUDIT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIT_TEST(the_chain_goes_on_over_reopens),
        AUDIT_TEST(a_changed_line_breaks_the_chain_there),
        AUDIT_TEST(a_removed_line_breaks_the_chain_behind_it),
        AUDIT_TEST(text_from_outside_forges_no_line),
        AUDIT_TEST(what_was_written_is_read_in_parts_and_synced_once),
        AUDIT_TEST(a_line_cut_by_a_crash_does_not_break_what_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
