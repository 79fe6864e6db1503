#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "proto/files/manifest.h"
#include "worker/device_private.h"
#include "worker/pieces.h"

enum {
    BATCH_CPU = 4
}; /* more does not make a processor faster, only its steps longer */

void device_about(const struct device *self, const struct attempt *attempt)
{
    struct log_subject subject = {.task = -1};
    snprintf(subject.node, sizeof subject.node, "%s", self->node);
    if (attempt) {
        subject.task = (int64_t)attempt->index;
        subject.epoch = attempt->epoch;
        subject.attempt = attempt->counter;
        sodium_bin2hex(subject.job, sizeof subject.job, attempt->job,
                       sizeof attempt->job);
    }
    log_about(&subject);
}

void device_fail(struct device *self, struct attempt *attempt, const struct error *why)
{
    device_about(self, attempt);
    log_warn("task %llu: %s", (unsigned long long)attempt->index, why->text);
    device_about(self, NULL);
    if (attempt->withdrawn ||
        (self->greeted && control_failed(self->link, attempt, why)))
        attempts_remove(&self->attempts, attempt->epoch, attempt->counter);
    else
        attempt_keep_failure(attempt, why);
}

/* Asks for the model or file where it is not here; false when there is no place for it. */
static bool want_one(struct device *self, const uint8_t id[BLOB_ID], bool *here)
{
    struct model *model = models_get(&self->models, id);
    if (!model)
        return false;
    *here = *here && model->manifest;
    if (!model->manifest && !model->wanted)
        io_want_model(self->io, id);
    model->wanted = model->wanted || !model->manifest;
    return true;
}

/* Asks for what the attempt goes on from; true when it need not be waited for. */
static bool has_start(struct device *self, struct attempt *attempt)
{
    struct attempt_start *start = &attempt->start;
    if (start->state == START_ELSEWHERE) {
        io_want_checkpoint(self->io, attempt->epoch, attempt->counter, start->blob,
                           start->size);
        start->state = START_COMING;
    }
    return start->state != START_COMING;
}

bool device_want(struct device *self, struct attempt *attempt)
{
    bool here = true, ok = want_one(self, attempt->model, &here);
    for (size_t i = 0; ok && i < attempt->inputs; i++)
        ok = want_one(self, attempt->input[i], &here);
    here = ok && has_start(self, attempt) && here;
    attempt->state = here ? FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED
                          : FARM__ATTEMPT_STATE__ATTEMPT_FETCHING;
    if (here && !attempt->ready_us)
        attempt->ready_us = clock_us();
    if (!ok) {
        struct error error = {0};
        error_set_kind(&error, ERROR_BUSY, "too many models are being fetched");
        device_fail(self, attempt, &error);
    }
    return ok;
}

static bool needs(const struct attempt *attempt, const uint8_t id[BLOB_ID])
{
    bool needed = memcmp(attempt->model, id, BLOB_ID) == 0;
    for (size_t i = 0; i < attempt->inputs && !needed; i++)
        needed = memcmp(attempt->input[i], id, BLOB_ID) == 0;
    return needed;
}

/* ---- the device */

static void on_step(struct device *self, const struct render_event *event, int64_t now)
{
    watchdog_alive(&self->dog, now);
    for (size_t i = 0; i < self->attempts.count; i++) {
        struct attempt *attempt = self->attempts.item[i];
        if (attempt->state != FARM__ATTEMPT_STATE__ATTEMPT_RENDERING)
            continue;
        attempt->step = (uint32_t)event->done;
        attempt->steps = (uint32_t)event->of;
    }
    self->nearly_done = 4 * event->done >= 3 * event->of;
}

static void on_image(struct device *self, struct render_event *event)
{
    const struct attempt *rendered = &event->rendered->attempt;
    struct attempt *attempt =
        attempts_find(&self->attempts, rendered->epoch, rendered->counter);
    if (!attempt)
        return;
    if (attempt->withdrawn) {
        attempts_remove(&self->attempts, attempt->epoch, attempt->counter);
        return;
    }
    attempt->state = FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING;
    io_finish(self->io, &event->rendered);
}

static void give_back(struct device *self, struct attempt *attempt)
{
    control_returned(self->link, &attempt, 1);
    attempts_remove(&self->attempts, attempt->epoch, attempt->counter);
}

bool device_hands_over(const struct device *self)
{
    bool any = false;
    for (size_t i = 0; i < self->attempts.count; i++)
        any = any || self->attempts.item[i]->returns;
    return any;
}

static void on_kept(struct device *self, struct render_event *event)
{
    struct attempt *attempt =
        attempts_find(&self->attempts, event->epoch, event->counter);
    if (!attempt || attempt->withdrawn)
        return;
    attempt->kept = event->step;
    io_offer_checkpoint(self->io, event->epoch, event->counter, event->step,
                        &event->bytes);
}

static void on_preview(struct device *self, const struct render_event *event)
{
    const struct attempt *attempt =
        attempts_find(&self->attempts, event->epoch, event->counter);
    if (attempt && self->greeted && attempt->shown_until > clock_ms())
        control_preview(self->link, attempt, event->step, &event->bytes);
}

/* The coordinator must not give that snapshot to anybody again. */
static void begin_anew(struct device *self, struct attempt *attempt, uint32_t step,
                       const struct error *why)
{
    device_about(self, attempt);
    log_warn("task %llu begins anew: %s", (unsigned long long)attempt->index,
             why->text);
    device_about(self, NULL);
    attempt_start_anew(attempt);
    if (self->greeted)
        control_no_checkpoint(self->link, attempt, step);
}

static void on_anew(struct device *self, const struct render_event *event)
{
    for (size_t i = 0; i < self->attempts.count; i++) {
        struct attempt *attempt = self->attempts.item[i];
        if (attempt->state == FARM__ATTEMPT_STATE__ATTEMPT_RENDERING)
            begin_anew(self, attempt, attempt->start.step, &event->error);
    }
}

/* An attempt whose batch ended before its pixels: it goes back once its last snapshot is
 * there. One that has none and was to be decoded elsewhere is decoded here after all. False
 * where the batch ended for another reason. */
static bool take_halfway(struct device *self, struct attempt *attempt,
                         const struct error *why)
{
    bool handed = attempt->hand_on && why->kind == ERROR_BUSY;
    if (!self->stopping && !handed)
        return false;
    if (attempt->kept > attempt->kept_there) {
        attempt->state = FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING;
        attempt->returns = true;
    } else if (self->stopping) {
        give_back(self, attempt);
    } else {
        attempt->hand_on = false;
        attempt->state = FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED;
        attempt->step = 0;
    }
    return true;
}

/* What a batch that failed leaves: smaller batches, or the end of its attempts. */
static void take_failure(struct device *self, const struct error *why)
{
    size_t count =
        attempts_in_state(&self->attempts, FARM__ATTEMPT_STATE__ATTEMPT_RENDERING);
    if (why->kind == ERROR_MEMORY && count > 1) {
        self->batch = count / 2;
        log_warn("%s; trying %zu at once from now on", why->text, self->batch);
    }
    for (size_t i = self->attempts.count; i-- > 0;) {
        struct attempt *attempt = self->attempts.item[i];
        if (attempt->state != FARM__ATTEMPT_STATE__ATTEMPT_RENDERING)
            continue;
        bool again =
            count > 1 && (why->kind == ERROR_MEMORY || why->kind == ERROR_INPUT);
        if (attempt->withdrawn) {
            attempts_remove(&self->attempts, attempt->epoch, attempt->counter);
        } else if (again) {
            /* one task's input must not fail its neighbours */
            attempt->alone = why->kind == ERROR_INPUT;
            attempt->state = FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED;
            attempt->step = 0;
        } else if (!take_halfway(self, attempt, why)) {
            device_fail(self, attempt, why);
        }
    }
    if (why->kind == ERROR_DEVICE) {
        log_error("the device failed and is opened anew: %s", why->text);
        self->status = DEVICE_BROKEN;
        self->over = true;
    }
}

static void on_opened(struct device *self, struct render_event *event)
{
    struct error error = {0};
    self->info = event->info;
    self->tuning = event->tuning;
    event->tuning = NULL;
    self->unfit = event->error;
    self->batch = (size_t)self->settings->batch;
    if (self->info.is_cpu && self->batch > BATCH_CPU)
        self->batch = BATCH_CPU;
    if (self->batch > BATCH_MOST)
        self->batch = BATCH_MOST;
    watchdog_stop(&self->dog, false, clock_ms());
    if (self->unfit.text[0])
        log_error("%s gets no work: %s", self->info.name, self->unfit.text);
    else
        log_info("%s proved itself", self->info.name);
    if (!device_connect(self, &error)) {
        log_error("%s", error.text);
        self->status = 1;
        self->over = true;
    }
}

void device_on_render(struct device *self, struct render_event *event)
{
    int64_t now = clock_ms();
    switch (event->kind) {
    case RENDER_OPENED:
        on_opened(self, event);
        break;
    case RENDER_NO_DEVICE:
        log_error("%s", event->error.text);
        self->status = DEVICE_BROKEN;
        self->over = true;
        break;
    case RENDER_LOADING:
        watchdog_forget_shapes(&self->dog);
        break;
    case RENDER_STARTED:
        self->memory = event->memory;
        watchdog_start(&self->dog, event->width, event->height, event->count, now);
        break;
    case RENDER_STEP:
        on_step(self, event, now);
        break;
    case RENDER_KEPT:
        on_kept(self, event);
        break;
    case RENDER_PREVIEW:
        on_preview(self, event);
        break;
    case RENDER_ANEW:
        on_anew(self, event);
        break;
    case RENDER_IMAGE:
        on_image(self, event);
        break;
    case RENDER_ENDED:
        self->memory = event->memory;
        watchdog_stop(&self->dog, event->ok, now);
        if (!event->ok)
            take_failure(self, &event->error);
        self->rendering = self->nearly_done = false;
        break;
    case RENDER_TUNED:
        device_tell_tuned(self, &event->tuned);
        break;
    case RENDER_STOPPED:
        break;
    }
}

/* ---- the I/O actor */

/* The cache holds on to what it handed out last and no more. */
static void empty_old_models(struct device *self)
{
    size_t models = 0, files = 0;
    for (size_t i = 0; i < self->models.count; i++) {
        struct model *model = self->models.item[i];
        if (!model->manifest)
            continue;
        bool kept = manifest_is_input(model->manifest) ? ++files <= PIECES_INPUTS_PINNED
                                                       : ++models <= PIECES_PINNED;
        if (!kept)
            model_empty(model);
    }
}

static void on_model(struct device *self, struct io_event *event)
{
    struct model *model = models_get(&self->models, event->model);
    if (!model)
        return;
    model_fill(model, &event->files, &event->manifest);
    models_use(&self->models, model);
    empty_old_models(self);
    for (size_t i = self->attempts.count; i-- > 0;) {
        struct attempt *attempt = self->attempts.item[i];
        if (attempt->state == FARM__ATTEMPT_STATE__ATTEMPT_FETCHING ||
            attempt->state == FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED)
            device_want(self, attempt); /* also what lost an older one just now */
    }
    self->credit = UINT32_MAX;
}

static void on_model_failed(struct device *self, const struct io_event *event)
{
    struct model *model = models_get(&self->models, event->model);
    if (model)
        model->wanted = false;
    for (size_t i = self->attempts.count; i-- > 0;) {
        struct attempt *attempt = self->attempts.item[i];
        if (attempt->state == FARM__ATTEMPT_STATE__ATTEMPT_FETCHING &&
            needs(attempt, event->model))
            device_fail(self, attempt, &event->error);
    }
}

/* What the attempt is to go on from came, or does not come. */
static void on_checkpoint(struct device *self, struct attempt *attempt,
                          const struct io_event *event)
{
    struct error error = event->error;
    uint32_t step = attempt ? attempt->start.step : 0;
    if (!attempt || attempt->start.state != START_COMING)
        return;
    if (event->kind == IO_NO_CHECKPOINT ||
        !attempt_start_from(attempt, event->bits.data, event->bits.size, &error))
        begin_anew(self, attempt, step, &error);
    device_want(self, attempt);
}

/* A snapshot of the attempt is there, and is told; one that was stopped goes back. */
static void on_checkpointed(struct device *self, struct attempt *attempt,
                            const struct io_event *event)
{
    if (!self->greeted || !attempt || attempt->withdrawn ||
        !control_checkpoint(self->link, event))
        return;
    attempt->kept_there = event->step;
    if (attempt->returns && attempt->kept_there == attempt->kept)
        give_back(self, attempt);
}

static void ask_manifest(struct device *self, struct model *model)
{
    model->request = ++self->requests;
    if (self->greeted)
        control_model_get(self->link, model->request, model->id);
}

void device_on_io(struct device *self, struct io_event *event)
{
    struct attempt *attempt =
        attempts_find(&self->attempts, event->epoch, event->counter);
    struct model *model;
    self->spooled = event->spooled;
    switch (event->kind) {
    case IO_LISTED:
        if ((model = models_get(&self->models, event->model)))
            model->listed = true;
        break;
    case IO_MANIFEST_WANTED:
        if ((model = models_get(&self->models, event->model)))
            ask_manifest(self, model);
        break;
    case IO_MODEL:
        on_model(self, event);
        if (self->greeted)
            control_have(self->link, event);
        break;
    case IO_MODEL_FAILED:
        on_model_failed(self, event);
        break;
    case IO_NOT_KEPT:
        if (attempt)
            device_fail(self, attempt, &event->error);
        break;
    case IO_UPLOADED:
        if (self->greeted && control_commit(self->link, event->commit))
            fault_point("worker-after-commit-sent");
        break;
    case IO_KEPT:
        attempts_adopt(&self->attempts, event->epoch, event->counter);
        break;
    case IO_CHECKPOINT:
    case IO_NO_CHECKPOINT:
        on_checkpoint(self, attempt, event);
        break;
    case IO_CHECKPOINTED:
        on_checkpointed(self, attempt, event);
        break;
    case IO_HAVE:
        if (self->greeted)
            control_have(self->link, event);
        break;
    case IO_GRANTED:
        if (self->greeted)
            control_granted(self->link, event);
        break;
    case IO_FORGOTTEN:
    case IO_STOPPED:
        break;
    }
}
