#include <string.h>

#include "coordinator/scheduler.h"
#include "tests/test.h"

/* Every task of a job needs the model numbered by the first byte of the job's id; jobs
 * from 100 on cannot be looked at. */
static bool look(void *context, struct queue_job *job, uint64_t index,
                 struct scheduler_task *into)
{
    *into = (struct scheduler_task){.model = {job->id[0]}};
    return job->id[0] < 100;
}

static struct queue *queue;

static struct queue_job *add(uint8_t id, uint64_t tasks)
{
    static uint64_t orders;
    uint8_t whole[QUEUE_JOB_ID] = {id};
    return queue_add(queue, whole, ++orders, tasks, false);
}

static int open_queue(void **state)
{
    queue = queue_new(1, 30000);
    return 0;
}

static int close_queue(void **state)
{
    queue_destroy(&queue);
    return 0;
}

static void the_model_that_is_there_goes_before_the_order(void **state)
{
    struct queue_job *first = add(1, 5), *second = add(2, 5);
    struct scheduler_node node = {.node = 1, .credit = 1, .batch = 1};
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look, NULL), first);
    node.models = 1;
    node.model[0][0] = 2;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look, NULL), second);
    node.model[0][0] = 9;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look, NULL), first);
}

static void jobs_with_nothing_ready_or_that_cannot_be_read_are_passed_over(void **state)
{
    add(100, 5);
    struct queue_job *empty = add(1, 1), *last = add(2, 1);
    queue_known(empty, 0);
    struct scheduler_node node = {.node = 1, .credit = 1, .batch = 1};
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look, NULL), last);
    queue_known(last, 0);
    assert_null(scheduler_choose(queue, &node, 0, look, NULL));
}

static double used[256]; /* by the first byte of the job's id */

static bool look_used(void *context, struct queue_job *job, uint64_t index,
                      struct scheduler_task *into)
{
    *into = (struct scheduler_task){.model = {job->id[0]}, .used = used[job->id[0]]};
    return true;
}

static void whose_submitter_had_least_goes_first(void **state)
{
    struct queue_job *first = add(1, 5), *second = add(2, 5);
    struct scheduler_node node = {.node = 1, .credit = 1, .batch = 1, .patience = 50};
    used[1] = 100;
    used[2] = 10;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look_used, NULL), second);
    /* A model that is there is worth some waiting, not all. */
    node.models = 1;
    node.model[0][0] = 1;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look_used, NULL), second);
    node.patience = 90;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look_used, NULL), first);
}

static void
among_jobs_of_one_submitter_priority_goes_before_order_and_model(void **state)
{
    add(1, 5);
    struct queue_job *urgent = add(2, 5), *late = add(3, 5);
    struct scheduler_node node = {.node = 1, .models = 1, .model = {{1}}};
    used[1] = used[2] = used[3] = 7;
    urgent->priority = 5;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look_used, NULL), urgent);
    urgent->paused = true;
    late->priority = -1;
    assert_int_equal(scheduler_choose(queue, &node, 0, look_used, NULL)->id[0], 1);
}

static const void *owner[256]; /* by the first byte of the job's id */
static int64_t deadline[256];

static bool look_due(void *context, struct queue_job *job, uint64_t index,
                     struct scheduler_task *into)
{
    *into = (struct scheduler_task){
        .model = {1}, .submitter = owner[job->id[0]], .deadline = deadline[job->id[0]]};
    return true;
}

static void the_earliest_deadline_breaks_ties_among_one_submitters_jobs(void **state)
{
    add(1, 5);
    struct queue_job *later = add(2, 5), *sooner = add(3, 5), *others = add(4, 5);
    struct scheduler_node node = {.node = 1, .credit = 1, .batch = 1};
    deadline[2] = 2000;
    deadline[3] = 1000;
    deadline[4] = 10;
    owner[4] =
        &node; /* somebody else: they would not wait for each other's deadlines */
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look_due, NULL), sooner);
    later->priority = 1;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look_due, NULL), later);
    later->paused = sooner->paused = true;
    assert_int_equal(scheduler_choose(queue, &node, 0, look_due, NULL)->id[0], 1);
    others->priority = 1;
    assert_ptr_equal(scheduler_choose(queue, &node, 0, look_due, NULL), others);
}

static void a_node_gets_what_it_ends_before_the_others_would(void **state)
{
    struct scheduler_pace pace[] = {{1, 0}, {5, 0}};
    /* 60 tasks take 10 s: the slow one renders 10 of them. */
    assert_int_equal(scheduler_portion(pace, 2, 0, 60, 64), 10);
    assert_int_equal(scheduler_portion(pace, 2, 1, 60, 64), 50);
    assert_int_equal(scheduler_portion(pace, 2, 1, 60, 8), 8);
    /* Of five the slow one would be the last. */
    assert_int_equal(scheduler_portion(pace, 2, 0, 4, 64), 0);
    assert_int_equal(scheduler_portion(pace, 2, 1, 4, 64), 4);
    /* Unless the fast one is busy. */
    pace[1].busy = 2;
    assert_int_equal(scheduler_portion(pace, 2, 0, 4, 64), 2);
    assert_int_equal(scheduler_portion(pace, 1, 0, 7, 64), 7);
}

static void a_node_that_takes_twice_as_long_as_it_should_is_late(void **state)
{
    bool late;
    assert_true(scheduler_left(1000, 10, 30, &late) == 70 && !late);
    assert_true(scheduler_left(1000, 10, 150, &late) == 0 && !late);
    assert_true(scheduler_left(1000, 10, 206, &late) == 0 && late);
    assert_true(scheduler_twin_pays(1, 5));
    assert_false(scheduler_twin_pays(4.5, 5));
}

#define QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(the_model_that_is_there_goes_before_the_order),
        QUEUE_TEST(jobs_with_nothing_ready_or_that_cannot_be_read_are_passed_over),
        QUEUE_TEST(whose_submitter_had_least_goes_first),
        QUEUE_TEST(among_jobs_of_one_submitter_priority_goes_before_order_and_model),
        QUEUE_TEST(the_earliest_deadline_breaks_ties_among_one_submitters_jobs),
        cmocka_unit_test(a_node_gets_what_it_ends_before_the_others_would),
        cmocka_unit_test(a_node_that_takes_twice_as_long_as_it_should_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
