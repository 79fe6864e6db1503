#include "coordinator/shares.h"
#include "coordinator/speeds.h"
#include "tests/test.h"

static const uint8_t sd[32] = {1}, other[32] = {2};

static void measure(struct speeds *speeds, uint32_t at_once, double value, int times)
{
    while (times--)
        speeds_measure(speeds, sd, 18, at_once, value);
}

static void
a_speed_follows_what_is_measured_and_first_values_count_equally(void **state)
{
    struct speeds speeds = {0};
    assert_true(speeds_expect(&speeds, sd, 18) == 0);
    measure(&speeds, 1, 200, 1);
    measure(&speeds, 1, 100, 1);
    assert_float_equal(speeds_expect(&speeds, sd, 18), 150, 1e-9);
    measure(&speeds, 1, 50, 40);
    assert_float_equal(speeds_expect(&speeds, sd, 18), 50, 1);
    speeds_clear(&speeds);
}

static void a_first_batch_that_waited_for_its_kernels_does_not_count(void **state)
{
    struct speeds speeds = {0};
    measure(&speeds, 2, 1, 2);
    assert_false(speeds_known(&speeds, sd));
    measure(&speeds, 2, 100, 2);
    assert_true(speeds_known(&speeds, sd));
    assert_false(speeds_known(&speeds, other));
    assert_float_equal(speeds_expect(&speeds, sd, 18), 100, 1e-9);
    speeds_clear(&speeds);
}

static void what_was_not_measured_is_judged_by_what_is_nearest(void **state)
{
    struct speeds speeds = {0};
    speeds_measure(&speeds, sd, 12, 1, 10);
    speeds_measure(&speeds, sd, 20, 1, 40);
    assert_float_equal(speeds_expect(&speeds, sd, 13), 10, 1e-9);
    assert_float_equal(speeds_expect(&speeds, sd, 19), 40, 1e-9);
    assert_true(speeds_expect(&speeds, other, 19) > 0);
    speeds_clear(&speeds);
}

static void the_best_batch_is_found_by_trying_smaller_ones(void **state)
{
    struct speeds speeds = {0};
    assert_int_equal(speeds_batch(&speeds, sd, 18, 8), 8);
    measure(&speeds, 8, 100, 16);
    assert_int_equal(speeds_batch(&speeds, sd, 18, 8), 4);
    measure(&speeds, 4, 130, 8);
    assert_int_equal(speeds_batch(&speeds, sd, 18, 8), 2);
    measure(&speeds, 2, 90, 4);
    assert_int_equal(speeds_batch(&speeds, sd, 18, 8), 4);
    /* A device that takes fewer now is asked for no more. */
    assert_int_equal(speeds_batch(&speeds, sd, 18, 2), 1);
    speeds_clear(&speeds);
}

static void usage_halves_in_a_day_and_no_clock_that_goes_back_harms_it(void **state)
{
    struct shares shares;
    shares_init(&shares);
    struct share *share = shares_of(&shares, sd);
    assert_ptr_equal(shares_of(&shares, sd), share);
    assert_ptr_not_equal(shares_of(&shares, other), share);
    share_charge(share, 1000, 1000000);
    assert_float_equal(share_used(share, 1000000 + 86400), 500, 1e-6);
    assert_float_equal(share_used(share, 0), 1000, 1e-6);
    share_charge(share, -2000, 1000000 + 86400);
    assert_float_equal(share_used(share, 1000000 + 86400), 0, 1e-6);
    shares_clear(&shares);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_speed_follows_what_is_measured_and_first_values_count_equally),
        cmocka_unit_test(a_first_batch_that_waited_for_its_kernels_does_not_count),
        cmocka_unit_test(what_was_not_measured_is_judged_by_what_is_nearest),
        cmocka_unit_test(the_best_batch_is_found_by_trying_smaller_ones),
        cmocka_unit_test(usage_halves_in_a_day_and_no_clock_that_goes_back_harms_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
