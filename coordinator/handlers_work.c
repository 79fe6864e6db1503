/* Workers: credit, heartbeats, how attempts end. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/handlers.h"
#include "coordinator/learned.h"
#include "coordinator/work.h"

enum {
    CREDIT_MOST = 256,
    REASON_MOST = 300,
    EVIDENCE_MOST = 16, /* of a node */
};

static struct queue_attempt attempt_id(const Farm__AttemptId *id)
{
    return (struct queue_attempt){id->epoch, id->counter};
}

/* The node's live attempt of that id, or NULL. */
static struct queue_lease *lease_of(const struct coordinator *self,
                                    const struct node *node, const Farm__AttemptId *id)
{
    struct queue_lease *lease = queue_attempt(self->queue, attempt_id(id));
    return lease && lease->node == node->number ? lease : NULL;
}

/* What only a worker's device may send. */
static bool is_node(const struct request *request, struct error *error)
{
    return request->session->node ||
           error_set_kind(error, ERROR_INPUT,
                          "the hello of this connection named no device");
}

bool handle_ready(struct coordinator *self, struct request *request,
                  struct error *error)
{
    const Farm__Ready *ready = request->message->envelope->ready;
    if (!is_node(request, error))
        return false;
    struct scheduler_node *offer = &request->session->node->offer;
    uint32_t credit = ready->credit < CREDIT_MOST ? ready->credit : CREDIT_MOST;
    if (!node_offers(request->session->node, credit, ready->received, error))
        return false;
    offer->batch = ready->batch ? ready->batch : 1;
    offer->models =
        ready->n_models < SCHEDULER_MODELS ? ready->n_models : SCHEDULER_MODELS;
    for (size_t m = 0; m < offer->models; m++)
        memcpy(offer->model[m], ready->models[m].data, 32);
    request->session->node->asked_us = clock_us();
    self->match = true;
    return true;
}

bool handle_heartbeat(struct coordinator *self, struct request *request,
                      struct error *error)
{
    const Farm__Heartbeat *heartbeat = request->message->envelope->heartbeat;
    if (!is_node(request, error))
        return false;
    struct node *node = request->session->node;
    for (size_t p = 0; p < heartbeat->n_progress; p++) {
        const Farm__Progress *progress = heartbeat->progress[p];
        struct queue_lease *lease = lease_of(self, node, progress->attempt);
        if (!lease) {
            tell_withdraw(self, node, attempt_id(progress->attempt));
            continue;
        }
        queue_renew(self->queue, lease, self->now);
        lease->confirmed = true;
        lease->state = progress->state;
        lease->step = progress->step;
        lease->steps = progress->steps;
        node->changed = true;
    }
    node->changed = node->changed || node->memory != heartbeat->memory;
    node->memory = heartbeat->memory;
    if (node->resync) {
        node->resync = false;
        work_release_node(self, node, true, "the worker no longer had it");
    }
    return true;
}

/* An error's text, short enough to be kept. */
static char *reason_of(ProtobufCBinaryData text)
{
    char *reason = wire_string(text);
    if (strlen(reason) > REASON_MOST)
        reason[REASON_MOST] = 0;
    for (size_t end = strlen(reason); end && (reason[end - 1] & 0xc0) == 0x80; end--)
        if (strlen(reason) == REASON_MOST)
            reason[end - 1] = 0;
    return reason;
}

bool handle_failed(struct coordinator *self, struct request *request,
                   struct error *error)
{
    const Farm__Failed *failed = request->message->envelope->failed;
    if (!is_node(request, error))
        return false;
    struct queue_lease *lease = lease_of(self, request->session->node, failed->attempt);
    if (!lease)
        return true;
    char *reason = reason_of(failed->text);
    work_fail(self, &lease, failed->kind == ERROR_INPUT,
              reason[0] ? reason : "it gave no reason");
    free(reason);
    return true;
}

bool handle_returned(struct coordinator *self, struct request *request,
                     struct error *error)
{
    const Farm__Returned *returned = request->message->envelope->returned;
    if (!is_node(request, error))
        return false;
    for (size_t a = 0; a < returned->n_attempts; a++) {
        struct queue_lease *lease =
            lease_of(self, request->session->node, returned->attempts[a]);
        if (lease && !work_hand_over(self, &lease, request->session->node))
            work_release(self, &lease, "the worker gave it back");
    }
    return true;
}

bool handle_checkpoint(struct coordinator *self, struct request *request,
                       struct error *error)
{
    const Farm__Checkpoint *checkpoint = request->message->envelope->checkpoint;
    if (!is_node(request, error))
        return false;
    const struct node *node = request->session->node;
    const struct queue_lease *lease = lease_of(self, node, checkpoint->attempt);
    return !lease || checkpoints_take(self, lease, node, checkpoint, error);
}

bool handle_preview(struct coordinator *self, struct request *request,
                    struct error *error)
{
    Farm__Preview *preview = request->message->envelope->preview;
    if (!is_node(request, error))
        return false;
    if (preview->png.len > WIRE_PREVIEW_LIMIT)
        return error_set_kind(error, ERROR_INPUT,
                              "preview: %zu bytes, at most %d are shown",
                              preview->png.len, WIRE_PREVIEW_LIMIT);
    const struct queue_lease *lease =
        lease_of(self, request->session->node, preview->attempt);
    if (!lease)
        return true;
    const struct job *own = lease->job->tag;
    Farm__Event event = FARM__EVENT__INIT;
    event.job = wire_bytes(lease->job->id, QUEUE_JOB_ID);
    event.preview = preview;
    preview->index = lease->index;
    events_preview(self->events, &event, own->submitter, self->now);
    return true;
}

static void answer_commit(struct coordinator *self, const struct request *request,
                          Farm__CommitAnswer verdict, const char *why)
{
    static const enum metrics_counter counters[] = {
        [FARM__COMMIT_ANSWER__COMMIT_ACCEPTED] = METRICS_ACCEPTED,
        [FARM__COMMIT_ANSWER__COMMIT_DUPLICATE] = METRICS_DUPLICATE,
        [FARM__COMMIT_ANSWER__COMMIT_SUPERSEDED] = METRICS_SUPERSEDED,
        [FARM__COMMIT_ANSWER__COMMIT_DISCARD] = METRICS_DISCARD,
        [FARM__COMMIT_ANSWER__COMMIT_RETRY] = METRICS_RETRY,
    };
    metrics_count(&self->metrics, counters[verdict]);
    Farm__Committed committed = FARM__COMMITTED__INIT;
    committed.attempt = request->message->envelope->commit->attempt;
    committed.answer = verdict;
    committed.text = wire_text(why);
    tell_answer(self, request, ANSWER(committed, COMMITTED, &committed));
}

static bool blob_is(const struct coordinator *self, ProtobufCBinaryData id,
                    uint64_t size)
{
    uint64_t found;
    return blob_has(self->blobs, id.data, &found) && found == size;
}

/* The row of a result whose files are here; false when they are not. */
static bool row_of(const struct coordinator *self, const Farm__Result *result,
                   struct result_row *row)
{
    *row = (struct result_row){.png_size = result->png_size,
                               .latents_size = result->latents_size,
                               .has_latents = result->latents.len == BLOB_ID,
                               .seconds = result->seconds,
                               .step_pixels = result->step_pixels,
                               .provenance = ""};
    memcpy(row->png, result->png.data, BLOB_ID);
    memcpy(row->pixels, result->pixels.data, 32);
    if (row->has_latents)
        memcpy(row->latents, result->latents.data, BLOB_ID);
    return blob_is(self, result->png, result->png_size) &&
           (!row->has_latents || blob_is(self, result->latents, result->latents_size));
}

/* A result for a task that has one: the same pixels, or evidence that something differs
 * between nodes that must not. A little evidence is enough: nobody fills the disk with it. */
static void compare(struct coordinator *self, struct request *request,
                    struct result_row *row, const struct result_row *known)
{
    const Farm__Commit *commit = request->message->envelope->commit;
    struct node *node = request->session->node;
    if (memcmp(known->pixels, row->pixels, 32) == 0) {
        answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_DUPLICATE, NULL);
        return;
    }
    if (node->evidence++ >= EVIDENCE_MOST) {
        answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_SUPERSEDED, NULL);
        return;
    }
    row->number = ++self->last_result;
    row->node = node->name;
    row->superseded = true;
    row->provenance = "";
    memcpy(row->key, commit->key.data, 32);
    work_name_blob(self, row->png, row->png_size);
    if (row->has_latents)
        work_name_blob(self, row->latents, row->latents_size);
    change_result(self->change, row);
    log_warn("%s rendered other pixels than %s for the same task", node->name,
             known->node);
    answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_SUPERSEDED, NULL);
}

/* The task a commit without a live attempt is for: true when it still wants a result. */
static bool task_wants(struct coordinator *self, const Farm__Commit *commit,
                       struct queue_job *job, struct queue_lease **lease)
{
    struct scheduler_task view;
    if (!job || job->state != QUEUE_OPEN || commit->index >= job->tasks ||
        !work_look(self, job, commit->index, &view) ||
        memcmp(view.key, commit->key.data, 32) != 0)
        return false;
    *lease = queue_rendering(self->queue, view.key);
    enum queue_task state = job->task[commit->index];
    return *lease || state == QUEUE_READY || state == QUEUE_FAILED;
}

/* The attempt that holds the task, and that this result is not of, has been overtaken. */
static void withdraw_other(struct coordinator *self, const struct queue_lease *lease,
                           const Farm__Commit *commit)
{
    struct queue_attempt id = attempt_id(commit->attempt);
    if (lease && memcmp(&lease->id, &id, sizeof id) != 0)
        tell_withdraw(self, registry_node_numbered(&self->registry, lease->node),
                      lease->id);
}

/* What was rendered in the time measured: less than the task where it went on from a
 * checkpoint. */
static uint64_t step_pixels_of(const struct queue_lease *lease,
                               const Farm__Result *result)
{
    return result->step_pixels && result->step_pixels < lease->step_pixels
               ? result->step_pixels
               : lease->step_pixels;
}

bool handle_commit(struct coordinator *self, struct request *request,
                   struct error *error)
{
    const Farm__Commit *commit = request->message->envelope->commit;
    if (!is_node(request, error))
        return false;
    struct result_row row, known;
    struct queue_job *job = queue_find(self->queue, commit->job.data);
    struct queue_lease *lease = queue_attempt(self->queue, attempt_id(commit->attempt));
    if (request->session->node->order == NODE_BLOCKED) {
        answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_DISCARD, NULL);
        return true;
    }
    if (!row_of(self, commit->result, &row)) {
        answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_RETRY,
                      "the depot lacks a file of this result, or has it with another "
                      "size; offer it again");
        return true;
    }
    if (lease && memcmp(lease->key, commit->key.data, 32) != 0)
        lease = NULL;
    bool own = lease != NULL;
    if (!lease && !task_wants(self, commit, job, &lease)) {
        if (recent_find(&self->recent, self->store, commit->key.data, false, &known)) {
            compare(self, request, &row, &known);
            result_row_clear(&known);
        } else {
            answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_DISCARD, NULL);
        }
        return true;
    }
    bool lacks = (lease ? lease->job : job)->latents && !row.has_latents;
    if (lacks && (own || job->latents || job->task[commit->index] == QUEUE_DONE)) {
        if (own && lease->job == job)
            work_fail(self, &lease, false, "its result lacks the latents asked for");
        else if (own)
            work_release(self, &lease, "it was not asked for the latents needed now");
        answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_DISCARD, NULL);
        return true;
    }
    bool decoded_only = lease && lease->goes_on && !commit->result->step_pixels;
    if (lease && !decoded_only)
        learned_measure(request->session->node, lease->model, lease->size_class,
                        commit->result->at_once, row.seconds,
                        step_pixels_of(lease, commit->result));
    if (!lacks)
        withdraw_other(self, lease, commit);
    uint64_t index = own ? lease->index : commit->index;
    job = own ? lease->job : job; /* what else it names was not looked at */
    work_take(self, &lease, job, index, request->session->node, commit->key.data, &row);
    answer_commit(self, request, FARM__COMMIT_ANSWER__COMMIT_ACCEPTED, NULL);
    return true;
}
