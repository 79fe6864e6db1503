#include "coordinator/past.h"

#include <stdlib.h>

static void restore_done(void *context, uint64_t index, int state)
{
    if (state == QUEUE_DONE)
        queue_restore_task(context, index, QUEUE_DONE);
}

/* An ended job keeps neither its specification nor its tasks in memory. */
static bool reopen(struct coordinator *self, struct queue_job *job, struct error *error)
{
    struct job *own = job->tag;
    struct buffer packed = {0};
    bool ok = store_specification(self->store, own->number, &packed, error);
    Farm__Job *specification =
        ok ? farm__job__unpack(NULL, packed.size, packed.data) : NULL;
    buffer_clear(&packed);
    if (!specification)
        return ok && error_set(error, "the job's stored specification cannot be read");
    own->specification = specification;
    own->ended = 0;
    queue_reopen(self->queue, job);
    ok = store_task_states(self->store, own->number, restore_done, job, error);
    queue_restored(job);
    return ok;
}

bool past_retry(struct coordinator *self, struct queue_job *job, struct error *error)
{
    struct job *own = job->tag;
    if (job->failed + job->canceled == 0)
        return error_set_kind(error, ERROR_INPUT,
                              "no task of the job failed or was canceled; to render "
                              "it again, submit it with --force");
    if (job->state != QUEUE_OPEN) {
        if (!reopen(self, job, error))
            return false;
    } else {
        for (uint64_t index = 0; index < job->cursor; index++)
            if (job->task[index] == QUEUE_FAILED)
                queue_retry(job, index);
    }
    own->probed = own->view_index = UINT64_MAX;
    change_job_retried(self->change, own->number);
    own->settled_by = self->handed + 1;
    tell_job_event(self, job);
    self->match = true;
    return true;
}

bool past_remove(struct coordinator *self, struct queue_job **job, struct error *error)
{
    struct job *own = (*job)->tag;
    if ((*job)->state == QUEUE_OPEN)
        return error_set_kind(error, ERROR_INPUT,
                              "the job is open; cancel it before it is removed");
    change_job_gone(self->change, own->number);
    job_destroy(&own);
    queue_remove(self->queue, job);
    return true;
}
