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

static void the_last_tasks_of_a_job_are_spread_over_the_nodes_with_credit(void **state)
{
    struct queue_job *job = add(1, 10);
    struct scheduler_node node = {.node = 1, .credit = 9, .batch = 8};
    assert_int_equal(scheduler_batch(job, &node, 1), 8);
    assert_int_equal(scheduler_batch(job, &node, 2), 5);
    assert_int_equal(scheduler_batch(job, &node, 20), 1);
    node.credit = 3;
    assert_int_equal(scheduler_batch(job, &node, 2), 3);
    node.batch = 0;
    assert_int_equal(scheduler_batch(job, &node, 2), 1);
}

#define QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(the_model_that_is_there_goes_before_the_order),
        QUEUE_TEST(jobs_with_nothing_ready_or_that_cannot_be_read_are_passed_over),
        QUEUE_TEST(the_last_tasks_of_a_job_are_spread_over_the_nodes_with_credit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
