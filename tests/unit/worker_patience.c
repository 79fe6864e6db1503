#include "tests/test.h"

#include "proto/files/transfer.h"
#include "worker/patience.h"

enum { LEAST_MS = 10000 };

static struct patience patience;

static int begin(void **state)
{
    patience_init(&patience, LEAST_MS, 0);
    return 0;
}

static void a_quick_link_is_silent_for_the_least_time_alone(void **state)
{
    for (int64_t now = 100; now <= 1000; now += 100)
        patience_heard(&patience, TRANSFER_FRAME, now);
    assert_false(patience_ends(&patience, TRANSFER_FRAME, 1000 + LEAST_MS));
    assert_true(patience_ends(&patience, TRANSFER_FRAME, 1001 + LEAST_MS));
}

/* 10 KB/s: a frame takes 26 s. */
static void a_slow_link_is_not_asked_again_while_a_frame_is_on_its_way(void **state)
{
    const int64_t frame_ms = TRANSFER_FRAME / 10;
    unsigned again = 0;
    int64_t now = 0, next = frame_ms;
    for (int frames = 0; frames < 20; now += 100) {
        if (now >= next) {
            patience_heard(&patience, TRANSFER_FRAME, now);
            next += frame_ms;
            frames++;
        }
        again += patience_ends(&patience, TRANSFER_FRAME, now);
    }
    assert_int_equal(again, 1); /* before anything was known of it */
}

static void whoever_answers_nothing_is_asked_ever_more_rarely(void **state)
{
    int64_t last = 0, waited = 0;
    for (int64_t now = 0; now < 3600 * 1000; now += 1000)
        if (patience_ends(&patience, TRANSFER_FRAME, now)) {
            assert_true(now - last >= waited || now - last >= 600 * 1000);
            waited = now - last;
            last = now;
        }
    assert_in_range(waited, 600 * 1000, 602 * 1000);
}

static void a_link_that_was_slow_and_is_quick_is_soon_taken_for_quick(void **state)
{
    int64_t now = 60000;
    patience_heard(&patience, TRANSFER_FRAME, now);
    assert_false(patience_ends(&patience, TRANSFER_FRAME, now + 200000));
    for (int i = 0; i < 8; i++)
        patience_heard(&patience, TRANSFER_FRAME, now += 10);
    assert_true(patience_ends(&patience, TRANSFER_FRAME, now + LEAST_MS + 1));
}

static void time_without_anything_to_wait_for_measures_nothing(void **state)
{
    patience_heard(&patience, TRANSFER_FRAME, 50);
    patience_rest(&patience, 900000);
    patience_heard(&patience, TRANSFER_FRAME, 900050);
    assert_true(patience_ends(&patience, TRANSFER_FRAME, 900051 + LEAST_MS));
}

/* Way there and back takes 40 ms; the last range of a small file is 100 bytes. */
static void a_range_of_few_bytes_makes_no_quick_link_slow(void **state)
{
    int64_t now = 0;
    for (int i = 0; i < 8; i++)
        patience_heard(&patience, TRANSFER_FRAME, now += 10);
    patience_heard(&patience, 100, now += 40);
    assert_true(patience_ends(&patience, TRANSFER_FRAME, now + LEAST_MS + 1));
}

/* 100 bytes a second: whoever is gone was asked for as many as come in 20 s. */
static void little_is_waited_for_as_long_as_little_takes(void **state)
{
    patience_heard(&patience, 2000, 20000);
    assert_false(patience_ends(&patience, 2000, 20000 + 80000));
    assert_true(patience_ends(&patience, 2000, 20000 + 80001));
}

static void one_of_whom_nothing_is_known_is_taken_for_as_slow_as_another(void **state)
{
    struct patience other;
    patience_heard(&patience, TRANSFER_FRAME, 30000);
    patience_init(&other, LEAST_MS, 30000);
    patience_expect(&other, &patience);
    assert_false(patience_ends(&other, TRANSFER_FRAME, 30000 + 120000));
    assert_true(patience_ends(&other, TRANSFER_FRAME, 30000 + 120001));
}

#define PATIENCE_TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PATIENCE_TEST(a_quick_link_is_silent_for_the_least_time_alone),
        PATIENCE_TEST(a_slow_link_is_not_asked_again_while_a_frame_is_on_its_way),
        PATIENCE_TEST(whoever_answers_nothing_is_asked_ever_more_rarely),
        PATIENCE_TEST(a_link_that_was_slow_and_is_quick_is_soon_taken_for_quick),
        PATIENCE_TEST(a_range_of_few_bytes_makes_no_quick_link_slow),
        PATIENCE_TEST(little_is_waited_for_as_long_as_little_takes),
        PATIENCE_TEST(one_of_whom_nothing_is_known_is_taken_for_as_slow_as_another),
        PATIENCE_TEST(time_without_anything_to_wait_for_measures_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
