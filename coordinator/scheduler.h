/* Which job a node works for next, how much of it at once, and which task it tries a second
 * time when nothing else is left. Pure, as the queue is.
 */
#ifndef FARM_SCHEDULER_H
#define FARM_SCHEDULER_H

#include "coordinator/queue.h"

enum {
    SCHEDULER_MODELS = 64,
    SCHEDULER_LOOKS = 1024, /* jobs with something ready that are compared */
};

/* What the scheduler must know of a node. */
struct scheduler_node {
    uint32_t node;
    uint32_t credit; /* attempts it takes */
    uint32_t batch;  /* images it likes at once, at least 1 */
    bool alone;      /* no other node could take what fails here */
    double
        patience; /* step-pixels that others' work may wait for a model that is here */
    size_t models;
    uint8_t model[SCHEDULER_MODELS][32]; /* manifest ids whose files are there */
};

/* What a task needs, without its expansion: the owner works that out. */
struct scheduler_task {
    uint8_t key[QUEUE_KEY];
    uint8_t model[32];
    uint8_t group[32];     /* equal for tasks that share all but prompt and seed */
    uint32_t size_class;   /* of the picture's pixels: speeds_class */
    uint64_t step_pixels;  /* steps x pixels */
    double used;           /* what its submitter had so far: shares.h */
    const void *submitter; /* whose it is: one pointer for each */
    int64_t deadline;      /* of its job, 0: none */
};

/* Fills `into` for the task; false when that is impossible: the job is passed over. */
typedef bool(scheduler_look_fn)(void *context, struct queue_job *job, uint64_t index,
                                struct scheduler_task *into);

/* The job whose next task the node should take, NULL when nothing is ready for it. First
 * comes whose submitter had least, then the higher priority, then, among one submitter's,
 * the earlier deadline, then the earlier one. A job
 * whose model is there goes before, unless its submitter is the node's patience ahead of
 * the one it would keep waiting, or the same submitter gave another job more priority. */
struct queue_job *scheduler_choose(const struct queue *queue,
                                   const struct scheduler_node *node, int64_t now,
                                   scheduler_look_fn *look, void *context);

/* A node as far as it takes part in finishing a job. */
struct scheduler_pace {
    double rate; /* tasks of this job per second */
    double busy; /* seconds until it is through with what it holds */
};

/* How many of the `ready` tasks `node` should take now, at most `most`: as many as it
 * finishes before all nodes together, each taking a task whenever it is free, would be
 * through with them. 0: the others are through sooner without it. */
uint32_t scheduler_portion(const struct scheduler_pace *nodes, size_t count,
                           size_t node, uint64_t ready, uint32_t most);

/* Seconds until a node is through with `held` step-pixels, of which it has done for
 * `elapsed_s` so far; *late when that takes much longer than it should. */
double scheduler_left(double held, double step_pixels_per_s, double elapsed_s,
                      bool *late);

/* Whether a second attempt that needs `own_s` is worth while beside one that will take
 * `left_s`. */
bool scheduler_twin_pays(double own_s, double left_s);

#endif
