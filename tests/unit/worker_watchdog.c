#include "tests/test.h"

#include "worker/watchdog.h"

static struct watchdog fresh(void)
{
    return (struct watchdog){.factor = 8, .least_ms = 15000, .first_ms = 600000};
}

/* One batch of steps `step_ms` apart; returns when it ended. */
static int64_t render(struct watchdog *dog, uint64_t side, size_t count, int64_t now,
                      int64_t step_ms)
{
    watchdog_start(dog, side, side, count, now);
    for (int step = 0; step < 4; step++)
        watchdog_alive(dog, now += step_ms);
    watchdog_stop(dog, true, now += step_ms);
    return now;
}

static void nothing_is_stuck_while_nothing_renders(void **state)
{
    struct watchdog dog = fresh();
    assert_int_equal(watchdog_left(&dog, 1000000000), INT64_MAX);
    render(&dog, 512, 1, 0, 1000);
    assert_int_equal(watchdog_left(&dog, 1000000000), INT64_MAX);
}

static void an_unmeasured_shape_may_take_minutes(void **state)
{
    struct watchdog dog = fresh();
    watchdog_start(&dog, 512, 512, 1, 1000);
    assert_int_equal(watchdog_left(&dog, 1000), 600000);
    assert_int_equal(watchdog_left(&dog, 600999), 1);
    assert_int_equal(watchdog_left(&dog, 601001), 0);
}

static void a_measured_shape_may_take_eight_of_its_steps(void **state)
{
    struct watchdog dog = fresh();
    int64_t now = render(&dog, 512, 1, 0, 5000);
    watchdog_start(&dog, 512, 512, 1, now);
    assert_in_range(watchdog_limit(&dog), 39990, 40010);
    watchdog_alive(&dog, now + 39000);
    assert_in_range(watchdog_left(&dog, now + 39000), 39990, 40010);
}

static void fast_steps_still_get_the_shortest_limit(void **state)
{
    struct watchdog dog = fresh();
    int64_t now = render(&dog, 64, 1, 0, 20);
    watchdog_start(&dog, 64, 64, 1, now);
    assert_int_equal(watchdog_limit(&dog), 15000);
}

static void building_programs_does_not_count_as_speed(void **state)
{
    struct watchdog dog = fresh();
    int64_t now = render(&dog, 512, 1, 0, 4000);
    watchdog_forget_shapes(&dog);
    now = render(&dog, 512, 1, now, 300000);
    watchdog_start(&dog, 512, 512, 1, now);
    assert_in_range(watchdog_limit(&dog), 31990, 32010);
}

static void a_batch_that_failed_measures_nothing(void **state)
{
    struct watchdog dog = fresh();
    watchdog_start(&dog, 512, 512, 4, 0);
    watchdog_stop(&dog, false, 10);
    watchdog_start(&dog, 512, 512, 4, 20);
    assert_int_equal(watchdog_limit(&dog), 600000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_stuck_while_nothing_renders),
        cmocka_unit_test(an_unmeasured_shape_may_take_minutes),
        cmocka_unit_test(a_measured_shape_may_take_eight_of_its_steps),
        cmocka_unit_test(fast_steps_still_get_the_shortest_limit),
        cmocka_unit_test(building_programs_does_not_count_as_speed),
        cmocka_unit_test(a_batch_that_failed_measures_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
