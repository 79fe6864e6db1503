/* Nodes with credit are served in rounds, one batch each, so that a job's tasks spread
 * over all of them. A node whose batch was cut down to its share of what is left gets no
 * second one until it asks again: what is left belongs to the others, busy as they are. */
#include "coordinator/assign.h"

#include <stdlib.h>
#include <string.h>

#include "proto/job/files.h"

enum {
    BATCH_MOST = 64,
    SKIPPED_MOST = 256, /* tasks found known or under way, for one batch */
    ROUNDS_MOST = 64,   /* of a turn; messages wait meanwhile */
    RETRY_LOOK_MS = 200,
    ASSIGN_BYTES = WIRE_CONTROL_LIMIT / 2, /* of one message */
};

struct batch {
    Farm__Attempt *attempt[BATCH_MOST];
    size_t count, bytes, skipped;
    uint8_t group[32];
};

/* Every file was resolved when the job was submitted. */
static void add_inputs(Farm__Attempt *attempt, const struct task *task)
{
    uint8_t ids[INPUTS_MOST][BLOB_ID];
    size_t count = 0;
    task_inputs(task, ids, &count, NULL);
    attempt->inputs = calloc(count + 1, sizeof *attempt->inputs);
    if (!attempt->inputs)
        abort();
    for (; attempt->n_inputs < count; attempt->n_inputs++)
        attempt->inputs[attempt->n_inputs] =
            wire_own(wire_bytes(ids[attempt->n_inputs], BLOB_ID));
}

static Farm__Attempt *attempt_of(const struct queue_lease *lease,
                                 const struct scheduler_task *view,
                                 const struct task *task)
{
    Farm__Attempt *attempt = malloc(sizeof *attempt);
    Farm__AttemptId *id = malloc(sizeof *id);
    if (!attempt || !id)
        abort();
    farm__attempt__init(attempt);
    farm__attempt_id__init(id);
    id->epoch = lease->id.epoch;
    id->counter = lease->id.counter;
    attempt->id = id;
    attempt->index = lease->index;
    attempt->latents = lease->job->latents;
    attempt->job = wire_own(wire_bytes(lease->job->id, QUEUE_JOB_ID));
    attempt->key = wire_own(wire_bytes(view->key, 32));
    attempt->model = wire_own(wire_bytes(view->model, 32));
    if (!task_pack(task, &attempt->settings, &attempt->n_settings))
        abort();
    add_inputs(attempt, task);
    return attempt;
}

/* Deals with the job's next task for the node: leases it into the batch, or finds that
 * its result is known or under way. false when the batch ends before it. */
static bool add_next(struct coordinator *self, struct node *node, struct queue_job *job,
                     struct batch *batch)
{
    struct scheduler_task view;
    struct task task;
    uint64_t index;
    if (!queue_next(job, node->number, node->offer.alone, self->now, &index) ||
        !work_look(self, job, index, &view, NULL, NULL))
        return false;
    if (work_known(self, job, index, &view))
        return ++batch->skipped < SKIPPED_MOST;
    struct queue_lease *rendering = queue_rendering(self->queue, view.key);
    if (rendering) {
        queue_share(rendering, job, index);
        return ++batch->skipped < SKIPPED_MOST;
    }
    if (batch->count &&
        (memcmp(batch->group, view.group, 32) != 0 || batch->bytes > ASSIGN_BYTES))
        return false;
    if (!work_look(self, job, index, &view, &task, NULL))
        return false;
    struct queue_lease *lease = work_lease(self, node, job, index, &view);
    Farm__Attempt *attempt = attempt_of(lease, &view, &task);
    batch->attempt[batch->count++] = attempt;
    batch->bytes += farm__attempt__get_packed_size(attempt);
    memcpy(batch->group, view.group, 32);
    task_clear(&task);
    return true;
}

static void send_batch(struct coordinator *self, struct node *node, struct batch *batch)
{
    Farm__Assign assign = FARM__ASSIGN__INIT;
    assign.n_attempts = batch->count;
    assign.attempts = batch->attempt;
    assign.lease_ms = (uint32_t)self->settings->lease_ms;
    tell_node(self, node, ANSWER(assign, ASSIGN, &assign));
    for (size_t a = 0; a < batch->count; a++)
        farm__attempt__free_unpacked(batch->attempt[a], NULL);
}

static bool look(void *context, struct queue_job *job, uint64_t index,
                 struct scheduler_task *into)
{
    return work_look(context, job, index, into, NULL, NULL);
}

/* One batch for the node; false when there is nothing for it. */
static bool serve(struct coordinator *self, struct node *node, uint32_t workers)
{
    struct batch batch = {0};
    struct queue_job *job =
        scheduler_choose(self->queue, &node->offer, self->now, look, self);
    if (!job)
        return false;
    uint32_t most = scheduler_batch(job, &node->offer, workers);
    if (most > BATCH_MOST)
        most = BATCH_MOST;
    uint32_t liked =
        node->offer.batch < node->offer.credit ? node->offer.batch : node->offer.credit;
    while (batch.count < most && add_next(self, node, job, &batch))
        ;
    if (!batch.count)
        return queue_ready(job) > 0; /* what came next was known or under way */
    node->rationed = most < liked;
    node_assigned(node, (uint32_t)batch.count);
    send_batch(self, node, &batch);
    return true;
}

static bool wants(const struct coordinator *self, const struct node *node)
{
    return node->offer.credit && node_works(node, self->now) &&
           (!node->rationed || !node->leased);
}

void assign_all(struct coordinator *self)
{
    struct queue_job *job, *next;
    uint64_t ready = 0;
    for (job = TAILQ_FIRST(&self->queue->open); job; job = next) {
        next = TAILQ_NEXT(job, open);
        work_settle(self, job);
        ready += queue_ready(job);
    }
    uint32_t workers = 0;
    for (size_t n = 0; n < self->registry.count; n++)
        workers += node_works(self->registry.node[n], self->now);
    bool served = ready > 0 && workers > 0;
    for (int round = 0; served && round < ROUNDS_MOST; round++) {
        served = false;
        for (size_t n = 0; n < self->registry.count; n++) {
            struct node *node = self->registry.node[n];
            node->offer.alone = workers <= 1;
            if (wants(self, node) && serve(self, node, workers))
                served = true;
        }
    }
    self->match = served;
}

int assign_patience(const struct coordinator *self)
{
    struct queue_job *job;
    bool waits = false;
    for (job = TAILQ_FIRST(&self->queue->open); job; job = TAILQ_NEXT(job, open)) {
        const struct job *own = job->tag;
        if (job->cursor < job->tasks && own->probed != job->cursor)
            return 0;
        waits = waits || job->returned_count;
    }
    return self->match ? 0 : waits ? RETRY_LOOK_MS : -1;
}
