/* What the coordinator knows of a job beside its place in the queue. */
#ifndef FARM_JOBS_H
#define FARM_JOBS_H

#include "coordinator/change.h"
#include "coordinator/models.h"
#include "coordinator/scheduler.h"
#include "coordinator/shares.h"
#include "proto/job/expansion.h"

enum { PROMPT_SHOWN = 200 };

/* Hangs on struct queue_job as its tag. */
struct job {
    int64_t number; /* in the database */
    uint8_t submitter[32];
    struct share *share; /* the submitter's */
    uint8_t content[32];
    char *label, *first_prompt;
    char *device_kind; /* what it keeps to; "" for any, or none yet */
    char *trouble;     /* where and how an attempt last failed; NULL: none did */
    Farm__Job
        *specification; /* of open jobs, model names resolved; NULL of ended ones */
    int64_t created, ended, deadline; /* unix seconds; 0: none */
    uint64_t cursor_stored;
    uint64_t settled_by; /* the change without which its tasks must not be given out,
                            nor its end be told */
    uint64_t
        probed; /* the cursor at which no known result was found; UINT64_MAX: none */
    uint64_t passed;             /* when no task of it was for the node being served */
    struct expansion *expansion; /* NULL: not made yet */
    struct scheduler_task view;  /* of task view_index */
    uint64_t view_index;         /* UINT64_MAX: none */
};

/* Takes the specification over (heap, unpacked). */
struct job *job_new(const struct job_row *row, Farm__Job **specification);
void job_destroy(struct job **self);

/* Frees what only open jobs need. */
void job_shut(struct job *self);

/* Brings a job from outside into the form that is stored: checks it, puts the ids of
 * complete models and files in place of their names, resolves what is `auto`, and checks sizes
 * against each model's factor. Gives the number of tasks. */
bool job_resolve(Farm__Job *job, const struct models *models, uint64_t *tasks,
                 struct error *error);

/* Sets an option of a job from outside, whatever the job says of it, before job_resolve. */
void job_impose(Farm__Job *job, const char *option, const char *value);

/* Priorities are -1000 to 1000. */
bool job_priority_fits(int32_t priority, struct error *error);

/* What a task of a resolved job leaves to its model and its other options. */
bool job_fill(struct task *task, const struct models *models, struct error *error);

/* The task of an open job at the index with everything resolved, borrowed until the next
 * call; NULL when it cannot be expanded, or its model is gone. */
const struct task *job_task(struct job *self, const struct models *models,
                            uint64_t index);

/* A job by its id as hexadecimal digits, a unique prefix of it, its label (the newest of
 * that label), or "last"; with `owner` only that key's. NULL with ERROR_NOT_FOUND. */
struct queue_job *job_find(const struct queue *queue, const char *text,
                           const uint8_t *owner, struct error *error);

/* Fills what a message shows of a job; its texts are borrowed from the job and `name`.
 * `now`: unix seconds. */
void job_summary(const struct queue_job *job, const char *submitter, int64_t now,
                 Farm__JobSummary *into);

/* All jobs, newest first, in a heap array; with `owner` only that key's. */
struct queue_job **jobs_newest(const struct queue *queue, const uint8_t *owner,
                               bool open_only, size_t *count);

#endif
