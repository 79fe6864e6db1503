/* Which job a node works for next, and how much of it at once. Pure, as the queue is. */
#ifndef FARM_SCHEDULER_H
#define FARM_SCHEDULER_H

#include "coordinator/queue.h"

enum {
    SCHEDULER_MODELS = 64,
    SCHEDULER_LOOKS = 64, /* jobs with something ready that are looked at for a model */
};

/* What the scheduler must know of a node. */
struct scheduler_node {
    uint32_t node;
    uint32_t credit; /* attempts it takes */
    uint32_t batch;  /* images it likes at once, at least 1 */
    bool alone;      /* no other node could take what fails here */
    size_t models;
    uint8_t model[SCHEDULER_MODELS][32]; /* manifest ids whose files are there */
};

/* What a task needs, without its expansion: the owner works that out. */
struct scheduler_task {
    uint8_t key[QUEUE_KEY];
    uint8_t model[32];
    uint8_t group[32]; /* equal for tasks that share all but prompt and seed */
};

/* Fills `into` for the task; false when that is impossible: the job is passed over. */
typedef bool(scheduler_look_fn)(void *context, struct queue_job *job, uint64_t index,
                                struct scheduler_task *into);

/* The job whose next task the node should take: of the first SCHEDULER_LOOKS by order that
 * have something for it, the first whose model is there, else the first of all; NULL when
 * nothing is ready for it. */
struct queue_job *scheduler_choose(const struct queue *queue,
                                   const struct scheduler_node *node, int64_t now,
                                   scheduler_look_fn *look, void *context);

/* How many tasks of the job the node gets in one batch when `takers` nodes (itself
 * included) have credit: its batch, but no more than an equal share of what is ready, so
 * that the last tasks of a job are spread over all of them. */
uint32_t scheduler_batch(const struct queue_job *job, const struct scheduler_node *node,
                         uint32_t takers);

#endif
