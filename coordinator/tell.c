#include "coordinator/tell.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"

enum { JOBS_SHOWN = 1000, PREVIEWS_LAST_MS = 5000 };

void tell_answer(struct coordinator *self, const struct request *request,
                 Farm__Envelope *envelope)
{
    envelope->request = request->message->envelope->request;
    outbox_push(self->outbox, request->peer, envelope);
}

void tell_refused(struct coordinator *self, const uint8_t peer[PEER_ID],
                  uint64_t number, const struct error *error)
{
    Farm__Refused refused = FARM__REFUSED__INIT;
    refused.kind = error->kind;
    refused.text = wire_text(error->text);
    Farm__Envelope *envelope = ANSWER(refused, REFUSED, &refused);
    envelope->request = number;
    outbox_push(self->outbox, peer, envelope);
}

void tell_node(struct coordinator *self, const struct node *node,
               Farm__Envelope *envelope)
{
    if (node->session)
        outbox_push(self->outbox, node->session->peer, envelope);
}

void tell_withdraw(struct coordinator *self, const struct node *node,
                   struct queue_attempt attempt)
{
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT, *ids[] = {&id};
    id.epoch = attempt.epoch;
    id.counter = attempt.counter;
    Farm__Withdraw withdraw = FARM__WITHDRAW__INIT;
    withdraw.n_attempts = 1;
    withdraw.attempts = ids;
    tell_node(self, node, ANSWER(withdraw, WITHDRAW, &withdraw));
}

void tell_drain(struct coordinator *self, const struct node *node)
{
    Farm__Drain drain = FARM__DRAIN__INIT;
    drain.over = node->order == NODE_FREE;
    tell_node(self, node, ANSWER(drain, DRAIN, &drain));
}

void tell_result(const struct result_row *row, Farm__Result *into)
{
    farm__result__init(into);
    into->png = wire_bytes(row->png, BLOB_ID);
    into->png_size = row->png_size;
    if (row->has_latents) {
        into->latents = wire_bytes(row->latents, BLOB_ID);
        into->latents_size = row->latents_size;
    }
    into->pixels = wire_bytes(row->pixels, 32);
    into->seconds = row->seconds;
    into->step_pixels = row->step_pixels;
    into->provenance = wire_text(row->provenance);
}

void tell_summary(const struct coordinator *self, const struct queue_job *job,
                  Farm__JobSummary *into)
{
    const struct member *submitter =
        members_find(&self->members, ((const struct job *)job->tag)->submitter);
    job_summary(job, submitter ? submitter->name : "", clock_unix(), into);
}

static void push_event(struct coordinator *self, const struct queue_job *job,
                       Farm__TaskRow *task)
{
    const struct job *own = job->tag;
    Farm__JobSummary summary;
    tell_summary(self, job, &summary);
    Farm__Event event = FARM__EVENT__INIT;
    event.job = wire_bytes(job->id, QUEUE_JOB_ID);
    event.summary = &summary;
    event.task = task;
    events_push(self->events, &event, job->id, own->submitter);
}

void tell_job_event(struct coordinator *self, const struct queue_job *job)
{
    push_event(self, job, NULL);
}

void tell_task_event(struct coordinator *self, const struct queue_job *job,
                     uint64_t index, Farm__TaskState state,
                     const struct result_row *result, const char *node,
                     const char *reason)
{
    Farm__Result shown;
    Farm__TaskRow row = FARM__TASK_ROW__INIT;
    row.index = index;
    row.state = state;
    row.node = wire_text(node);
    row.reason = wire_text(reason);
    if (result) {
        tell_result(result, &shown);
        row.result = &shown;
    }
    push_event(self, job, &row);
}

static void replace(char **text, char *by)
{
    free(*text);
    *text = by;
}

void tell_trouble(const struct queue_job *job, struct node *node, const char *text)
{
    struct job *own = job->tag;
    replace(&own->trouble, path_format("%s: %s", node->name, text));
    replace(&node->trouble, path_format("%s", text));
}

static Farm__Progress *progress_of(const struct queue_lease *lease)
{
    Farm__Progress *progress = malloc(sizeof *progress);
    Farm__AttemptId *id = malloc(sizeof *id);
    if (!progress || !id)
        abort();
    farm__progress__init(progress);
    farm__attempt_id__init(id);
    id->epoch = lease->id.epoch;
    id->counter = lease->id.counter;
    progress->attempt = id;
    progress->state = (Farm__AttemptState)lease->state;
    progress->step = lease->step;
    progress->steps = lease->steps;
    return progress;
}

bool tell_show_node(void *context, const struct node *node, const uint8_t *job,
                    Farm__Node *into)
{
    struct coordinator *self = context;
    char *state = node_state(node, self->now);
    into->name = wire_text(node->name);
    into->host = wire_text(node->host);
    into->device = node->device;
    into->state = (ProtobufCBinaryData){strlen(state), (uint8_t *)state};
    into->credit = node->offer.credit;
    into->leased = node->leased;
    into->step_pixels_per_s = node->speeds.any;
    into->images = node->images;
    into->last_seen_ms = node->heard ? self->now - node->heard : -1;
    into->memory = node->session ? node->memory : 0;
    into->key = wire_bytes(node->key, 32);
    into->images_per_minute = node_images_per_minute(node);

    into->progress = calloc(node->leased + 1, sizeof *into->progress);
    if (!into->progress)
        abort();
    struct queue_lease *lease;
    for (lease = TAILQ_FIRST(&self->queue->leases); lease;
         lease = TAILQ_NEXT(lease, by_expiry)) {
        if (lease->node == node->number && into->n_progress < node->leased &&
            (!job || memcmp(lease->job->id, job, QUEUE_JOB_ID) == 0))
            into->progress[into->n_progress++] = progress_of(lease);
    }
    return !job || into->n_progress > 0 || node->leased == 0;
}

/* Name, host, device and key are borrowed; state and progress are not. */
void tell_clear_node(Farm__Node *node)
{
    free(node->state.data);
    for (size_t p = 0; p < node->n_progress; p++)
        farm__progress__free_unpacked(node->progress[p], NULL);
    free(node->progress);
    farm__node__init(node);
}

void tell_event(void *context, const uint8_t peer[PEER_ID],
                const Farm__Envelope *envelope)
{
    struct coordinator *self = context;
    outbox_push(self->outbox, peer, envelope);
}

static void add_job(const struct coordinator *self, const struct queue_job *job,
                    Farm__Snapshot *into, Farm__JobSummary *room)
{
    Farm__JobSummary *summary = &room[into->n_jobs];
    tell_summary(self, job, summary);
    into->jobs[into->n_jobs++] = summary;
}

void tell_snapshot(void *context, const uint8_t peer[PEER_ID], uint64_t request,
                   uint64_t seq, const uint8_t *job, const uint8_t *owner)
{
    struct coordinator *self = context;
    size_t jobs = 0, nodes = self->registry.count;
    struct queue_job **list = jobs_newest(self->queue, owner, false, &jobs);
    struct queue_job *only = job ? queue_find(self->queue, job) : NULL;
    Farm__JobSummary *room = calloc(JOBS_SHOWN, sizeof *room);
    Farm__Node *node = calloc(nodes + 1, sizeof *node);
    Farm__Snapshot snapshot = FARM__SNAPSHOT__INIT;
    snapshot.seq = seq;
    snapshot.jobs = calloc(JOBS_SHOWN, sizeof *snapshot.jobs);
    snapshot.nodes = calloc(nodes + 1, sizeof *snapshot.nodes);
    if (!room || !node || !snapshot.jobs || !snapshot.nodes)
        abort();
    if (only)
        add_job(self, only, &snapshot, room);
    for (size_t j = 0; !job && j < jobs && snapshot.n_jobs < JOBS_SHOWN; j++)
        add_job(self, list[j], &snapshot, room);
    for (size_t n = 0; n < nodes; n++) {
        farm__node__init(&node[n]);
        tell_show_node(self, self->registry.node[n], NULL, &node[n]);
        snapshot.nodes[snapshot.n_nodes++] = &node[n];
    }
    Farm__Envelope *envelope = ANSWER(snapshot, SNAPSHOT, &snapshot);
    envelope->request = request;
    outbox_push(self->outbox, peer, envelope);
    for (size_t n = 0; n < nodes; n++)
        tell_clear_node(&node[n]);
    free(snapshot.nodes);
    free(snapshot.jobs);
    free(node);
    free(room);
    free(list);
}

void tell_changed_nodes(struct coordinator *self)
{
    for (size_t n = 0; n < self->registry.count; n++) {
        struct node *node = self->registry.node[n];
        if (!node->changed)
            continue;
        node->changed = false;
        if (events_watched(self->events))
            events_node(self->events, node, tell_show_node, tell_clear_node);
    }
}

void tell_preview_asks(struct coordinator *self)
{
    struct queue_lease *lease;
    if (!events_watched(self->events))
        return;
    for (lease = TAILQ_FIRST(&self->queue->leases); lease;
         lease = TAILQ_NEXT(lease, by_expiry)) {
        const struct job *own = lease->job->tag;
        if (lease->state == FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING ||
            !events_want_previews(self->events, lease->job->id, own->submitter))
            continue;
        Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
        id.epoch = lease->id.epoch;
        id.counter = lease->id.counter;
        Farm__PreviewAsk ask = FARM__PREVIEW_ASK__INIT;
        ask.attempt = &id;
        ask.lasts_ms = PREVIEWS_LAST_MS;
        tell_node(self, registry_node_numbered(&self->registry, lease->node),
                  ANSWER(preview_ask, PREVIEW_ASK, &ask));
    }
}
