/* What must hold whatever happens. */
#include <string.h>

#include "tests/sim/spread.h"

enum { LOOKED_AT = 5000 };

/* The job a commit was for. */
static struct sim_job *job_of(const struct held *held)
{
    unsigned number = job_numbered(held->job);
    return number < JOBS_MOST ? &world->job[number] : NULL;
}

/* What a blocked node sends is not wanted. */
static bool is_blocked(const uint8_t key[32])
{
    const struct registry *registry = &world->coordinator->registry;
    for (size_t n = 0; n < registry->count; n++)
        if (memcmp(registry->node[n]->key, key, 32) == 0)
            return registry->node[n]->order == NODE_BLOCKED;
    return false;
}

static void find_on_disk(void *context, const struct job_row *row)
{
    (void)context;
    unsigned number = job_numbered(row->id);
    if (number == JOBS_MOST || world->job[number].on_disk)
        return;
    world->job[number].on_disk = true;
    world->jobs_on_disk++;
}

/* Jobs that the coordinator may know of. */
static unsigned jobs_sent(void)
{
    unsigned sent = 0;
    for (unsigned j = 0; j < world->plan.jobs; j++)
        sent += world->job[j].stage != JOB_PLANNED;
    return sent;
}

/* What is given out is of a job that a crash cannot take back. */
void promise_assign(const void *packed, size_t size)
{
    struct error error = {0};
    if (world->jobs_on_disk == jobs_sent())
        return;
    Farm__Envelope *envelope = wire_unpack(packed, size, &error);
    bool is_assign = envelope && envelope->body_case == FARM__ENVELOPE__BODY_ASSIGN;
    if (is_assign)
        store_jobs(world->store, find_on_disk, NULL, &error);
    for (size_t a = 0; is_assign && a < envelope->assign->n_attempts; a++) {
        unsigned job = job_numbered(envelope->assign->attempts[a]->job.data);
        if (job < JOBS_MOST && !world->job[job].on_disk)
            broken("a task of job %u is given out, and the job is not on disk", job);
    }
    if (envelope)
        farm__envelope__free_unpacked(envelope, NULL);
}

/* All results of a job that keeps to one kind of device are of that kind. */
static void check_kind(struct sim_job *job, const struct worker *worker)
{
    if (job->same_kind && job->kind && strcmp(job->kind, worker->kind) != 0)
        broken("job %u keeps to one kind of device and has results of two",
               job_numbered(job->id));
    job->kind = worker->kind;
}

void promise_answer(const uint8_t worker[32], const struct held *held,
                    Farm__CommitAnswer answer)
{
    struct sim_job *job = job_of(held);
    if (!job)
        return;
    const struct queue_job *queued =
        world->coordinator ? queue_find(world->coordinator->queue, job->id) : NULL;
    if (answer == FARM__COMMIT_ANSWER__COMMIT_ACCEPTED) {
        job->acked++;
        check_kind(job, &world->worker[worker_keyed(worker)]);
        if (job->answered[held->index]++)
            broken("job %u's task %llu was accepted twice", job_numbered(job->id),
                   (unsigned long long)held->index);
    } else if (answer == FARM__COMMIT_ANSWER__COMMIT_SUPERSEDED) {
        broken("equal pixels were taken for others");
    } else if (answer == FARM__COMMIT_ANSWER__COMMIT_DISCARD && queued &&
               queued->state == QUEUE_OPEN &&
               queued->task[held->index] == QUEUE_READY && !job->latents &&
               !is_blocked(worker)) {
        broken("job %u's task %llu is open, and its result was discarded",
               job_numbered(job->id), (unsigned long long)held->index);
    }
}

/* Numbers of a job are those of its tasks' states. */
static void check_job(const struct queue_job *job)
{
    uint64_t count[QUEUE_CANCELED + 1] = {0};
    for (uint64_t t = 0; t < job->tasks; t++)
        count[job->task[t]]++;
    if (count[QUEUE_DONE] != job->done || count[QUEUE_FAILED] != job->failed ||
        count[QUEUE_LEASED] != job->leased || count[QUEUE_SHARING] != job->sharing ||
        count[QUEUE_READY] != queue_ready(job))
        broken(
            "a job counts %llu done, %llu leased, %llu shared, %llu ready; its tasks "
            "are %llu, %llu, %llu, %llu",
            (unsigned long long)job->done, (unsigned long long)job->leased,
            (unsigned long long)job->sharing, (unsigned long long)queue_ready(job),
            (unsigned long long)count[QUEUE_DONE],
            (unsigned long long)count[QUEUE_LEASED],
            (unsigned long long)count[QUEUE_SHARING],
            (unsigned long long)count[QUEUE_READY]);
}

void check_queue(void)
{
    struct coordinator *self = world->coordinator;
    if (!self)
        return;
    uint64_t first = 0, leased = 0, sharing = 0, sharers = 0;
    struct queue_job *job;
    TAILQ_FOREACH(job, &self->queue->open, open)
    {
        check_job(job);
        leased += job->leased;
        sharing += job->sharing;
    }
    const struct queue_lease *lease;
    TAILQ_FOREACH(lease, &self->queue->leases, by_expiry)
    {
        first += !lease->marked;
        for (const struct queue_sharer *s = lease->sharers; s; s = s->next)
            sharers++;
        if (lease->twin &&
            (lease->twin->twin != lease || lease->twin->marked == lease->marked))
            broken("a task has more than two attempts");
        if (lease->expires > self->now + world->settings.lease_ms)
            broken("a lease lasts longer than it may");
        if (lease->expires < self->now - 2 * world->settings.lease_ms)
            broken("a lease ran out long ago and is still held");
    }
    if (sharers != sharing)
        broken("%llu tasks share a rendering and %llu renderings are shared",
               (unsigned long long)sharing, (unsigned long long)sharers);
    if (first != leased)
        broken("%llu tasks are leased and %llu leases held", (unsigned long long)leased,
               (unsigned long long)first);
}

struct stored {
    uint64_t done, failed;
    const struct sim_job *job;
};

static void take_task(void *context, const struct task_row *row,
                      const struct result_row *result)
{
    struct stored *stored = context;
    stored->done += row->state == QUEUE_DONE;
    stored->failed += row->state == QUEUE_FAILED;
    if (row->state == QUEUE_FAILED && strstr(row->reason, LIE))
        broken("a task failed by the word of a node that did not hold it");
    if (row->state == QUEUE_FAILED && stored->job->answered[row->index])
        broken("an accepted task is failed on disk");
    if (row->state != QUEUE_DONE)
        return;
    if (!result || !blob_is_there(result->png) ||
        (result->has_latents && !blob_is_there(result->latents)))
        broken("a task is done and its file is not on disk");
    else if (stored->job->latents && !result->has_latents)
        broken("a task is done without the latents its job asks for");
}

static void check_job_on_disk(struct sim_job *job, const struct queue_job *queued,
                              uint64_t most)
{
    struct stored stored = {.job = job};
    struct error error = {0};
    int64_t number = ((const struct job *)queued->tag)->number;
    uint64_t accepted = 0, first = 0, end = job->tasks;
    if (job->tasks > most) {
        first = chance_below(job->tasks - most + 1);
        end = first + most;
    }
    if (!store_tasks(world->store, number, first, end - first, take_task, &stored,
                     &error))
        broken("%s", error.text);
    for (uint64_t t = first; t < end; t++)
        accepted += job->answered[t];
    /* What was rendered for a canceled job may have gone to one that shared it. */
    if (stored.done < accepted && job->stage < JOB_CANCELING)
        broken("%llu results were accepted, %llu are on disk",
               (unsigned long long)accepted, (unsigned long long)stored.done);
}

/* What was answered is there, whatever was lost. All of it is looked at in the end and after
 * some starts, and so many tasks of a job after the others. */
void check_disk(bool whole)
{
    uint64_t most = whole || world->starts % 8 == 0 ? UINT64_MAX : LOOKED_AT;
    for (unsigned j = 0; j < world->plan.jobs; j++) {
        struct sim_job *job = &world->job[j];
        const struct queue_job *queued = queue_find(world->coordinator->queue, job->id);
        if (job->stage >= JOB_ACCEPTED && !queued)
            broken("job %u was accepted and is gone", j);
        else if (job->stage == JOB_CANCELED && queued->state != QUEUE_DROPPED)
            broken("job %u was canceled and is open again", j);
        else if (queued)
            check_job_on_disk(job, queued, most);
    }
}

/* Nobody is left of the kind that the job keeps to. */
static bool is_forsaken(const struct queue_job *queued)
{
    const char *kind = ((const struct job *)queued->tag)->device_kind;
    for (uint32_t w = 0; w < world->plan.workers; w++) {
        const struct worker *worker = &world->worker[w];
        if (!worker->dead && !is_blocked(worker->key) &&
            (!*kind || strcmp(worker->kind, kind) == 0))
            return false;
    }
    return true;
}

static bool has_ended(const struct sim_job *job, const struct queue_job *queued)
{
    if (queued && queued->state == QUEUE_OPEN && job->same_kind)
        return is_forsaken(queued);
    if (!queued || queued->state == QUEUE_OPEN)
        return false;
    if (queued->done + queued->failed + queued->canceled != job->tasks)
        broken("job %u ended with %llu of %llu tasks", job_numbered(job->id),
               (unsigned long long)(queued->done + queued->failed + queued->canceled),
               (unsigned long long)job->tasks);
    return true;
}

bool all_ended(void)
{
    if (!world->coordinator || world->queued_count ||
        (world->plan.misfortune_s > 0 && !world->healed))
        return false;
    for (unsigned j = 0; j < world->plan.jobs; j++) {
        struct sim_job *job = &world->job[j];
        const struct queue_job *queued = queue_find(world->coordinator->queue, job->id);
        if (!has_ended(job, queued))
            return false;
        if (!job->ended_at)
            job->ended_at = world->now;
    }
    return spread_ended();
}
