#include <string.h>

#include "coordinator/holdings.h"
#include "tests/test.h"

enum { MIB = 1 << 20 };

static const uint8_t iris[32] = {1}, otto[32] = {2}, one[32] = {3}, two[32] = {4};
static struct holdings holdings;

static int begin(void **state)
{
    holdings_init(&holdings);
    return 0;
}

static int end(void **state)
{
    holdings_clear(&holdings);
    return 0;
}

static void what_nobody_names_counts_until_it_is_named(void **state)
{
    struct error error = {0};
    assert_true(holdings_begin(&holdings, iris, 3 * MIB, 4 * MIB, NULL));
    assert_false(holdings_begin(&holdings, iris, 2 * MIB, 4 * MIB, &error));
    assert_int_equal(error.kind, ERROR_BUSY);
    assert_non_null(strstr(error.text, "3 MiB"));
    holdings_store(&holdings, iris, one, 3 * MIB);
    assert_false(holdings_begin(&holdings, iris, 2 * MIB, 4 * MIB, NULL));
    assert_true(holdings_begin(&holdings, otto, 2 * MIB, 4 * MIB, NULL));
    holdings_release(&holdings, one);
    holdings_release(&holdings, one);
    assert_int_equal(holdings_of(&holdings, iris), 0);
    assert_true(holdings_begin(&holdings, iris, 4 * MIB, 4 * MIB, NULL));
}

static void an_upload_that_ends_early_counts_no_more(void **state)
{
    assert_true(holdings_begin(&holdings, iris, 3 * MIB, 4 * MIB, NULL));
    holdings_end(&holdings, iris, 3 * MIB);
    assert_int_equal(holdings_of(&holdings, iris), 0);
}

static void a_file_that_two_send_is_the_first_one_s(void **state)
{
    assert_true(holdings_begin(&holdings, iris, 3 * MIB, 0, NULL));
    assert_true(holdings_begin(&holdings, otto, 3 * MIB, 0, NULL));
    holdings_store(&holdings, iris, two, 3 * MIB);
    holdings_store(&holdings, otto, two, 3 * MIB);
    assert_int_equal(holdings_of(&holdings, iris), 3 * MIB);
    assert_int_equal(holdings_of(&holdings, otto), 0);
}

static void small_files_count_more_and_sizes_do_not_wrap(void **state)
{
    int taken = 0;
    while (holdings_begin(&holdings, iris, 1, MIB, NULL))
        taken++;
    assert_int_equal(taken, 16);
    assert_false(holdings_begin(&holdings, iris, UINT64_MAX, 0, NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_nobody_names_counts_until_it_is_named),
        TEST(an_upload_that_ends_early_counts_no_more),
        TEST(a_file_that_two_send_is_the_first_one_s),
        TEST(small_files_count_more_and_sizes_do_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
