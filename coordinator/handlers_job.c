/* Clients: jobs, nodes, watching. */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/handlers.h"
#include "coordinator/parked.h"
#include "coordinator/show.h"
#include "coordinator/work.h"

static void answer_accepted(struct coordinator *self, const struct request *request,
                            const struct queue_job *job, bool existing)
{
    Farm__Accepted accepted = FARM__ACCEPTED__INIT;
    accepted.job = wire_bytes(job->id, QUEUE_JOB_ID);
    accepted.tasks = job->tasks;
    accepted.existing = existing;
    tell_answer(self, request, ANSWER(accepted, ACCEPTED, &accepted));
}

/* Hash of what was submitted: the same id with other content is an error. */
static uint8_t *pack_job(const Farm__Job *job, size_t *size, uint8_t content[32])
{
    uint8_t *packed = wire_pack(&job->base, size);
    crypto_generichash(content, 32, packed, *size, NULL, 0);
    return packed;
}

static bool answer_existing(struct coordinator *self, const struct request *request,
                            const struct queue_job *job, const uint8_t content[32],
                            struct error *error)
{
    const struct job *own = job->tag;
    if (memcmp(own->content, content, 32) != 0 ||
        memcmp(own->submitter, request->member->key, 32) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "this id was submitted with another job; draw a new one");
    answer_accepted(self, request, job, true);
    return true;
}

static bool has_room(const struct coordinator *self, struct error *error)
{
    uint64_t room = depot_free_space(self->state) >> 20;
    uint64_t reserve = (uint64_t)self->settings->reserve_mib;
    return room >= reserve ||
           error_set_kind(error, ERROR_BUSY,
                          "the coordinator's disk is full: %" PRIu64
                          " MiB are free, %" PRIu64 " MiB are kept in reserve",
                          room, reserve);
}

static bool is_within_quota(struct coordinator *self, const struct request *request,
                            struct error *error)
{
    const uint8_t *owner = owner_of(request);
    int64_t most = self->settings->jobs_a_key, own = 0;
    const struct queue_job *job;
    TAILQ_FOREACH(job, &self->queue->open, open)
    {
        const struct job *tag = job->tag;
        own += owner && memcmp(tag->submitter, owner, 32) == 0;
    }
    return !most || own < most ||
           error_set_kind(error, ERROR_BUSY,
                          "%lld jobs of this key are open; let some end, or cancel "
                          "them, before submitting more",
                          (long long)own);
}

static struct queue_job *add_job(struct coordinator *self,
                                 const struct request *request,
                                 const Farm__Job *resolved, uint64_t tasks,
                                 const uint8_t content[32])
{
    uint8_t unused[32];
    struct job_row row = {.number = ++self->last_job,
                          .latents = resolved->latents,
                          .tasks = tasks,
                          .priority = resolved->priority,
                          .created = clock_unix()};
    memcpy(row.id, request->message->envelope->submit->id.data, QUEUE_JOB_ID);
    memcpy(row.submitter, request->member->key, 32);
    memcpy(row.content, content, 32);
    uint8_t *packed = pack_job(resolved, &row.specification_size, unused);
    row.specification = packed;
    change_job(self->change, &row);
    free(packed);
    Farm__Job *copy = wire_copy(&resolved->base);
    struct queue_job *job =
        queue_add(self->queue, row.id, (uint64_t)row.number, tasks, resolved->latents);
    struct job *own = job_new(&row, &copy);
    own->share = shares_of(&self->shares, row.submitter);
    own->settled_by = self->handed + 1;
    job->priority = row.priority;
    job->tag = own;
    return job;
}

/* Holds the job against the deny list, and notes in it which one was on. */
static bool is_permitted(struct coordinator *self, const struct request *request,
                         Farm__Job *job, struct error *error)
{
    char rule[DENY_NAME];
    double share;
    free(job->deny_list.data);
    job->deny_list = (ProtobufCBinaryData){0};
    if (!self->deny)
        return true;
    bool ok = deny_permits(self->deny, request->role, job, rule, &share, error);
    limits_charge(request->member, self->settings->rate, share);
    job->deny_list = wire_own(wire_bytes(deny_hash(self->deny), DENY_HASH));
    unsigned count = ok ? 0 : limits_offence(request->member, self->now);
    if (count)
        audit_write(self->audit, "denied rule=%s by=%s from=%s times=%u", rule,
                    request->member->name, request->message->address, count);
    return ok;
}

bool handle_submit(struct coordinator *self, struct request *request,
                   struct error *error)
{
    const Farm__Submit *submit = request->message->envelope->submit;
    uint8_t content[32];
    size_t size;
    uint64_t tasks;
    free(pack_job(submit->job, &size, content));
    struct queue_job *job = queue_find(self->queue, submit->id.data);
    if (job)
        return answer_existing(self, request, job, content, error);
    const char *checker = self->settings->safety_checker;
    if (*checker && request->role != FARM__ROLE__ROLE_ADMIN)
        job_impose(submit->job, "safety-checker", checker);
    if (!has_room(self, error) || !is_within_quota(self, request, error) ||
        !job_resolve(submit->job, &self->models, &tasks, error) ||
        !is_permitted(self, request, submit->job, error))
        return false;
    job = add_job(self, request, submit->job, tasks, content);
    char id[2 * QUEUE_JOB_ID + 1];
    sodium_bin2hex(id, sizeof id, job->id, QUEUE_JOB_ID);
    audit_write(self->audit, "submitted job=%s tasks=%" PRIu64 " by=%s", id, tasks,
                request->member->name);
    metrics_count(&self->metrics, METRICS_SUBMITTED);
    tell_job_event(self, job);
    answer_accepted(self, request, job, false);
    self->match = true;
    return true;
}

bool handle_job_list(struct coordinator *self, struct request *request,
                     struct error *error)
{
    (void)error;
    size_t count;
    struct queue_job **list =
        jobs_newest(self->queue, owner_of(request),
                    request->message->envelope->job_list->open_only, &count);
    if (count > SHOWN_JOBS)
        count = SHOWN_JOBS;
    Farm__JobSummary *summary = calloc(count + 1, sizeof *summary);
    Farm__Jobs jobs = FARM__JOBS__INIT;
    jobs.jobs = calloc(count + 1, sizeof *jobs.jobs);
    if (!summary || !jobs.jobs)
        abort();
    for (size_t j = 0; j < count; j++) {
        tell_summary(self, list[j], &summary[j]);
        jobs.jobs[j] = &summary[j];
    }
    jobs.n_jobs = count;
    tell_answer(self, request, ANSWER(jobs, JOBS, &jobs));
    free(jobs.jobs);
    free(summary);
    free(list);
    return true;
}

struct queue_job *job_named(struct coordinator *self, const struct request *request,
                            ProtobufCBinaryData name, struct error *error)
{
    char *text = wire_string(name);
    struct queue_job *job = job_find(self->queue, text, owner_of(request), error);
    free(text);
    return job;
}

bool handle_job_show(struct coordinator *self, struct request *request,
                     struct error *error)
{
    const Farm__JobShow *wanted = request->message->envelope->job_show;
    struct queue_job *job = job_named(self, request, wanted->job, error);
    if (!job)
        return false;
    if (parked_add(self, request, ((const struct job *)job->tag)->settled_by))
        return true;
    Farm__JobDetail *detail = show_job(self, job, wanted->first, wanted->limit, error);
    if (!detail)
        return false;
    tell_answer(self, request, ANSWER(job_detail, JOB_DETAIL, detail));
    farm__job_detail__free_unpacked(detail, NULL);
    return true;
}

bool handle_job_cancel(struct coordinator *self, struct request *request,
                       struct error *error)
{
    struct queue_job *job =
        job_named(self, request, request->message->envelope->job_cancel->job, error);
    if (!job)
        return false;
    if (job->state == QUEUE_ALL_DONE || job->state == QUEUE_SOME_FAILED)
        return error_set_kind(error, ERROR_INPUT,
                              "the job has ended; there is nothing to cancel");
    if (job->state == QUEUE_OPEN) {
        char id[2 * QUEUE_JOB_ID + 1];
        sodium_bin2hex(id, sizeof id, job->id, QUEUE_JOB_ID);
        audit_write(self->audit, "canceled job=%s by=%s", id, request->member->name);
        work_cancel(self, job);
    }
    Farm__Done done = FARM__DONE__INIT;
    tell_answer(self, request, ANSWER(done, DONE, &done));
    return true;
}

bool handle_job_steer(struct coordinator *self, struct request *request,
                      struct error *error)
{
    const Farm__JobSteer *steer = request->message->envelope->job_steer;
    struct queue_job *job = job_named(self, request, steer->job, error);
    if (!job)
        return false;
    if (job->state != QUEUE_OPEN)
        return error_set_kind(error, ERROR_INPUT,
                              "the job has ended; only open ones can be steered");
    if (steer->change_case == FARM__JOB_STEER__CHANGE_PRIORITY &&
        !job_priority_fits(steer->priority, error))
        return false;
    if (steer->change_case == FARM__JOB_STEER__CHANGE_PRIORITY)
        job->priority = steer->priority;
    else if (steer->change_case == FARM__JOB_STEER__CHANGE_PAUSED)
        job->paused = steer->paused;
    struct job_row row = {.number = ((const struct job *)job->tag)->number,
                          .priority = job->priority,
                          .paused = job->paused};
    change_job_steered(self->change, &row);
    tell_job_event(self, job);
    self->match = true;
    Farm__Done done = FARM__DONE__INIT;
    tell_answer(self, request, ANSWER(done, DONE, &done));
    return true;
}

bool handle_watch(struct coordinator *self, struct request *request,
                  struct error *error)
{
    const Farm__Watch *watch = request->message->envelope->watch;
    const uint8_t *owner = owner_of(request);
    const uint8_t *id = watch->job.len ? watch->job.data : NULL;
    struct queue_job *job = id ? queue_find(self->queue, id) : NULL;
    if (id && (!job ||
               (owner && memcmp(((const struct job *)job->tag)->submitter, owner, 32))))
        return error_set_kind(error, ERROR_NOT_FOUND, "there is no such job");
    events_watch(self->events, request->peer, request->message->envelope->request, id,
                 owner, watch->credit);
    events_previews(self->events, request->peer, watch->previews);
    return true;
}

bool handle_unwatch(struct coordinator *self, struct request *request,
                    struct error *error)
{
    (void)error;
    events_unwatch(self->events, request->peer);
    return true;
}

bool handle_credit(struct coordinator *self, struct request *request,
                   struct error *error)
{
    (void)error;
    events_credit(self->events, request->peer,
                  request->message->envelope->credit->more);
    events_previews(self->events, request->peer,
                    request->message->envelope->credit->previews);
    return true;
}
