/* How a task moves
 *
 *            lease            finish
 *   ready ----------> leased ---------> done
 *     |  ^               |  \
 *     |  |    release    |   \ give_up
 *     |  +---------------+    +-------> failed      cancel: all but done and failed
 *     |                                             become canceled
 *     | share            finish of the shared one
 *     +------> sharing -----------------> done
 *
 * Ready tasks are not listed: they are those from the cursor on, and the few that came
 * back. So a job of a million tasks costs a million bytes and no time to add.
 *
 * All leases have the same term, so the list in order of renewal is the list in order of
 * expiry: renewing moves a lease to its end.
 */
#include "coordinator/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/queue_trouble.h"
#include "coordinator/table.h"

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

struct queue *queue_new(uint64_t epoch, int64_t lease_ms)
{
    struct queue *self = need(calloc(1, sizeof *self));
    self->epoch = epoch;
    self->lease_ms = lease_ms;
    TAILQ_INIT(&self->open);
    TAILQ_INIT(&self->leases);
    self->jobs = table_new(QUEUE_JOB_ID);
    self->attempts = table_new(sizeof(struct queue_attempt));
    self->keys = table_new(QUEUE_KEY);
    return self;
}

/* Frees what only open jobs have. */
static void job_shut(struct queue_job *job)
{
    free(job->task);
    free(job->returned);
    job->task = NULL;
    job->returned = NULL;
    job->returned_count = job->returned_room = job->kept = 0;
    troubles_clear(job);
}

static void lease_destroy(struct queue *self, struct queue_lease **lease)
{
    struct queue_lease *gone = *lease;
    TAILQ_REMOVE(&self->leases, gone, by_expiry);
    zhashx_delete(self->attempts, &gone->id);
    struct queue_lease *twin = gone->twin;
    if (!gone->marked)
        zhashx_delete(self->keys, gone->key);
    if (twin && !gone->marked) {
        twin->marked = false;
        twin->sharers = gone->sharers;
        gone->sharers = NULL;
        zhashx_insert(self->keys, twin->key, twin);
    }
    if (twin)
        twin->twin = NULL;
    while (gone->sharers) {
        struct queue_sharer *next = gone->sharers->next;
        free(gone->sharers);
        gone->sharers = next;
    }
    free(gone);
    *lease = NULL;
}

void queue_destroy(struct queue **self)
{
    if (!*self)
        return;
    struct queue_lease *lease;
    while ((lease = TAILQ_FIRST(&(*self)->leases)))
        lease_destroy(*self, &lease);
    for (struct queue_job *job = zhashx_first((*self)->jobs); job;
         job = zhashx_next((*self)->jobs)) {
        job_shut(job);
        free(job);
    }
    zhashx_destroy(&(*self)->jobs);
    zhashx_destroy(&(*self)->attempts);
    zhashx_destroy(&(*self)->keys);
    free(*self);
    *self = NULL;
}

void queue_reopen(struct queue *self, struct queue_job *job)
{
    struct queue_job *later = TAILQ_FIRST(&self->open);
    while (later && later->order < job->order)
        later = TAILQ_NEXT(later, open);
    if (later)
        TAILQ_INSERT_BEFORE(later, job, open);
    else
        TAILQ_INSERT_TAIL(&self->open, job, open);
    job->task = need(calloc(job->tasks ? job->tasks : 1, 1));
    job->troubles = table_new(sizeof(uint64_t));
    job->done = job->failed = job->canceled = job->leased = job->sharing = 0;
    job->kept = job->beyond = 0;
    job->state = QUEUE_OPEN;
}

struct queue_job *queue_restore(struct queue *self, const struct queue_job *stored)
{
    struct queue_job *job = need(malloc(sizeof *job));
    *job = *stored;
    job->task = NULL;
    job->returned = NULL;
    job->troubles = NULL;
    zhashx_insert(self->jobs, job->id, job);
    if (job->state == QUEUE_OPEN)
        queue_reopen(self, job);
    return job;
}

struct queue_job *queue_add(struct queue *self, const uint8_t id[QUEUE_JOB_ID],
                            uint64_t order, uint64_t tasks, bool latents)
{
    struct queue_job job = {.order = order, .tasks = tasks, .latents = latents};
    memcpy(job.id, id, QUEUE_JOB_ID);
    return queue_restore(self, &job);
}

struct queue_job *queue_find(const struct queue *self, const uint8_t id[QUEUE_JOB_ID])
{
    return zhashx_lookup(self->jobs, id);
}

uint64_t queue_ready(const struct queue_job *job)
{
    return job->state == QUEUE_OPEN
               ? job->tasks - job->cursor - job->beyond + job->returned_count
               : 0;
}

/* The cursor stands at a task that is ready, or at the end. */
static void settle_cursor(struct queue_job *job)
{
    for (; job->cursor < job->tasks && job->task[job->cursor]; job->cursor++)
        job->beyond--;
}

/* The task leaves ready. */
static void take(struct queue_job *job, uint64_t index, enum queue_task state)
{
    assert(index < job->tasks && job->task[index] == QUEUE_READY);
    job->task[index] = (uint8_t)state;
    if (index >= job->cursor) {
        job->beyond++;
        settle_cursor(job);
        return;
    }
    size_t r = 0;
    while (job->returned[r].index != index)
        r++;
    job->returned_count--;
    job->kept -= job->returned[r].only != 0;
    memmove(&job->returned[r], &job->returned[r + 1],
            (job->returned_count - r) * sizeof job->returned[r]);
}

/* The task becomes ready again. */
static void give_back(struct queue_job *job, uint64_t index, int64_t not_before)
{
    if (job->returned_count == job->returned_room) {
        job->returned_room = job->returned_room ? job->returned_room * 2 : 16;
        job->returned =
            need(realloc(job->returned, job->returned_room * sizeof job->returned[0]));
    }
    job->task[index] = QUEUE_READY;
    job->returned[job->returned_count++] =
        (struct queue_returned){.index = index, .not_before = not_before};
}

static struct queue_lease *lease_new(struct queue *self, struct queue_job *job,
                                     uint64_t index, const uint8_t key[QUEUE_KEY],
                                     struct queue_attempt id, uint32_t node,
                                     int64_t now)
{
    struct queue_lease *lease = need(calloc(1, sizeof *lease));
    lease->id = id;
    memcpy(lease->key, key, QUEUE_KEY);
    lease->job = job;
    lease->index = index;
    lease->node = node;
    lease->started = now;
    lease->expires = now + self->lease_ms;
    TAILQ_INSERT_TAIL(&self->leases, lease, by_expiry);
    zhashx_insert(self->attempts, &lease->id, lease);
    return lease;
}

/* The first attempt of its task. */
static struct queue_lease *lease_first(struct queue *self, struct queue_job *job,
                                       uint64_t index, const uint8_t key[QUEUE_KEY],
                                       struct queue_attempt id, uint32_t node,
                                       int64_t now)
{
    struct queue_lease *lease = lease_new(self, job, index, key, id, node, now);
    zhashx_insert(self->keys, lease->key, lease);
    job->leased++;
    return lease;
}

struct queue_lease *queue_lease(struct queue *self, struct queue_job *job,
                                uint64_t index, const uint8_t key[QUEUE_KEY],
                                uint32_t node, int64_t now)
{
    struct queue_attempt id = {self->epoch, ++self->counter};
    take(job, index, QUEUE_LEASED);
    struct queue_lease *lease = lease_first(self, job, index, key, id, node, now);
    lease->confirmed = true;
    return lease;
}

struct queue_lease *queue_twin(struct queue *self, struct queue_lease *lease,
                               uint32_t node, int64_t now)
{
    assert(!lease->twin);
    struct queue_attempt id = {self->epoch, ++self->counter};
    struct queue_lease *twin =
        lease_new(self, lease->job, lease->index, lease->key, id, node, now);
    twin->confirmed = twin->marked = true;
    memcpy(twin->model, lease->model, sizeof twin->model);
    twin->size_class = lease->size_class;
    twin->step_pixels = lease->step_pixels;
    twin->twin = lease;
    lease->twin = twin;
    return twin;
}

void queue_share(struct queue_lease *lease, struct queue_job *job, uint64_t index)
{
    struct queue_sharer *sharer = need(malloc(sizeof *sharer));
    *sharer = (struct queue_sharer){job, index, lease->sharers};
    lease->sharers = sharer;
    take(job, index, QUEUE_SHARING);
    job->sharing++;
}

struct queue_lease *queue_attempt(const struct queue *self, struct queue_attempt id)
{
    return zhashx_lookup(self->attempts, &id);
}

struct queue_lease *queue_rendering(const struct queue *self,
                                    const uint8_t key[QUEUE_KEY])
{
    return zhashx_lookup(self->keys, key);
}

void queue_renew(struct queue *self, struct queue_lease *lease, int64_t now)
{
    lease->expires = now + self->lease_ms;
    TAILQ_REMOVE(&self->leases, lease, by_expiry);
    TAILQ_INSERT_TAIL(&self->leases, lease, by_expiry);
}

struct queue_lease *queue_expired(const struct queue *self, int64_t now)
{
    struct queue_lease *first = TAILQ_FIRST(&self->leases);
    return first && first->expires <= now ? first : NULL;
}

int64_t queue_next_expiry(const struct queue *self)
{
    struct queue_lease *first = TAILQ_FIRST(&self->leases);
    return first ? first->expires : INT64_MAX;
}

static void sharers_return(struct queue_lease *lease, int64_t not_before)
{
    for (struct queue_sharer *s = lease->sharers; s; s = s->next) {
        s->job->sharing--;
        give_back(s->job, s->index, not_before);
    }
}

void queue_release(struct queue *self, struct queue_lease **lease, int64_t not_before)
{
    if (!(*lease)->twin) {
        (*lease)->job->leased--;
        give_back((*lease)->job, (*lease)->index, not_before);
        sharers_return(*lease, not_before);
    }
    lease_destroy(self, lease);
}

static void mark(struct queue_job *job, uint64_t index, enum queue_task state)
{
    job->task[index] = (uint8_t)state;
    if (state == QUEUE_DONE)
        job->done++;
    else
        job->failed++;
    if (state == QUEUE_DONE)
        trouble_forget(job, index);
}

/* The primary task and the sharers for which `fits` get the state, others are ready. */
static void lease_end(struct queue *self, struct queue_lease **lease,
                      enum queue_task state, bool latents, queue_task_fn *each,
                      void *context)
{
    struct queue_lease *ending = *lease;
    assert(!ending->twin);
    ending->job->leased--;
    mark(ending->job, ending->index, state);
    each(context, ending->job, ending->index);
    for (struct queue_sharer *s = ending->sharers; s; s = s->next) {
        s->job->sharing--;
        if (s->job->latents && !latents) {
            give_back(s->job, s->index, 0);
            continue;
        }
        mark(s->job, s->index, state);
        each(context, s->job, s->index);
    }
    lease_destroy(self, lease);
}

void queue_finish(struct queue *self, struct queue_lease **lease, bool latents,
                  queue_task_fn *done, void *context)
{
    lease_end(self, lease, QUEUE_DONE, latents, done, context);
}

void queue_give_up(struct queue *self, struct queue_lease **lease,
                   queue_task_fn *failed, void *context)
{
    lease_end(self, lease, QUEUE_FAILED, true, failed, context);
}

void queue_known(struct queue_job *job, uint64_t index)
{
    if (job->task[index] == QUEUE_FAILED)
        job->failed--;
    else
        take(job, index, QUEUE_DONE);
    mark(job, index, QUEUE_DONE);
}

void queue_finish_plain(struct queue_lease *lease, struct queue_job *job,
                        uint64_t index, queue_task_fn *done, void *context)
{
    for (struct queue_sharer **at = &lease->sharers; *at;) {
        struct queue_sharer *sharer = *at;
        if (sharer->job->latents) {
            at = &sharer->next;
            continue;
        }
        *at = sharer->next;
        sharer->job->sharing--;
        mark(sharer->job, sharer->index, QUEUE_DONE);
        done(context, sharer->job, sharer->index);
        free(sharer);
    }
    if (job->task[index] == QUEUE_DONE) /* it was one of these */
        return;
    queue_known(job, index);
    done(context, job, index);
}

/* Takes the job's tasks out of the lease's sharers. */
static void stop_sharing(struct queue_lease *lease, struct queue_job *job)
{
    struct queue_sharer **at = &lease->sharers;
    while (*at) {
        struct queue_sharer *sharer = *at;
        if (sharer->job != job) {
            at = &sharer->next;
            continue;
        }
        *at = sharer->next;
        job->sharing--;
        free(sharer);
    }
}

/* The rendering goes on for the first of the others who want it. */
static void lease_move(struct queue_lease *lease)
{
    struct queue_sharer *heir = lease->sharers;
    lease->sharers = heir->next;
    lease->job->leased--;
    lease->job = heir->job;
    lease->index = heir->index;
    lease->job->sharing--;
    lease->job->leased++;
    lease->job->task[lease->index] = QUEUE_LEASED;
    free(heir);
}

static void shut_open(struct queue *self, struct queue_job *job, enum queue_state state)
{
    job->state = state;
    TAILQ_REMOVE(&self->open, job, open);
    job_shut(job);
}

void queue_cancel(struct queue *self, struct queue_job *job, queue_lease_fn *dropped,
                  queue_lease_fn *moved, void *context)
{
    struct queue_lease *next;
    for (struct queue_lease *lease = TAILQ_FIRST(&self->leases); lease; lease = next) {
        next = TAILQ_NEXT(lease, by_expiry);
        if (lease->job == job && lease->marked) {
            dropped(context, lease);
            lease_destroy(self, &lease);
        }
    }
    for (struct queue_lease *lease = TAILQ_FIRST(&self->leases); lease; lease = next) {
        next = TAILQ_NEXT(lease, by_expiry);
        stop_sharing(lease, job);
        if (lease->job != job)
            continue;
        if (lease->sharers) {
            lease_move(lease);
            moved(context, lease);
            continue;
        }
        dropped(context, lease);
        job->leased--;
        lease_destroy(self, &lease);
    }
    job->canceled = job->tasks - job->done - job->failed;
    shut_open(self, job, QUEUE_DROPPED);
}

void queue_retry(struct queue_job *job, uint64_t index)
{
    assert(job->task[index] == QUEUE_FAILED);
    job->failed--;
    trouble_forget(job, index);
    give_back(job, index, 0);
}

void queue_remove(struct queue *self, struct queue_job **job)
{
    assert((*job)->state != QUEUE_OPEN);
    zhashx_delete(self->jobs, (*job)->id);
    free(*job);
    *job = NULL;
}

bool queue_close(struct queue *self, struct queue_job *job)
{
    if (job->state != QUEUE_OPEN || job->done + job->failed < job->tasks)
        return false;
    shut_open(self, job, job->failed ? QUEUE_SOME_FAILED : QUEUE_ALL_DONE);
    return true;
}

void queue_restore_task(struct queue_job *job, uint64_t index, enum queue_task state)
{
    if (index >= job->tasks || (state != QUEUE_DONE && state != QUEUE_FAILED))
        return;
    mark(job, index, state);
    job->beyond += index >= job->cursor;
}

void queue_restore_lease(struct queue *self, struct queue_job *job, uint64_t index,
                         const uint8_t key[QUEUE_KEY], struct queue_attempt id,
                         uint32_t node, int64_t now)
{
    if (index >= job->cursor || job->task[index] != QUEUE_READY ||
        queue_rendering(self, key))
        return;
    job->task[index] = QUEUE_LEASED;
    lease_first(self, job, index, key, id, node, now);
}

void queue_restored(struct queue_job *job)
{
    for (uint64_t index = 0; index < job->cursor; index++)
        if (job->task[index] == QUEUE_READY)
            give_back(job, index, 0);
    settle_cursor(job);
}
