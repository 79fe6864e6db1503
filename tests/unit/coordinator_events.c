#include <string.h>

#include "coordinator/events.h"
#include "tests/test.h"

enum { KEPT = 64 };

/* What was sent, in order. */
static struct {
    size_t count;
    Farm__Envelope__BodyCase body[KEPT];
    uint64_t seq[KEPT]; /* of Lost: to */
    uint8_t peer[KEPT], job[KEPT];
} sent;

static const uint8_t owner[32] = {1}, other_owner[32] = {2};
static const uint8_t one[PEER_ID] = {0, 1}, two[PEER_ID] = {0, 2};
static struct events *events;

static void keep(const uint8_t peer[PEER_ID], Farm__Envelope__BodyCase body,
                 uint64_t seq, uint8_t job)
{
    assert_true(sent.count < KEPT);
    sent.body[sent.count] = body;
    sent.seq[sent.count] = seq;
    sent.job[sent.count] = job;
    sent.peer[sent.count++] = peer[1];
}

static void take(void *context, const uint8_t peer[PEER_ID],
                 const Farm__Envelope *envelope)
{
    if (envelope->body_case == FARM__ENVELOPE__BODY_EVENT)
        keep(peer, envelope->body_case, envelope->event->seq,
             envelope->event->job.len ? envelope->event->job.data[0] : 0);
    else
        keep(peer, envelope->body_case, envelope->lost->to, 0);
}

static void snapshot(void *context, const uint8_t peer[PEER_ID], uint64_t request,
                     uint64_t seq, const uint8_t *job, const uint8_t *whose)
{
    keep(peer, FARM__ENVELOPE__BODY_SNAPSHOT, seq, job ? job[0] : 0);
}

static int open_events(void **state)
{
    memset(&sent, 0, sizeof sent);
    events = events_new(take, snapshot, NULL);
    return 0;
}

static int close_events(void **state)
{
    events_destroy(&events);
    return 0;
}

static void push(uint8_t job, const uint8_t whose[32])
{
    uint8_t id[16] = {job};
    Farm__Event event = FARM__EVENT__INIT;
    event.job = (ProtobufCBinaryData){sizeof id, id};
    events_push(events, &event, id, whose);
}

static void a_snapshot_comes_first_and_events_are_numbered_without_gaps(void **state)
{
    push(9, owner); /* before the watch: part of its snapshot */
    events_watch(events, one, 5, NULL, NULL, 10);
    push(1, owner);
    push(2, owner);
    events_deliver(events);
    assert_int_equal(sent.count, 3);
    assert_int_equal(sent.body[0], FARM__ENVELOPE__BODY_SNAPSHOT);
    assert_int_equal(sent.seq[1], sent.seq[0] + 1);
    assert_int_equal(sent.seq[2], sent.seq[0] + 2);
    assert_int_equal(sent.job[2], 2);
}

static void no_more_is_sent_than_there_is_credit_and_the_rest_follows(void **state)
{
    events_watch(events, one, 5, NULL, NULL, 2);
    for (uint8_t job = 1; job <= 5; job++)
        push(job, owner);
    events_deliver(events);
    events_deliver(events);
    assert_int_equal(sent.count, 3);
    events_credit(events, one, 10);
    assert_int_equal(sent.count, 6);
    assert_int_equal(sent.seq[5], sent.seq[0] + 5);
}

static void a_watch_of_one_job_hears_of_no_other_and_has_no_gaps(void **state)
{
    uint8_t job[16] = {2};
    events_watch(events, one, 5, job, NULL, 10);
    push(1, owner);
    push(2, owner);
    push(1, owner);
    push(2, owner);
    events_deliver(events);
    assert_int_equal(sent.count, 3);
    assert_int_equal(sent.job[1], 2);
    assert_int_equal(sent.seq[2], sent.seq[0] + 2);
}

static void an_owners_watch_of_all_hears_of_its_own_jobs(void **state)
{
    events_watch(events, one, 5, NULL, owner, 10);
    push(1, other_owner);
    push(2, owner);
    events_deliver(events);
    assert_int_equal(sent.count, 2);
    assert_int_equal(sent.job[1], 2);
}

static void who_falls_behind_the_ring_is_told_lost_and_gets_a_snapshot(void **state)
{
    events_watch(events, one, 5, NULL, NULL, 0);
    events_watch(events, two, 5, NULL, NULL, 1);
    for (size_t e = 0; e <= EVENTS_RING; e++)
        push(1, owner);
    events_credit(events, one, 5);
    assert_int_equal(sent.body[2], FARM__ENVELOPE__BODY_LOST);
    assert_int_equal(sent.seq[2], EVENTS_RING + 1);
    assert_int_equal(sent.body[3], FARM__ENVELOPE__BODY_SNAPSHOT);
    assert_int_equal(sent.seq[3], EVENTS_RING + 1);
    push(1, owner);
    events_deliver(events);
    assert_int_equal(sent.seq[4], EVENTS_RING + 2);
}

static void a_stalled_connection_gets_nothing_until_it_shows_credit(void **state)
{
    events_watch(events, one, 5, NULL, NULL, 100);
    push(1, owner);
    events_deliver(events);
    events_stalled(events, one);
    push(1, owner);
    events_deliver(events);
    assert_int_equal(sent.count, 2);
    events_credit(events, one, 5);
    assert_int_equal(sent.count, 4);
    assert_int_equal(sent.body[2], FARM__ENVELOPE__BODY_LOST);
    assert_int_equal(sent.body[3], FARM__ENVELOPE__BODY_SNAPSHOT);
}

static void who_stopped_watching_gets_nothing(void **state)
{
    events_watch(events, one, 5, NULL, NULL, 100);
    assert_true(events_watched(events));
    events_unwatch(events, one);
    assert_false(events_watched(events));
    push(1, owner);
    events_deliver(events);
    events_credit(events, one, 5);
    assert_int_equal(sent.count, 1);
}

#define EVENTS_TEST(name)                                                              \
    cmocka_unit_test_setup_teardown(name, open_events, close_events)

static void show(uint8_t job, uint64_t index, uint32_t step, int64_t now)
{
    uint8_t id[16] = {job}, png[] = {1};
    Farm__AttemptId attempt = FARM__ATTEMPT_ID__INIT;
    Farm__Preview preview = FARM__PREVIEW__INIT;
    preview.attempt = &attempt;
    preview.index = index;
    preview.step = step;
    preview.png = (ProtobufCBinaryData){sizeof png, png};
    Farm__Event event = FARM__EVENT__INIT;
    event.job = (ProtobufCBinaryData){sizeof id, id};
    event.preview = &preview;
    events_preview(events, &event, owner, now);
}

static void of_each_task_the_newest_preview_is_shown_while_there_is_credit(void **state)
{
    events_watch(events, one, 5, NULL, NULL, 0);
    assert_false(events_want_previews(events, (uint8_t[16]){1}, owner));
    events_previews(events, one, 2);
    assert_true(events_want_previews(events, (uint8_t[16]){1}, owner));
    for (uint32_t step = 1; step <= 5; step++)
        for (uint8_t index = 1; index <= 3; index++)
            show(index, index, step, 0);
    events_deliver(events);
    assert_int_equal(sent.count, 3); /* the snapshot, two previews */
    assert_int_equal(sent.job[1], 1);
    assert_int_equal(sent.job[2], 2);
    assert_int_equal(sent.seq[2], 0);
    show(1, 1, 6, 0);
    events_previews(events, one, 1);
    events_previews(events, one, 1);
    events_previews(events, one, 1);
    assert_int_equal(sent.count, 5);
    assert_int_equal(sent.job[3], 3); /* whoever waited longest first */
    assert_int_equal(sent.job[4], 1);
}

static void previews_are_kept_for_a_moment_and_in_a_bounded_number(void **state)
{
    for (uint64_t index = 0; index < 2 * PREVIEWS_MOST; index++)
        show(1, index, 1, 0);
    events_watch(events, one, 5, NULL, NULL, 0);
    for (int i = 0; i < 3; i++)
        events_previews(events, one, UINT32_MAX);
    assert_int_equal(sent.count, 1 + 3 * EVENTS_PREVIEWS);
    show(1, 0, 2, PREVIEWS_MS + 1);
    events_previews(events, one, UINT32_MAX);
    assert_int_equal(sent.count, 2 + 3 * EVENTS_PREVIEWS);
}

static void previews_go_to_who_may_see_the_job(void **state)
{
    uint8_t job[16] = {1};
    events_watch(events, one, 5, NULL, other_owner, 0);
    events_watch(events, two, 5, job, NULL, 0);
    events_previews(events, one, 9);
    events_previews(events, two, 9);
    show(1, 0, 1, 0);
    show(2, 0, 1, 0);
    events_deliver(events);
    assert_int_equal(sent.count, 3);
    assert_int_equal(sent.peer[2], two[1]);
    assert_int_equal(sent.job[2], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVENTS_TEST(a_snapshot_comes_first_and_events_are_numbered_without_gaps),
        EVENTS_TEST(of_each_task_the_newest_preview_is_shown_while_there_is_credit),
        EVENTS_TEST(previews_are_kept_for_a_moment_and_in_a_bounded_number),
        EVENTS_TEST(previews_go_to_who_may_see_the_job),
        EVENTS_TEST(no_more_is_sent_than_there_is_credit_and_the_rest_follows),
        EVENTS_TEST(a_watch_of_one_job_hears_of_no_other_and_has_no_gaps),
        EVENTS_TEST(an_owners_watch_of_all_hears_of_its_own_jobs),
        EVENTS_TEST(who_falls_behind_the_ring_is_told_lost_and_gets_a_snapshot),
        EVENTS_TEST(a_stalled_connection_gets_nothing_until_it_shows_credit),
        EVENTS_TEST(who_stopped_watching_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
