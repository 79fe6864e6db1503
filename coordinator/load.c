#include "coordinator/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "coordinator/learned.h"
#include "coordinator/work.h"

static void load_key(void *context, const struct key_row *row)
{
    struct coordinator *self = context;
    struct member member = {
        .role = (Farm__Role)row->role,
        .created = row->created,
        .revoked = row->revoked,
        .greeted = row->greeted,
    };
    memcpy(member.key, row->public_key, 32);
    snprintf(member.name, sizeof member.name, "%s", row->name);
    members_add(&self->members, &member);
}

static void load_token(void *context, const struct token_row *row)
{
    struct coordinator *self = context;
    struct member member = {
        .role = FARM__ROLE__ROLE_JOIN,
        .grants = (Farm__Role)row->role,
        .created = row->created,
        .expires = row->expires,
        .used = row->used,
    };
    memcpy(member.key, row->join_key, 32);
    memcpy(member.used_by, row->used_by, 32);
    snprintf(member.name, sizeof member.name, "%s", row->name);
    members_add(&self->members, &member);
}

static void load_model(void *context, const struct model_row *row)
{
    struct coordinator *self = context;
    Farm__Manifest *manifest =
        farm__manifest__unpack(NULL, row->manifest_size, row->manifest);
    struct error error = {.text = "it cannot be read"};
    if (manifest && manifest_check(manifest, &error))
        models_add(&self->models, manifest, row->name, row->complete, row->added);
    else
        log_error("model %s: its stored manifest: %s", row->name, error.text);
    if (manifest)
        farm__manifest__free_unpacked(manifest, NULL);
}

/* Whether the row makes sense: a disk that lies must not become a queue that does. */
static bool check_job(const struct job_row *row, const Farm__Job *specification,
                      struct error *error)
{
    uint64_t tasks = row->tasks;
    if (!specification)
        return error_set(error, "its specification cannot be read");
    if (row->state < QUEUE_OPEN || row->state > QUEUE_DROPPED)
        return error_set(error, "it is in state %d, which is none", row->state);
    if (row->state == QUEUE_OPEN && !job_check(specification, &tasks, error))
        return false;
    return (tasks == row->tasks && tasks <= JOB_TASKS_MOST && row->cursor <= tasks) ||
           error_set(error, "%llu of %llu tasks are begun",
                     (unsigned long long)row->cursor, (unsigned long long)row->tasks);
}

static void load_job(void *context, const struct job_row *row)
{
    struct coordinator *self = context;
    struct error error = {0};
    Farm__Job *specification =
        farm__job__unpack(NULL, row->specification_size, row->specification);
    if (!check_job(row, specification, &error)) {
        log_error("job %lld is left out: in the database %s", (long long)row->number,
                  error.text);
        if (specification)
            farm__job__free_unpacked(specification, NULL);
        return;
    }
    struct queue_job stored = {
        .order = (uint64_t)row->number,
        .tasks = row->tasks,
        .cursor = row->cursor,
        .done = row->done,
        .failed = row->failed,
        .canceled = row->canceled,
        .latents = row->latents,
        .paused = row->paused,
        .priority = row->priority,
        .state = (enum queue_state)row->state,
    };
    memcpy(stored.id, row->id, QUEUE_JOB_ID);
    struct queue_job *job = queue_restore(self->queue, &stored);
    struct job *own = job_new(row, &specification);
    own->share = shares_of(&self->shares, row->submitter);
    if (job->state != QUEUE_OPEN)
        job_shut(own);
    job->tag = own;
    if (row->number > self->last_job)
        self->last_job = row->number;
}

static void load_task(void *context, uint64_t index, int state)
{
    queue_restore_task(context, index, (enum queue_task)state);
}

static void load_attempt(void *context, const struct attempt_row *row)
{
    struct coordinator *self = context;
    struct queue_job *job;
    for (job = TAILQ_FIRST(&self->queue->open); job; job = TAILQ_NEXT(job, open)) {
        if (((const struct job *)job->tag)->number == row->job)
            break;
    }
    const struct member *member = members_find(&self->members, row->worker);
    if (!job || !member)
        return;
    struct node *node =
        registry_node(&self->registry, row->worker, row->device, member->name);
    if (row->fault) {
        queue_restore_fault(job, row->index, node->number, row->ended);
        return;
    }
    struct queue_attempt id = {row->epoch, row->counter};
    queue_restore_lease(self->queue, job, row->index, row->key, id, node->number,
                        self->now);
    struct queue_lease *lease = queue_attempt(self->queue, id);
    struct scheduler_task view;
    if (lease && work_look(self, job, row->index, &view))
        work_cost(lease, &view);
    if (lease)
        node_lease(node, lease->step_pixels, self->now);
    else
        change_attempt_ended(self->change, row->epoch, row->counter, "superseded",
                             false);
}

bool load_all(struct coordinator *self, struct error *error)
{
    if (!store_keys(self->store, load_key, self, error) ||
        !store_tokens(self->store, load_token, self, error) ||
        !store_models(self->store, load_model, self, error) ||
        !learned_start(self, error) ||
        !store_jobs(self->store, load_job, self, error) ||
        !store_last_result(self->store, &self->last_result, error))
        return false;
    struct queue_job *job;
    for (job = TAILQ_FIRST(&self->queue->open); job; job = TAILQ_NEXT(job, open)) {
        const struct job *own = job->tag;
        if (!store_task_states(self->store, own->number, load_task, job, error))
            return false;
    }
    if (!store_attempts(self->store, load_attempt, self, error))
        return false;
    for (job = TAILQ_FIRST(&self->queue->open); job; job = TAILQ_NEXT(job, open)) {
        queue_restored(job);
    }
    return store_checkpoints(self->store, checkpoints_load, self, error);
}
