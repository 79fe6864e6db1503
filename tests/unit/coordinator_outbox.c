#include <string.h>

#include "coordinator/outbox.h"
#include "tests/test.h"

static struct outbox *outbox;
static uint64_t requests[16];
static size_t count;
static int64_t timed_since;

static int open_outbox(void **state)
{
    outbox = outbox_new();
    count = 0;
    return 0;
}

static int close_outbox(void **state)
{
    outbox_destroy(&outbox);
    return 0;
}

static void push(uint8_t peer, uint64_t request)
{
    uint8_t whole[PEER_ID] = {0, peer};
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    outbox_push(outbox, whole, &envelope);
}

static void take(void *context, const uint8_t peer[PEER_ID], const uint8_t *packed,
                 size_t size, int64_t since_us)
{
    Farm__Envelope *envelope = farm__envelope__unpack(NULL, size, packed);
    requests[count++] = envelope->request;
    timed_since = since_us;
    farm__envelope__free_unpacked(envelope, NULL);
}

static void messages_wait_for_the_change_of_their_turn(void **state)
{
    push(1, 10);
    outbox_stamp(outbox, 1);
    push(1, 11);
    push(2, 12);
    outbox_stamp(outbox, 2);
    outbox_release(outbox, 0, take, NULL);
    assert_int_equal(count, 0);
    outbox_release(outbox, 1, take, NULL);
    assert_int_equal(count, 1);
    outbox_release(outbox, 2, take, NULL);
    assert_int_equal(count, 3);
    assert_int_equal(requests[0], 10);
    assert_int_equal(requests[1], 11);
    assert_int_equal(requests[2], 12);
}

static void what_is_staged_is_not_sent_before_its_turn_ends(void **state)
{
    push(1, 10);
    outbox_release(outbox, 100, take, NULL);
    assert_int_equal(count, 0);
    outbox_stamp(outbox, 0);
    outbox_release(outbox, 0, take, NULL);
    assert_int_equal(count, 1);
}

static void a_peer_that_left_is_sent_nothing_of_what_waited(void **state)
{
    uint8_t left[PEER_ID] = {0, 1};
    push(1, 10);
    push(2, 11);
    outbox_stamp(outbox, 1);
    push(1, 12);
    outbox_forget(outbox, left);
    outbox_stamp(outbox, 2);
    outbox_release(outbox, 2, take, NULL);
    assert_int_equal(count, 1);
    assert_int_equal(requests[0], 11);
}

static void ahead(uint8_t peer, uint64_t request, uint64_t after, int64_t since_us)
{
    uint8_t whole[PEER_ID] = {0, peer};
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    outbox_push_ahead(outbox, whole, &envelope, after, since_us);
}

static void what_needs_an_earlier_change_alone_goes_ahead_of_what_waits(void **state)
{
    push(1, 10);
    ahead(1, 11, 2, 0); /* its job is of this turn */
    ahead(2, 12, 1, 0);
    outbox_release(outbox, 1, take, NULL);
    assert_int_equal(count, 0); /* the turn has not ended */
    outbox_stamp(outbox, 2);
    outbox_release(outbox, 1, take, NULL);
    assert_int_equal(count, 1);
    assert_int_equal(requests[0], 12);
    outbox_release(outbox, 2, take, NULL);
    assert_int_equal(count, 3);
    assert_int_equal(requests[1] + requests[2], 10 + 11);
}

static void a_peer_that_left_is_sent_nothing_ahead_either(void **state)
{
    uint8_t left[PEER_ID] = {0, 1};
    ahead(1, 10, 2, 0);
    ahead(2, 11, 2, 0);
    outbox_stamp(outbox, 2);
    ahead(1, 12, 0, 0);
    outbox_forget(outbox, left);
    outbox_stamp(outbox, 2);
    outbox_release(outbox, 2, take, NULL);
    assert_int_equal(count, 1);
    assert_int_equal(requests[0], 11);
}

static void what_is_timed_keeps_when_its_time_began(void **state)
{
    ahead(1, 9, 0, 1234);
    outbox_stamp(outbox, 1);
    outbox_release(outbox, 1, take, NULL);
    assert_int_equal(timed_since, 1234);
    push(1, 10);
    outbox_stamp(outbox, 2);
    outbox_release(outbox, 2, take, NULL);
    assert_int_equal(timed_since, 0);
}

#define OUTBOX_TEST(name)                                                              \
    cmocka_unit_test_setup_teardown(name, open_outbox, close_outbox)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTBOX_TEST(messages_wait_for_the_change_of_their_turn),
        OUTBOX_TEST(what_is_staged_is_not_sent_before_its_turn_ends),
        OUTBOX_TEST(a_peer_that_left_is_sent_nothing_of_what_waited),
        OUTBOX_TEST(what_needs_an_earlier_change_alone_goes_ahead_of_what_waits),
        OUTBOX_TEST(a_peer_that_left_is_sent_nothing_ahead_either),
        OUTBOX_TEST(what_is_timed_keeps_when_its_time_began),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
