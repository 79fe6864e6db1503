#include "coordinator/work.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"

enum {
    SETTLED_A_TURN = 256,
    RETRY_MS = 500, /* per fault, before a task is tried again */
};

/* Tasks with equal groups share a batch: all is equal but prompts and seed. */
static void group_of(const struct task *task, uint8_t group[32])
{
    struct task same = *task;
    char empty[] = "";
    same.prompt = same.negative = empty;
    same.seed = 0;
    task_key(&same, NULL, group);
}

/* No other job's results and renderings are its own: they may be other devices'. */
static bool is_apart(const Farm__Job *job)
{
    return job->force || job->same_device_kind;
}

/* Whether the tasks differ in prompt and seed alone: their groups and sizes are one. */
static bool is_like(const struct job *own, uint64_t one, uint64_t other)
{
    return other != UINT64_MAX && own->expansion &&
           expansion_axes(own->expansion, one) == expansion_axes(own->expansion, other);
}

bool work_look(struct coordinator *self, struct queue_job *job, uint64_t index,
               struct scheduler_task *view)
{
    struct job *own = job->tag;
    if (own->view_index != index) {
        bool like = is_like(own, index, own->view_index);
        const struct task *task = job_task(own, &self->models, index);
        own->view_index = UINT64_MAX;
        if (!task || !blob_parse(task->model, own->view.model, NULL))
            return false;
        task_key(task, is_apart(own->specification) ? job->id : NULL, own->view.key);
        if (!like)
            group_of(task, own->view.group);
        uint64_t pixels = task->width * task->height;
        own->view.size_class = speeds_class(pixels);
        own->view.step_pixels = pixels * (task->steps ? task->steps : 1);
        own->view_index = index;
    }
    *view = own->view;
    view->used = share_used(own->share, clock_unix());
    return true;
}

/* What the task costs is its submitter's, from the lease on. */
static void charge(const struct queue_job *job, double step_pixels)
{
    share_charge(((const struct job *)job->tag)->share, step_pixels, clock_unix());
}

static void task_done(struct coordinator *self, struct queue_job *job, uint64_t index,
                      const struct result_row *result)
{
    struct task_row row = {.job = ((const struct job *)job->tag)->number,
                           .index = index,
                           .state = QUEUE_DONE,
                           .result = result->number,
                           .reason = ""};
    change_task(self->change, &row);
    metrics_count(&self->metrics, METRICS_DONE);
    tell_task_event(self, job, index, FARM__TASK_STATE__TASK_DONE, result, result->node,
                    NULL);
}

bool work_known(struct coordinator *self, struct queue_job *job, uint64_t index,
                const struct scheduler_task *view)
{
    struct result_row result;
    if (!recent_find(&self->recent, self->store, view->key, job->latents, &result))
        return false;
    queue_known(job, index);
    metrics_count(&self->metrics, METRICS_REUSED);
    task_done(self, job, index, &result);
    result_row_clear(&result);
    return true;
}

void work_settle(struct coordinator *self, struct queue_job *job)
{
    struct job *own = job->tag;
    for (int t = 0; t < SETTLED_A_TURN; t++) {
        struct scheduler_task view;
        uint64_t index = job->cursor;
        if (index >= job->tasks || own->probed == index)
            return;
        if (!work_look(self, job, index, &view) || !work_known(self, job, index, &view))
            own->probed = index;
    }
}

/* The attempt's row, and what it means for its node. */
static void attempt_begins(struct coordinator *self, struct node *node,
                           const struct queue_lease *lease)
{
    struct attempt_row row = {
        .epoch = lease->id.epoch,
        .counter = lease->id.counter,
        .job = ((const struct job *)lease->job->tag)->number,
        .index = lease->index,
        .device = node->index,
        .node = node->name,
        .started = clock_unix(),
    };
    memcpy(row.key, lease->key, 32);
    memcpy(row.worker, node->key, 32);
    change_attempt(self->change, &row);
    metrics_count(&self->metrics, METRICS_ASSIGNED);
    node_lease(node, lease->step_pixels, self->now);
}

void work_cost(struct queue_lease *lease, const struct scheduler_task *view)
{
    memcpy(lease->model, view->model, 32);
    lease->size_class = view->size_class;
    lease->step_pixels = view->step_pixels;
}

struct queue_lease *work_lease(struct coordinator *self, struct node *node,
                               struct queue_job *job, uint64_t index,
                               const struct scheduler_task *view)
{
    struct queue_lease *lease =
        queue_lease(self->queue, job, index, view->key, node->number, self->now);
    work_keep_to_kind(self, job, node);
    work_cost(lease, view);
    charge(job, (double)view->step_pixels);
    attempt_begins(self, node, lease);
    return lease;
}

struct queue_lease *work_twin(struct coordinator *self, struct node *node,
                              struct queue_lease *lease)
{
    struct queue_lease *twin = queue_twin(self->queue, lease, node->number, self->now);
    attempt_begins(self, node, twin);
    return twin;
}

/* The lines that follow are about this attempt. */
static void about(const struct coordinator *self, const struct queue_lease *lease)
{
    const struct node *node = registry_node_numbered(&self->registry, lease->node);
    struct log_subject subject = {.task = (int64_t)lease->index,
                                  .epoch = lease->id.epoch,
                                  .attempt = lease->id.counter};
    snprintf(subject.node, sizeof subject.node, "%s", node->name);
    sodium_bin2hex(subject.job, sizeof subject.job, lease->job->id, QUEUE_JOB_ID);
    log_about(&subject);
}

/* What every end of an attempt has in common. */
static void attempt_ends(struct coordinator *self, const struct queue_lease *lease,
                         const char *why, bool fault)
{
    struct node *node = registry_node_numbered(&self->registry, lease->node);
    change_attempt_ended(self->change, lease->id.epoch, lease->id.counter, why, fault);
    node_release(node, lease->step_pixels, self->now);
    self->match = true;
}

/* Ends a lease that has no result: it goes on elsewhere, or the task is ready again and
 * its submitter has not had it. */
static void give_back(struct coordinator *self, struct queue_lease **lease,
                      int64_t not_before)
{
    if (!(*lease)->twin)
        charge((*lease)->job, -(double)(*lease)->step_pixels);
    queue_release(self->queue, lease, not_before);
}

void work_release(struct coordinator *self, struct queue_lease **lease, const char *why)
{
    struct queue_job *job = (*lease)->job;
    uint64_t index = (*lease)->index;
    bool goes_on = (*lease)->twin != NULL;
    metrics_count(&self->metrics, METRICS_RELEASED);
    attempt_ends(self, *lease, why, false);
    give_back(self, lease, 0);
    if (!goes_on)
        tell_task_event(self, job, index, FARM__TASK_STATE__TASK_READY, NULL, NULL,
                        why);
}

/* The other attempt at the lease's task, if any, is not wanted any more. */
static void drop_twin(struct coordinator *self, struct queue_lease *lease)
{
    struct queue_lease *twin = lease->twin;
    if (!twin)
        return;
    attempt_ends(self, twin, "done elsewhere", false);
    tell_withdraw(self, registry_node_numbered(&self->registry, twin->node), twin->id);
    queue_release(self->queue, &twin, 0);
}

struct failure {
    struct coordinator *self;
    const char *node;
    const char *reason;
};

static void task_failed(void *context, struct queue_job *job, uint64_t index)
{
    struct failure *failure = context;
    struct task_row row = {.job = ((const struct job *)job->tag)->number,
                           .index = index,
                           .state = QUEUE_FAILED,
                           .reason = failure->reason};
    change_task(failure->self->change, &row);
    tell_task_event(failure->self, job, index, FARM__TASK_STATE__TASK_FAILED, NULL,
                    failure->node, failure->reason);
}

/* All that went wrong with the task, node by node. */
static void explain(struct coordinator *self, const struct queue_lease *lease,
                    struct buffer *into)
{
    const struct queue_trouble *trouble = queue_trouble(lease->job, lease->index);
    for (unsigned f = 0; trouble && f < trouble->count; f++) {
        const struct node *node =
            registry_node_numbered(&self->registry, trouble->fault[f].node);
        buffer_printf(into, NULL, "%s%s: %s", f ? "; " : "", node->name,
                      trouble->fault[f].text);
    }
}

void work_fail(struct coordinator *self, struct queue_lease **lease, bool final,
               const char *text)
{
    struct node *node = registry_node_numbered(&self->registry, (*lease)->node);
    struct queue_job *job = (*lease)->job;
    uint64_t index = (*lease)->index;
    bool spent = queue_fault(*lease, work_nodes(self, job), node->images, text);
    attempt_ends(self, *lease, text, true);
    metrics_count(&self->metrics, METRICS_FAILED);
    about(self, *lease);
    log_warn("%s failed a task: %s", node->name, text);
    tell_trouble(job, node, text);
    log_about(NULL);
    if (final)
        drop_twin(self, *lease);
    if (final || (spent && !(*lease)->twin)) {
        struct buffer reason = {0};
        explain(self, *lease, &reason);
        struct failure failure = {self, node->name, buffer_text(&reason)};
        charge(job, -(double)(*lease)->step_pixels);
        checkpoints_end(self, (*lease)->key);
        queue_give_up(self->queue, lease, task_failed, &failure);
        buffer_clear(&reason);
        return;
    }
    int64_t faults = queue_trouble(job, index)->faults;
    bool goes_on = (*lease)->twin != NULL;
    give_back(self, lease, self->now + faults * RETRY_MS);
    if (!goes_on)
        tell_task_event(self, job, index, FARM__TASK_STATE__TASK_READY, NULL,
                        node->name, text);
}

/* Nodes that failed a task which another finished, once too often. */
struct guilty {
    struct node *node[QUEUE_FAULTS];
    char *why[QUEUE_FAULTS];
    unsigned count;
};

static void blame(struct coordinator *self, const struct queue_job *job, uint64_t index,
                  const struct node *finisher, struct guilty *guilty)
{
    const struct queue_trouble *trouble = queue_trouble(job, index);
    for (unsigned f = 0; trouble && f < trouble->count; f++) {
        struct node *node =
            registry_node_numbered(&self->registry, trouble->fault[f].node);
        if (node == finisher || !node_blame(node, trouble->fault[f].mark))
            continue;
        guilty->node[guilty->count] = node;
        guilty->why[guilty->count++] = path_format(
            "%d tasks in a row failed there that others finished; the last one: %s",
            NODE_FAULTS, trouble->fault[f].text);
    }
}

void work_name_blob(struct coordinator *self, const uint8_t id[32], uint64_t size)
{
    bool synced = coordinator_is_synced(self, id);
    (synced ? change_synced_blob : change_blob)(self->change, id, size);
    recent_name(&self->recent, id, self->handed + 1);
    depot_named(self->depot, id);
}

static void block_guilty(struct coordinator *self, struct guilty *guilty)
{
    for (unsigned g = 0; g < guilty->count; g++) {
        work_order(self, guilty->node[g], NODE_BLOCKED, guilty->why[g]);
        free(guilty->why[g]);
    }
}

struct taking {
    struct coordinator *self;
    const struct result_row *result;
};

static void take_task(void *context, struct queue_job *job, uint64_t index)
{
    struct taking *taking = context;
    task_done(taking->self, job, index, taking->result);
}

static bool is_open_for(const struct queue_job *job, uint64_t index,
                        const struct result_row *result)
{
    return job->state == QUEUE_OPEN && (!job->latents || result->has_latents) &&
           (job->task[index] == QUEUE_READY || job->task[index] == QUEUE_FAILED);
}

void work_take(struct coordinator *self, struct queue_lease **lease,
               struct queue_job *job, uint64_t index, struct node *node,
               const uint8_t key[32], struct result_row *result)
{
    struct buffer provenance = {0};
    result->number = ++self->last_result;
    result->node = node->name;
    memcpy(result->key, key, 32);
    bool plain = *lease && (*lease)->job->latents && !result->has_latents;
    const struct queue_lease *whose = plain ? NULL : *lease;
    work_sign(self, whose ? whose->job : job, whose ? whose->index : index, node,
              result, &provenance);
    result->provenance = buffer_text(&provenance);
    work_name_blob(self, result->png, result->png_size);
    if (result->has_latents)
        work_name_blob(self, result->latents, result->latents_size);
    change_result(self->change, result);
    recent_add(&self->recent, result, self->handed + 1);
    checkpoints_end(self, key);
    metrics_time(&self->metrics, METRICS_RENDER_S, result->seconds);
    node_credit_image(node, self->now);
    struct guilty guilty = {.count = 0};
    blame(self, whose ? whose->job : job, whose ? whose->index : index, node, &guilty);
    struct taking taking = {self, result};
    if (plain) {
        charge(job, (double)result->step_pixels);
        queue_finish_plain(*lease, job, index, take_task, &taking);
    } else if (*lease) {
        drop_twin(self, *lease);
        attempt_ends(self, *lease,
                     (*lease)->node == node->number ? "done" : "done elsewhere", false);
        queue_finish(self->queue, lease, result->has_latents, take_task, &taking);
        if (is_open_for(job, index, result)) { /* it did not share the lease yet */
            queue_known(job, index);
            task_done(self, job, index, result);
        }
    } else {
        charge(job, (double)result->step_pixels);
        queue_known(job, index);
        task_done(self, job, index, result);
    }
    block_guilty(self, &guilty);
    result->provenance = "";
    buffer_clear(&provenance);
}

static void attempt_dropped(void *context, struct queue_lease *lease)
{
    struct coordinator *self = context;
    struct node *node = registry_node_numbered(&self->registry, lease->node);
    attempt_ends(self, lease, "canceled", false);
    if (!lease->marked)
        charge(lease->job, -(double)lease->step_pixels);
    tell_withdraw(self, node, lease->id);
}

static void attempt_moved(void *context, struct queue_lease *lease)
{
    struct coordinator *self = context;
    struct attempt_row row = {
        .epoch = lease->id.epoch,
        .counter = lease->id.counter,
        .job = ((const struct job *)lease->job->tag)->number,
        .index = lease->index,
    };
    change_attempt_moved(self->change, &row);
}

/* What a job's end has in common, however it ended. */
static void job_ends(struct coordinator *self, struct queue_job *job)
{
    struct job *own = job->tag;
    own->ended = clock_unix();
    own->cursor_stored = job->cursor;
    struct job_row row = {
        .number = own->number,
        .cursor = job->cursor,
        .state = (int)job->state,
        .done = job->done,
        .failed = job->failed,
        .canceled = job->canceled,
        .ended = own->ended,
    };
    checkpoints_end_job(self, own->number);
    change_job_ended(self->change, &row);
    own->settled_by = self->handed + 1;
    job_shut(own);
    tell_job_event(self, job);
}

void work_cancel(struct coordinator *self, struct queue_job *job)
{
    queue_cancel(self->queue, job, attempt_dropped, attempt_moved, self);
    job_ends(self, job);
}

void work_release_node(struct coordinator *self, struct node *node, bool unconfirmed,
                       const char *why)
{
    struct queue_lease *next;
    for (struct queue_lease *lease = TAILQ_FIRST(&self->queue->leases); lease;
         lease = next) {
        next = TAILQ_NEXT(lease, by_expiry);
        if (lease->node == node->number && !(unconfirmed && lease->confirmed))
            work_release(self, &lease, why);
    }
}

/* Nothing that the node holds is wanted of it any more. */
static void withdraw_all(struct coordinator *self, const struct node *node)
{
    const struct queue_lease *lease;
    for (lease = TAILQ_FIRST(&self->queue->leases); lease;
         lease = TAILQ_NEXT(lease, by_expiry)) {
        if (lease->node == node->number)
            tell_withdraw(self, node, lease->id);
    }
}

void work_order(struct coordinator *self, struct node *node, enum node_order order,
                const char *reason)
{
    struct node_row row = {
        .device = node->index, .state = (int)order, .reason = reason};
    memcpy(row.worker, node->key, 32);
    change_node(self->change, &row);
    node_set_order(node, order, reason);
    tell_drain(self, node);
    if (order == NODE_BLOCKED) {
        log_warn("%s is blocked: %s", node->name, reason);
        withdraw_all(self, node);
        work_release_node(self, node, false, "the node was blocked");
        checkpoints_end_node(self, node->number);
    }
    self->match = true;
}

void work_close_jobs(struct coordinator *self)
{
    struct queue_job *next;
    for (struct queue_job *job = TAILQ_FIRST(&self->queue->open); job; job = next) {
        struct job *own = job->tag;
        next = TAILQ_NEXT(job, open);
        if (queue_close(self->queue, job)) {
            job_ends(self, job);
        } else if (job->cursor != own->cursor_stored) {
            change_job_cursor(self->change, own->number, job->cursor);
            own->cursor_stored = job->cursor;
        }
    }
}

void work_expire(struct coordinator *self)
{
    struct queue_lease *lease;
    while ((lease = queue_expired(self->queue, self->now))) {
        const struct node *node = registry_node_numbered(&self->registry, lease->node);
        about(self, lease);
        log_warn("%s was not heard of for %" PRId64 " s; its task is ready again",
                 node->name, (self->now - node->heard) / 1000);
        log_about(NULL);
        tell_withdraw(self, node, lease->id);
        work_release(self, &lease, "the node was not heard of");
    }
}
