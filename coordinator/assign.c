/* Nodes with credit are served in rounds, one batch each, so that a job's tasks spread over
 * all of them. How many a node gets is its portion of what is left: a slow one is given
 * nothing that the others would finish sooner without it. A node for which nothing is left
 * at all tries a task again that a slower one holds.
 */
#include "coordinator/assign.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/sheet.h"
#include "proto/job/files.h"

enum {
    BATCH_MOST = 64,
    SKIPPED_MOST = 256, /* tasks found known or under way, for one batch */
    ROUNDS_MOST = 64,   /* of a turn; messages wait meanwhile */
    ASSIGN_US = 10000,  /* of a turn; what is decided goes out at its end */
    LOOKS_MOST = 16,    /* of a turn, at what others hold */
    JOBS_TRIED = 8,     /* for a node that others need not wait for */
    RETRY_LOOK_MS = 200,
    AMPLE = 16,    /* batches for every worker: nobody needs to be held back */
    COLD_PART = 4, /* an unmeasured node gets this part of an equal share */
    ASSIGN_BYTES = WIRE_CONTROL_LIMIT / 2, /* of one message */
};

/* Work of others may wait so long for a model that lies on the node. */
static const double PATIENCE_S = 300;

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

/* Where an earlier attempt at the task came to, and how far this one is to come. */
static void add_checkpoint(const struct coordinator *self, Farm__Attempt *attempt,
                           struct queue_lease *lease)
{
    const struct node *node = registry_node_numbered(&self->registry, lease->node);
    const struct checkpoint_row *row = checkpoints_for(self, lease->key, node);
    lease->goes_on = row != NULL;
    lease->hand_on = work_hands_on(self, node, lease);
    attempt->hand_on = lease->hand_on;
    if (!row)
        return;
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = row->epoch;
    id.counter = row->counter;
    Farm__Checkpoint checkpoint = FARM__CHECKPOINT__INIT;
    checkpoint.attempt = &id;
    checkpoint.step = row->step;
    checkpoint.blob = wire_bytes(row->blob, BLOB_ID);
    checkpoint.size = row->size;
    attempt->checkpoint = wire_copy(&checkpoint.base);
}

static Farm__Attempt *attempt_of(const struct coordinator *self,
                                 struct queue_lease *lease, const struct task *task)
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
    attempt->checkpoint_every =
        ((const struct job *)lease->job->tag)->specification->checkpoint_every;
    add_checkpoint(self, attempt, lease);
    attempt->job = wire_own(wire_bytes(lease->job->id, QUEUE_JOB_ID));
    attempt->key = wire_own(wire_bytes(lease->key, 32));
    attempt->model = wire_own(wire_bytes(lease->model, 32));
    if (!task_pack(task, &attempt->settings, &attempt->n_settings))
        abort();
    add_inputs(attempt, task);
    return attempt;
}

static void batch_add(const struct coordinator *self, struct batch *batch,
                      struct queue_lease *lease, const struct scheduler_task *view,
                      const struct task *task)
{
    Farm__Attempt *attempt = attempt_of(self, lease, task);
    batch->attempt[batch->count++] = attempt;
    batch->bytes += farm__attempt__get_packed_size(attempt);
    memcpy(batch->group, view->group, 32);
}

/* Deals with the job's next task for the node: leases it into the batch, or finds that
 * its result is known or under way. false when the batch ends before it. */
static bool add_next(struct coordinator *self, struct node *node, struct queue_job *job,
                     struct batch *batch)
{
    struct scheduler_task view;
    uint64_t index;
    if (!queue_next(job, node->number, node->offer.alone, self->now, &index) ||
        !work_look(self, job, index, &view))
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
    const struct task *task = job_task(job->tag, &self->models, index);
    if (!task)
        return false;
    batch_add(self, batch, work_lease(self, node, job, index, &view), &view, task);
    return true;
}

/* A lease lives in memory and attempt ids begin anew with every start: an Assign waits for
 * no commit but its job's own. Should the attempt's row never reach the disk, the worker is
 * told that the attempt is over, or its result is taken as any that comes late. */
static void send_batch(struct coordinator *self, struct node *node,
                       const struct queue_job *job, struct batch *batch,
                       uint32_t at_once)
{
    uint64_t after = ((const struct job *)job->tag)->settled_by;
    Farm__Assign assign = FARM__ASSIGN__INIT;
    assign.n_attempts = batch->count;
    assign.attempts = batch->attempt;
    assign.lease_ms = (uint32_t)self->settings->lease_ms;
    assign.at_once = at_once;
    int64_t asked = node->asked_us ? node->asked_us : self->began_us;
    if (node->session)
        outbox_push_ahead(self->outbox, node->session->peer,
                          ANSWER(assign, ASSIGN, &assign), after, asked);
    node_assigned(node, (uint32_t)batch->count);
    for (size_t a = 0; a < batch->count; a++)
        farm__attempt__free_unpacked(batch->attempt[a], NULL);
}

/* Before anything was measured a node gets little, so that little waits for a slow one. */
static uint32_t cold_portion(const struct node *node, const struct queue_job *job,
                             uint32_t workers)
{
    uint64_t part = queue_ready(job) / (COLD_PART * (uint64_t)workers);
    part = part ? part : 1;
    return part > node->leased ? (uint32_t)(part - node->leased) : 0;
}

struct looking {
    struct coordinator *self;
    const struct node *node;
};

static bool look(void *context, struct queue_job *job, uint64_t index,
                 struct scheduler_task *into)
{
    struct looking *looking = context;
    const struct job *own = job->tag;
    if (own->passed == looking->self->served || !work_suits(job, looking->node) ||
        !work_look(looking->self, job, index, into))
        return false;
    into->submitter = own->share;
    into->deadline = own->deadline;
    return true;
}

/* How many of the job's tasks the node gets; at_once: to be rendered at once. */
static uint32_t amount_of(struct coordinator *self, struct sheet *sheet,
                          struct node *node, struct queue_job *job, uint32_t workers,
                          uint32_t *at_once)
{
    uint64_t index;
    struct scheduler_task task;
    if (!queue_next(job, node->number, node->offer.alone, self->now, &index) ||
        !work_look(self, job, index, &task))
        return 0;
    uint32_t most = node->offer.batch < BATCH_MOST ? node->offer.batch : BATCH_MOST;
    *at_once = speeds_batch(&node->speeds, task.model, task.size_class, most);
    most = *at_once < node->offer.credit ? *at_once : node->offer.credit;
    if (queue_trouble(job, index) || queue_kept(job, node->number))
        return most; /* who may take it must not leave it to those who may not */
    if (workers > 1 && !speeds_known(&node->speeds, task.model)) {
        uint32_t cold = cold_portion(node, job, workers);
        most = cold < most ? cold : most;
    }
    bool ample = queue_ready(job) > AMPLE * (uint64_t)workers * most;
    return most && workers > 1 && !ample
               ? sheet_portion(self, sheet, node, job, &task, most)
               : most;
}

/* One batch for the node; false when there is nothing for it. */
static bool serve(struct coordinator *self, struct sheet *sheet, struct node *node,
                  uint32_t workers)
{
    struct batch batch = {0};
    struct queue_job *job = NULL;
    uint32_t most = 0, at_once = 1;
    self->served++;
    node->offer.patience =
        node->speeds.any > 0 ? node->speeds.any * PATIENCE_S : INFINITY;
    for (int tried = 0; tried < JOBS_TRIED && !most; tried++) {
        job = scheduler_choose(self->queue, &node->offer, self->now, look,
                               &(struct looking){self, node});
        if (!job)
            return false;
        most = amount_of(self, sheet, node, job, workers, &at_once);
        ((struct job *)job->tag)->passed = self->served;
    }
    if (!most)
        return false;
    while (batch.count < most && add_next(self, node, job, &batch))
        ;
    if (!batch.count)
        return batch.skipped > 0; /* what came next was known or under way */
    send_batch(self, node, job, &batch, at_once);
    sheet_note(self, sheet, node);
    return true;
}

/* The lease that will take longest, of those the node would end sooner. */
static struct queue_lease *worth_a_twin(const struct coordinator *self,
                                        const struct node *node)
{
    struct queue_lease *lease, *best = NULL;
    double longest = 0;
    for (lease = TAILQ_FIRST(&self->queue->leases); lease;
         lease = TAILQ_NEXT(lease, by_expiry)) {
        const struct node *holder =
            registry_node_numbered(&self->registry, lease->node);
        if (lease->twin || holder == node || lease->job->paused ||
            !work_suits(lease->job, node) ||
            (lease->goes_on && node->device->hands_on) ||
            lease->state == FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING ||
            queue_failed_on(lease->job, lease->index, node->number))
            continue;
        double own = speeds_expect(&node->speeds, lease->model, lease->size_class);
        double its = speeds_expect(&holder->speeds, lease->model, lease->size_class);
        double age = (double)(self->now - lease->started) / 1000;
        bool late = its <= 0;
        double left = late ? age : sheet_busy(self, holder, its, &late);
        left = late ? fmax(left, age) : left;
        if (own <= 0 || left <= longest ||
            !scheduler_twin_pays((node->held + (double)lease->step_pixels) / own, left))
            continue;
        best = lease;
        longest = left;
    }
    return best;
}

/* A second attempt at somebody's task; false when none is worth while. */
static bool serve_twin(struct coordinator *self, struct node *node)
{
    struct batch batch = {0};
    struct scheduler_task view;
    struct queue_lease *lease = worth_a_twin(self, node);
    const struct task *task =
        lease && work_look(self, lease->job, lease->index, &view)
            ? job_task(lease->job->tag, &self->models, lease->index)
            : NULL;
    if (!task)
        return false;
    batch_add(self, &batch, work_twin(self, node, lease), &view, task);
    send_batch(self, node, lease->job, &batch, 1);
    return true;
}

static bool wants(const struct coordinator *self, const struct node *node)
{
    return node->offer.credit && node_works(node, self->now);
}

/* Nodes that nothing is left for look at what others hold, now and then, and few in one
 * turn: each looks at every lease. */
static void serve_twins(struct coordinator *self)
{
    bool idle = false;
    int looks = 0;
    size_t count = self->registry.count, from = self->twins_from;
    for (size_t i = 0; i < count; i++) {
        size_t n = (from + i) % count;
        struct node *node = self->registry.node[n];
        if (!wants(self, node) || TAILQ_EMPTY(&self->queue->leases))
            continue;
        idle = true;
        if (self->now - node->twins_at < RETRY_LOOK_MS)
            continue;
        if (looks++ == LOOKS_MOST) {
            self->twins_from = n;
            self->match = true; /* go on in the next turn */
            break;
        }
        node->twins_at = self->now;
        while (wants(self, node) && serve_twin(self, node))
            ;
    }
    self->twins_wait = idle;
}

/* Nodes in rounds, until nothing is left to give or the time of a turn is over: then true,
 * and the next turn goes on where this one ended. */
static bool serve_all(struct coordinator *self, uint32_t workers)
{
    struct sheet sheet = {0};
    int64_t until = clock_us() + ASSIGN_US;
    size_t count = self->registry.count, from = self->serve_from;
    bool served = true, over = false;
    for (int round = 0; served && !over && round < ROUNDS_MOST; round++) {
        served = false;
        for (size_t i = 0; i < count && !over; i++) {
            struct node *node = self->registry.node[(from + i) % count];
            node->offer.alone = workers <= 1;
            if (!wants(self, node))
                continue;
            if (serve(self, &sheet, node, workers))
                served = true;
            else
                node->asked_us = 0; /* from now on it is work that is waited for */
            over = clock_us() > until;
            self->serve_from = (from + i + 1) % count;
        }
    }
    sheet_clear(&sheet);
    return served || over;
}

void assign_all(struct coordinator *self)
{
    struct error error = {0};
    struct queue_job *job, *next;
    uint64_t ready = 0;
    uint32_t workers = 0;
    for (size_t n = 0; n < self->registry.count; n++)
        workers += node_works(self->registry.node[n], self->now);
    if (!store_read_begin(self->store, &error)) /* each task's key is looked up */
        coordinator_lost(&error);
    for (job = TAILQ_FIRST(&self->queue->open); job; job = next) {
        next = TAILQ_NEXT(job, open);
        work_settle(self, job);
        work_unkeep(self, job);
        job->takers = *((const struct job *)job->tag)->device_kind
                          ? work_nodes(self, job)
                          : workers;
        ready += job->paused ? 0 : queue_ready(job);
    }
    self->behind = ready > 0 && workers > 0 && serve_all(self, workers);
    self->match = self->behind;
    if (!self->match)
        serve_twins(self);
    if (!store_read_end(self->store, &error))
        coordinator_lost(&error);
}

int assign_patience(const struct coordinator *self)
{
    struct queue_job *job;
    bool waits = self->twins_wait;
    for (job = TAILQ_FIRST(&self->queue->open); job; job = TAILQ_NEXT(job, open)) {
        const struct job *own = job->tag;
        if (job->cursor < job->tasks && own->probed != job->cursor)
            return 0;
        waits = waits || job->returned_count;
    }
    return self->match ? 0 : waits ? RETRY_LOOK_MS : -1;
}
