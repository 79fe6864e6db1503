#include <string.h>

#include "coordinator/queue.h"
#include "tests/test.h"

static const int64_t LEASE = 30000;

static struct queue *queue;
static uint64_t orders;

static int open_queue(void **state)
{
    queue = queue_new(1000, LEASE);
    orders = 0;
    return 0;
}

static int close_queue(void **state)
{
    queue_destroy(&queue);
    return 0;
}

static struct queue_job *add(uint8_t id, uint64_t tasks, bool latents)
{
    uint8_t whole[QUEUE_JOB_ID] = {id};
    return queue_add(queue, whole, ++orders, tasks, latents);
}

/* Leases the next task for `node`, with a key made of `key`. */
static struct queue_lease *lease_next(struct queue_job *job, uint32_t node, uint8_t key,
                                      int64_t now)
{
    uint64_t index;
    uint8_t whole[QUEUE_KEY] = {key};
    return queue_next(job, node, true, now, &index)
               ? queue_lease(queue, job, index, whole, node, now)
               : NULL;
}

static unsigned calls;
static void count_task(void *context, struct queue_job *job, uint64_t index)
{
    calls++;
}
static void count_lease(void *context, struct queue_lease *lease)
{
    ++*(unsigned *)context;
}
static void ignore_lease(void *context, struct queue_lease *lease)
{
}

static void tasks_are_leased_in_order_and_attempt_ids_never_repeat(void **state)
{
    struct queue_job *job = add(1, 3, false);
    for (uint8_t t = 0; t < 3; t++) {
        struct queue_lease *lease = lease_next(job, 1, t, 0);
        assert_int_equal(lease->index, t);
        assert_int_equal(lease->id.epoch, 1000);
        assert_int_equal(lease->id.counter, t + 1u);
    }
    assert_null(lease_next(job, 1, 9, 0));
    assert_int_equal(queue_ready(job), 0);
}

static void a_million_tasks_are_added_at_once_and_a_cursor_walks_them(void **state)
{
    struct queue_job *job = add(1, 1000000, false);
    assert_int_equal(queue_ready(job), 1000000);
    uint64_t index;
    for (uint64_t i = 0; i < 1000000; i++) {
        assert_true(queue_next(job, 1, true, 0, &index));
        assert_int_equal(index, i);
        queue_known(job, index);
    }
    assert_true(queue_close(queue, job));
    assert_int_equal(job->state, QUEUE_ALL_DONE);
}

static void a_lease_that_is_not_renewed_runs_out_and_its_task_is_next(void **state)
{
    struct queue_job *job = add(1, 3, false);
    struct queue_lease *first = lease_next(job, 1, 0, 0);
    struct queue_lease *second = lease_next(job, 2, 1, 10);
    queue_renew(queue, first, 20000);
    assert_null(queue_expired(queue, LEASE + 9));
    assert_int_equal(queue_next_expiry(queue), LEASE + 10);
    assert_ptr_equal(queue_expired(queue, LEASE + 10), second);
    queue_release(queue, &second, 0);
    assert_null(queue_expired(queue, LEASE + 10));
    assert_int_equal(lease_next(job, 1, 7, 0)->index, 1);
    assert_int_equal(lease_next(job, 1, 8, 0)->index, 2);
}

static void a_returned_task_waits_for_its_time(void **state)
{
    struct queue_job *job = add(1, 1, false);
    struct queue_lease *lease = lease_next(job, 1, 0, 0);
    queue_release(queue, &lease, 500);
    assert_int_equal(queue_ready(job), 1);
    assert_null(lease_next(job, 1, 0, 499));
    assert_non_null(lease_next(job, 1, 0, 500));
}

static bool is_second(const void *context, uint32_t node)
{
    return node == 2;
}

static bool is_nobody(const void *context, uint32_t node)
{
    return false;
}

static void a_task_kept_for_a_node_is_not_anothers_until_that_one_is_gone(void **state)
{
    struct queue_job *job = add(1, 3, false);
    struct queue_lease *lease = lease_next(job, 1, 0, 0);
    queue_keep(job, 0, 2); /* it is not back */
    assert_int_equal(queue_kept(job, 2), 0);
    queue_release(queue, &lease, 0);
    queue_keep(job, 0, 2);
    assert_int_equal(queue_kept(job, 2), 1);
    assert_int_equal(lease_next(job, 1, 1, 0)->index, 1);
    lease = lease_next(job, 2, 0, 0);
    assert_int_equal(lease->index, 0);
    assert_int_equal(queue_kept(job, 2), 0);
    queue_release(queue, &lease, 0);
    queue_keep(job, 0, 2);
    queue_unkeep(job, is_second, NULL);
    assert_int_equal(lease_next(job, 1, 2, 0)->index, 2);
    assert_null(lease_next(job, 1, 3, 0));
    queue_unkeep(job, is_nobody, NULL);
    assert_int_equal(lease_next(job, 1, 3, 0)->index, 0);
}

static void equal_keys_share_one_rendering(void **state)
{
    struct queue_job *one = add(1, 1, false), *two = add(2, 1, false);
    struct queue_lease *lease = lease_next(one, 1, 5, 0);
    assert_ptr_equal(queue_rendering(queue, lease->key), lease);
    queue_share(lease, two, 0);
    assert_false(queue_close(queue, two));
    calls = 0;
    queue_finish(queue, &lease, false, count_task, NULL);
    assert_null(lease);
    assert_int_equal(calls, 2);
    assert_true(queue_close(queue, one));
    assert_true(queue_close(queue, two));
}

static void a_sharer_that_wants_latents_is_ready_again_when_there_are_none(void **state)
{
    struct queue_job *one = add(1, 1, false), *two = add(2, 1, true);
    struct queue_lease *lease = lease_next(one, 1, 5, 0);
    queue_share(lease, two, 0);
    calls = 0;
    queue_finish(queue, &lease, false, count_task, NULL);
    assert_int_equal(calls, 1);
    assert_int_equal(queue_ready(two), 1);
    assert_int_equal(two->sharing, 0);
    assert_non_null(lease_next(two, 1, 5, 0));
}

static void a_result_without_latents_is_enough_for_who_asks_for_none(void **state)
{
    struct queue_job *one = add(1, 2, true), *two = add(2, 2, false);
    struct queue_lease *lease = lease_next(one, 1, 5, 0);
    queue_share(lease, two, 0);
    calls = 0;
    queue_finish_plain(lease, two, 0, count_task, NULL);
    assert_int_equal(two->task[0], QUEUE_DONE);
    assert_int_equal(two->done, 1);
    assert_int_equal(two->sharing, 0);
    assert_int_equal(one->leased, 1);
    queue_finish_plain(lease, two, 1, count_task, NULL); /* ready, not sharing yet */
    assert_int_equal(two->done, 2);
    assert_int_equal(calls, 2);
    queue_release(queue, &lease, 0);
    assert_int_equal(queue_ready(one), 2);
}

static void canceling_one_sharer_keeps_the_rendering_for_the_other(void **state)
{
    struct queue_job *one = add(1, 2, false), *two = add(2, 1, false);
    struct queue_lease *lease = lease_next(one, 1, 5, 0);
    lease_next(one, 1, 6, 0);
    queue_share(lease, two, 0);
    unsigned dropped = 0;
    queue_cancel(queue, one, count_lease, ignore_lease, &dropped);
    assert_int_equal(dropped, 1);
    assert_int_equal(one->canceled, 2);
    assert_ptr_equal(lease->job, two);
    assert_int_equal(two->leased, 1);
    queue_finish(queue, &lease, false, count_task, NULL);
    assert_true(queue_close(queue, two));
}

static void canceling_a_job_that_waits_for_another_leaves_that_one_alone(void **state)
{
    struct queue_job *one = add(1, 1, false), *two = add(2, 1, false);
    struct queue_lease *lease = lease_next(one, 1, 5, 0);
    queue_share(lease, two, 0);
    unsigned dropped = 0;
    queue_cancel(queue, two, count_lease, count_lease, &dropped);
    assert_int_equal(dropped, 0);
    calls = 0;
    queue_finish(queue, &lease, false, count_task, NULL);
    assert_int_equal(calls, 1);
}

static void a_task_that_failed_on_every_node_there_is_goes_to_them_again(void **state)
{
    struct queue_job *job = add(1, 2, false);
    uint64_t index;
    for (uint32_t node = 1; node <= 2; node++) {
        uint8_t key[QUEUE_KEY] = {1};
        struct queue_lease *lease = queue_lease(queue, job, 0, key, node, 0);
        assert_false(queue_fault(lease, 2, 0, "broken"));
        queue_release(queue, &lease, 0);
    }
    job->takers = 3; /* a third one has not tried */
    assert_true(queue_next(job, 1, false, 0, &index));
    assert_int_equal(index, 1);
    job->takers = 2; /* and is gone */
    assert_true(queue_next(job, 1, false, 0, &index));
    assert_int_equal(index, 0);
    uint8_t key[QUEUE_KEY] = {1};
    struct queue_lease *lease = queue_lease(queue, job, 0, key, 1, 0);
    assert_true(queue_fault(lease, 2, 0, "broken"));
    queue_give_up(queue, &lease, count_task, NULL);
    assert_int_equal(job->failed, 1);
}

static void faults_on_three_nodes_use_up_a_task(void **state)
{
    struct queue_job *job = add(1, 2, false);
    uint64_t index;
    job->takers = 5;
    for (uint32_t node = 1; node <= 3; node++) {
        assert_true(queue_next(job, node, false, 0, &index));
        assert_int_equal(index, 0);
        uint8_t key[QUEUE_KEY] = {1};
        struct queue_lease *lease = queue_lease(queue, job, index, key, node, 0);
        assert_int_equal(queue_fault(lease, 5, 0, "broken"), node == 3);
        if (node < 3)
            queue_release(queue, &lease, 0);
        else
            queue_give_up(queue, &lease, count_task, NULL);
        /* The node that failed is offered the next task, unless it is the only one. */
        assert_true(queue_next(job, node, false, 0, &index));
        assert_int_equal(index, 1);
        assert_true(queue_next(job, node, true, 0, &index));
        assert_int_equal(index, node < 3 ? 0 : 1);
    }
    assert_int_equal(job->failed, 1);
    assert_int_equal(queue_trouble(job, 0)->count, 3);
    assert_string_equal(queue_trouble(job, 0)->fault[2].text, "broken");
}

static void a_single_node_gets_three_tries(void **state)
{
    struct queue_job *job = add(1, 1, false);
    for (int tried = 1; tried <= 3; tried++) {
        struct queue_lease *lease = lease_next(job, 1, 0, 0);
        assert_int_equal(queue_fault(lease, 1, 0, "broken"), tried == 3);
        queue_release(queue, &lease, 0);
    }
    assert_int_equal(queue_trouble(job, 0)->count, 1);
}

static void what_a_crash_left_before_the_cursor_is_ready_again(void **state)
{
    struct queue_job stored = {.id = {7}, .order = 1, .tasks = 10, .cursor = 5};
    struct queue_job *job = queue_restore(queue, &stored);
    uint8_t key[QUEUE_KEY] = {3};
    queue_restore_task(job, 0, QUEUE_DONE);
    queue_restore_task(job, 1, QUEUE_FAILED);
    queue_restore_lease(queue, job, 3, key, (struct queue_attempt){999, 4}, 2, 50);
    queue_restored(job);
    assert_int_equal(job->done, 1);
    assert_int_equal(job->failed, 1);
    assert_int_equal(queue_ready(job), 7);
    assert_int_equal(queue_attempt(queue, (struct queue_attempt){999, 4})->index, 3);
    assert_int_equal(queue_next_expiry(queue), 50 + LEASE);
    assert_int_equal(lease_next(job, 1, 0, 0)->index, 2);
    assert_int_equal(lease_next(job, 1, 1, 0)->index, 4);
    assert_int_equal(lease_next(job, 1, 2, 0)->index, 5);
}

static void
a_result_from_beyond_the_cursor_is_taken_and_its_task_passed_over(void **state)
{
    struct queue_job *job = add(1, 5, false);
    queue_known(job, 1); /* assigned before a crash that took the cursor back */
    queue_known(job, 3);
    assert_int_equal(queue_ready(job), 3);
    assert_int_equal(lease_next(job, 1, 0, 0)->index, 0);
    assert_int_equal(lease_next(job, 1, 1, 0)->index, 2);
    queue_known(job, 4);
    assert_null(lease_next(job, 1, 2, 0));
    assert_int_equal(queue_ready(job), 0);
}

static void results_stored_beyond_the_cursor_stay_done(void **state)
{
    struct queue_job stored = {.id = {8}, .order = 1, .tasks = 6, .cursor = 2};
    struct queue_job *job = queue_restore(queue, &stored);
    queue_restore_task(job, 0, QUEUE_DONE);
    queue_restore_task(job, 2, QUEUE_DONE);
    queue_restore_task(job, 4, QUEUE_DONE);
    queue_restored(job);
    assert_int_equal(queue_ready(job), 3);
    assert_int_equal(lease_next(job, 1, 0, 0)->index, 1);
    assert_int_equal(lease_next(job, 1, 1, 0)->index, 3);
    assert_int_equal(lease_next(job, 1, 2, 0)->index, 5);
    assert_null(lease_next(job, 1, 3, 0));
}

static void a_late_result_makes_a_failed_task_done(void **state)
{
    struct queue_job *job = add(1, 2, false);
    struct queue_lease *lease = lease_next(job, 1, 0, 0);
    queue_give_up(queue, &lease, count_task, NULL);
    queue_known(job, 0);
    queue_known(job, 1);
    assert_true(queue_close(queue, job));
    assert_int_equal(job->state, QUEUE_ALL_DONE);
}

static void a_twin_goes_on_when_the_first_attempt_ends(void **state)
{
    struct queue_job *one = add(1, 1, false), *two = add(2, 1, false);
    struct queue_lease *lease = lease_next(one, 1, 5, 0);
    queue_share(lease, two, 0);
    struct queue_lease *twin = queue_twin(queue, lease, 2, 10);
    assert_true(twin->marked);
    assert_int_equal(one->leased, 1);
    assert_ptr_equal(queue_rendering(queue, twin->key), lease);
    queue_release(queue, &lease, 0);
    assert_int_equal(queue_ready(one), 0);
    assert_ptr_equal(queue_rendering(queue, twin->key), twin);
    assert_false(twin->marked);
    calls = 0;
    queue_finish(queue, &twin, false, count_task, NULL);
    assert_int_equal(calls, 2);
    assert_true(queue_close(queue, one));
    assert_true(queue_close(queue, two));
}

static void a_twin_that_ends_leaves_the_first_attempt_alone(void **state)
{
    struct queue_job *job = add(1, 1, false);
    struct queue_lease *lease = lease_next(job, 1, 5, 0);
    struct queue_lease *twin = queue_twin(queue, lease, 2, 0);
    queue_release(queue, &twin, 0);
    assert_null(lease->twin);
    assert_int_equal(queue_ready(job), 0);
    assert_ptr_equal(queue_rendering(queue, lease->key), lease);
    queue_release(queue, &lease, 0);
    assert_int_equal(queue_ready(job), 1);
}

static void canceling_a_job_drops_twins_too(void **state)
{
    struct queue_job *one = add(1, 1, false), *two = add(2, 1, false);
    struct queue_lease *lease = lease_next(one, 1, 5, 0);
    queue_share(lease, two, 0);
    queue_twin(queue, lease, 2, 0);
    unsigned dropped = 0;
    queue_cancel(queue, one, count_lease, ignore_lease, &dropped);
    assert_int_equal(dropped, 1);
    assert_ptr_equal(lease->job, two);
    assert_null(lease->twin);
    queue_cancel(queue, two, count_lease, ignore_lease, &dropped);
    assert_int_equal(dropped, 2);
    assert_null(queue_expired(queue, INT64_MAX));
}

static void a_failed_task_of_an_open_job_can_be_tried_again(void **state)
{
    struct queue_job *job = add(1, 2, false);
    struct queue_lease *lease = lease_next(job, 1, 0, 0);
    queue_fault(lease, 1, 0, "broken");
    queue_give_up(queue, &lease, count_task, NULL);
    queue_retry(job, 0);
    assert_int_equal(job->failed, 0);
    assert_null(queue_trouble(job, 0));
    assert_int_equal(lease_next(job, 1, 0, 0)->index, 0);
}

static void a_job_that_ended_opens_in_its_place_with_what_was_done(void **state)
{
    struct queue_job *first = add(1, 3, false), *second = add(2, 1, false);
    queue_known(first, 0);
    unsigned dropped = 0;
    queue_cancel(queue, first, count_lease, ignore_lease, &dropped);
    queue_reopen(queue, first);
    queue_restore_task(first, 0, QUEUE_DONE);
    queue_restored(first);
    assert_ptr_equal(TAILQ_FIRST(&queue->open), first);
    assert_ptr_equal(TAILQ_NEXT(first, open), second);
    assert_int_equal(first->done, 1);
    assert_int_equal(queue_ready(first), 2);
    assert_int_equal(lease_next(first, 1, 0, 0)->index, 1);
}

static void a_job_that_ended_can_be_forgotten(void **state)
{
    struct queue_job *job = add(1, 1, false);
    uint8_t id[QUEUE_JOB_ID] = {1};
    queue_known(job, 0);
    assert_true(queue_close(queue, job));
    queue_remove(queue, &job);
    assert_null(job);
    assert_null(queue_find(queue, id));
}

#define QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(tasks_are_leased_in_order_and_attempt_ids_never_repeat),
        QUEUE_TEST(a_million_tasks_are_added_at_once_and_a_cursor_walks_them),
        QUEUE_TEST(a_lease_that_is_not_renewed_runs_out_and_its_task_is_next),
        QUEUE_TEST(a_returned_task_waits_for_its_time),
        QUEUE_TEST(a_task_kept_for_a_node_is_not_anothers_until_that_one_is_gone),
        QUEUE_TEST(equal_keys_share_one_rendering),
        QUEUE_TEST(a_sharer_that_wants_latents_is_ready_again_when_there_are_none),
        QUEUE_TEST(a_result_without_latents_is_enough_for_who_asks_for_none),
        QUEUE_TEST(canceling_one_sharer_keeps_the_rendering_for_the_other),
        QUEUE_TEST(canceling_a_job_that_waits_for_another_leaves_that_one_alone),
        QUEUE_TEST(a_task_that_failed_on_every_node_there_is_goes_to_them_again),
        QUEUE_TEST(faults_on_three_nodes_use_up_a_task),
        QUEUE_TEST(a_single_node_gets_three_tries),
        QUEUE_TEST(what_a_crash_left_before_the_cursor_is_ready_again),
        QUEUE_TEST(a_result_from_beyond_the_cursor_is_taken_and_its_task_passed_over),
        QUEUE_TEST(results_stored_beyond_the_cursor_stay_done),
        QUEUE_TEST(a_twin_goes_on_when_the_first_attempt_ends),
        QUEUE_TEST(a_twin_that_ends_leaves_the_first_attempt_alone),
        QUEUE_TEST(canceling_a_job_drops_twins_too),
        QUEUE_TEST(a_failed_task_of_an_open_job_can_be_tried_again),
        QUEUE_TEST(a_job_that_ended_opens_in_its_place_with_what_was_done),
        QUEUE_TEST(a_job_that_ended_can_be_forgotten),
        QUEUE_TEST(a_late_result_makes_a_failed_task_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
