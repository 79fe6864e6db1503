/* Orders wait in the pipe while a batch renders; the progress callback, which the pipeline
 * calls once a step, looks there for a stop, and for texts of what comes next, which it
 * encodes at once. A second batch the loop does not send before RENDER_ENDED.
 */
#include "worker/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/path.h"
#include "opencl/program.h"
#include "proto/files/manifest.h"
#include "proto/wire.h"
#include "worker/memory.h"
#include "worker/proof.h"
#include "worker/render_order.h"
#include "worker/requests.h"
#include "worker/sd/residents.h"
#include "worker/small_picture.h"
#include "worker/timing.h"
#include "worker/tuner.h"

enum { PREVIEW_MS = 1000 };

struct render {
    zactor_t *actor;
    size_t index;
    const struct worker_settings *settings;
    /* the actor's from here on */
    zsock_t *pipe;
    struct gpu *gpu;
    struct residents residents;
    struct pipeline *pipeline;    /* of them, the one in use; or NULL */
    struct pipeline_watch watch;  /* as the pipeline has it */
    int64_t shown_until, shown;   /* previews: wanted till, last drawn; clock_ms */
    size_t step;                  /* done of it */
    const struct attempt *images; /* those being rendered together */
    struct timing timing;
    struct tuner tuner;
    bool stop, end;
};

/* ---- the loop's side */

void render_batch(struct render *self, const uint8_t model[BLOB_ID],
                  const struct model_files *files, const Farm__Manifest *manifest,
                  const struct inputs *inputs, struct attempt *const *batch,
                  size_t count)
{
    struct render_order *order =
        render_order_of_batch(RENDER_ORDER_BATCH, model, inputs, batch, count);
    model_files_copy(&order->files, files);
    order->model_name = wire_string(manifest->name);
    manifest_model_hash(manifest, order->model_hash);
    zsock_send(self->actor, "p", order);
}

void render_ahead(struct render *self, const uint8_t model[BLOB_ID],
                  const struct inputs *inputs, struct attempt *const *batch,
                  size_t count)
{
    zsock_send(self->actor, "p",
               render_order_of_batch(RENDER_ORDER_AHEAD, model, inputs, batch, count));
}

void render_stop(struct render *self, bool keep)
{
    struct render_order *order = render_order_new(RENDER_ORDER_STOP);
    order->keep = keep;
    zsock_send(self->actor, "p", order);
}

void render_previews(struct render *self, int64_t until)
{
    struct render_order *order = render_order_new(RENDER_ORDER_PREVIEWS);
    order->until = until;
    zsock_send(self->actor, "p", order);
}

void render_tuned(struct render *self, const struct tuned *told, size_t count)
{
    zsock_send(self->actor, "p", render_order_of_told(told, count));
}

zsock_t *render_socket(struct render *self)
{
    return zactor_sock(self->actor);
}

static bool receive(struct render *self, struct render_event *into)
{
    struct render_event *event = NULL;
    if (zsock_recv(self->actor, "p", &event) != 0 || !event)
        return false;
    *into = *event;
    free(event);
    return true;
}

bool render_next(struct render *self, struct render_event *into)
{
    return (zsock_events(self->actor) & ZMQ_POLLIN) && receive(self, into);
}

void render_event_clear(struct render_event *self)
{
    rendered_destroy(&self->rendered);
    tuning_destroy(&self->tuning);
    buffer_clear(&self->bytes);
    *self = (struct render_event){0};
}

/* ---- the actor's side */

static void tell(struct render *self, const struct render_event *event)
{
    struct render_event *copy = malloc(sizeof *copy);
    if (!copy)
        abort();
    *copy = *event;
    zsock_send(self->pipe, "p", copy);
}

static enum dtype dtype_of(const struct task *task)
{
    return strcmp(task->precision, "f16") == 0 ? DTYPE_F16 : DTYPE_F32;
}

static bool read_requests(struct requests *into, const struct render_order *order,
                          struct error *error)
{
    return requests_read(into, order->batch, order->count, &order->inputs, error);
}

/* Encodes the texts of a batch to come, of the model in use. What fails here fails again where
 * it is rendered, and is told there. */
static void encode_ahead(struct render *self, const struct render_order *order)
{
    struct requests requests;
    struct error error = {0};
    struct pipeline *pipeline = residents_first(&self->residents, order->model,
                                                dtype_of(&order->batch[0].task));
    if (!pipeline || !read_requests(&requests, order, &error))
        return;
    int64_t start = clock_us();
    bool ok = true;
    for (size_t i = 0; ok && i < order->count; i++)
        ok = pipeline_encode_ahead(pipeline, &requests.item[i], &error);
    log_debug("texts of %zu images ahead in %.1f ms%s%s", order->count,
              (double)(clock_us() - start) / 1e3, ok ? "" : ": ", error.text);
    requests_clear(&requests);
}

/* Takes orders that wait; true when rendering is to end. */
static bool is_stopped(struct render *self)
{
    while (!self->end && (zsock_events(self->pipe) & ZMQ_POLLIN)) {
        struct render_order *order = NULL;
        if (zsock_recv(self->pipe, "p", &order) != 0 || !order) {
            self->end = true; /* the process is being interrupted */
            break;
        }
        self->end = order->kind == RENDER_ORDER_END;
        if (order->kind == RENDER_ORDER_PREVIEWS) {
            self->shown_until = order->until;
        } else if (order->kind == RENDER_ORDER_AHEAD) {
            encode_ahead(self, order);
        } else if (order->kind == RENDER_ORDER_TUNED) {
            tune_told(self->gpu, order->told, order->told_count);
        } else {
            self->stop = true;
            self->watch.keep_stopped = order->keep;
        }
        render_order_destroy(order);
    }
    return self->stop || self->end;
}

/* A snapshot is of one task and no other. */
static void on_keep(void *owner, size_t image, const struct snapshot *snapshot)
{
    struct render *self = owner;
    const struct attempt *attempt = &self->images[image];
    struct render_event event = {.kind = RENDER_KEPT,
                                 .epoch = attempt->epoch,
                                 .counter = attempt->counter,
                                 .step = (uint32_t)snapshot->step};
    struct snapshot own = *snapshot;
    struct error error = {0};
    memcpy(own.tag, attempt->key, sizeof own.tag);
    event.bytes.limit = WIRE_CHECKPOINT_LIMIT;
    if (snapshot_write(&own, &event.bytes, &error)) {
        tell(self, &event);
        return;
    }
    log_warn("task %" PRIu64 " has no checkpoint: %s", attempt->index, error.text);
    buffer_clear(&event.bytes);
}

/* What cannot be drawn is not shown. */
static void on_preview(void *owner, size_t image, const struct pixels *picture)
{
    struct render *self = owner;
    const struct attempt *attempt = &self->images[image];
    struct render_event event = {.kind = RENDER_PREVIEW,
                                 .epoch = attempt->epoch,
                                 .counter = attempt->counter,
                                 .step = (uint32_t)self->step + 1};
    if (small_picture(picture, &event.bytes, NULL))
        tell(self, &event);
    else
        buffer_clear(&event.bytes);
    self->shown = clock_ms();
}

static bool on_progress(void *owner, size_t done, size_t of)
{
    struct render *self = owner;
    timing_step(&self->timing);
    if (done > 0) {
        fault_point("worker-mid-denoise");
        fault_delay("worker-step");
    }
    if (done > 0 && fault_wanted("worker-hangs"))
        pause();
    tell(self, &(struct render_event){.kind = RENDER_STEP, .done = done, .of = of});
    bool stopped = is_stopped(self);
    int64_t now = clock_ms();
    bool shows = now < self->shown_until && now - self->shown >= PREVIEW_MS;
    self->step = done;
    self->watch.preview_every = shows ? 1 : 0;
    pipeline_watch(self->pipeline, &self->watch);
    return !stopped;
}

/* What rendering the order will take of the device. */
static size_t plan_memory(const struct render *self, const struct render_order *order,
                          const struct requests *requests)
{
    const struct image_request *first = &requests->item[0];
    const struct footprint_request request = {.files = &order->files,
                                              .dtype = dtype_of(&order->batch[0].task),
                                              .width = first->width,
                                              .height = first->height,
                                              .images = order->count,
                                              .safety_path = first->safety_path,
                                              .safety_name = first->safety_name};
    return memory_plan(self->index, gpu_info(self->gpu), order->model_name, &request);
}

/* Since when all of the batch could have begun. */
static int64_t ready_since(const struct render_order *order)
{
    int64_t since = order->batch[0].ready_us;
    for (size_t i = 1; i < order->count; i++)
        if (order->batch[i].ready_us > since)
            since = order->batch[i].ready_us;
    return since;
}

static bool load(struct render *self, const struct render_order *order,
                 const struct requests *requests, struct error *error)
{
    enum dtype dtype = dtype_of(&order->batch[0].task);
    self->pipeline = residents_find(&self->residents, order->model, dtype);
    timing_take(&self->timing, ready_since(order), self->pipeline);
    if (self->pipeline)
        return true;
    tell(self, &(struct render_event){.kind = RENDER_LOADING});
    int64_t start = clock_ms();
    size_t bytes = plan_memory(self, order, requests);
    self->pipeline = residents_bring(&self->residents, order->model, dtype,
                                     &order->files, bytes, error);
    if (!self->pipeline)
        return error_prefix(error, "model %s", order->model_name);
    log_info("loaded %s in %.1f s, %zu MiB on the device, models there: %zu",
             order->model_name, (double)(clock_ms() - start) / 1000,
             gpu_allocated(self->gpu) >> 20, self->residents.count);
    return true;
}

static void hand_out(struct render *self, const struct render_order *order,
                     const char *refiner, struct image *images, double seconds)
{
    for (size_t i = 0; i < order->count; i++) {
        struct rendered *rendered = rendered_new(&order->batch[i], &images[i]);
        rendered->model_name = path_format("%s", order->model_name);
        rendered->refiner = path_format("%s", refiner);
        memcpy(rendered->model_hash, order->model_hash, sizeof order->model_hash);
        rendered->at_once = order->count;
        rendered->seconds = seconds / (double)order->count;
        tell(self, &(struct render_event){.kind = RENDER_IMAGE, .rendered = rendered});
    }
}

/* Their last latents were handed out, which is all that was wanted here. */
static bool is_handed_on(const struct render *self, const struct error *error)
{
    return self->watch.keep_last && error->kind == ERROR_BUSY && !self->stop &&
           !self->end;
}

/* Prompts name LoRAs too: images that want the same files are rendered together. */
static bool render_images(struct render *self, const struct render_order *order,
                          const struct image_request *requests, struct image *images,
                          struct error *error)
{
    size_t same;
    const struct attempt *batch = order->batch;
    self->watch = (struct pipeline_watch){
        .keep_every = batch[0].checkpoint_every,
        .keep = batch[0].checkpoint_every || batch[0].hand_on ? on_keep : NULL,
        .keep_last = batch[0].hand_on,
        .preview_every = 1, /* its map is made at the beginning */
        .preview = on_preview,
        .owner = self};
    pipeline_watch(self->pipeline, &self->watch);
    bool ok = true;
    for (size_t first = 0; first < order->count; first += same) {
        same = 1;
        while (first + same < order->count &&
               image_request_same_files(&requests[first], &requests[first + same]))
            same++;
        self->images = &order->batch[first];
        ok = pipeline_render(self->pipeline, requests + first, same, on_progress, self,
                             images + first, error);
        if (!ok && !is_handed_on(self, error))
            return false;
    }
    return ok;
}

/* From where earlier attempts came to; from the beginning where that does not fit. */
static bool render_on(struct render *self, const struct render_order *order,
                      struct image_request *requests, struct image *images,
                      struct error *error)
{
    bool goes_on = order->batch[0].start.state == START_HERE;
    for (size_t i = 0; goes_on && i < order->count; i++) {
        requests[i].resume = &order->batch[i].start.snapshot;
        log_info("task %" PRIu64 " goes on from step %zu of %zu", order->batch[i].index,
                 requests[i].resume->step, requests[i].resume->steps);
    }
    if (render_images(self, order, requests, images, error))
        return true;
    if (!goes_on || error->kind != ERROR_INPUT)
        return false;
    tell(self, &(struct render_event){.kind = RENDER_ANEW, .error = *error});
    for (size_t i = 0; i < order->count; i++) {
        requests[i].resume = NULL;
        image_clear(&images[i]);
    }
    return render_images(self, order, requests, images, error);
}

static bool render(struct render *self, const struct render_order *order,
                   struct error *error)
{
    struct requests requests;
    struct image images[BATCH_MOST] = {0};
    if (!read_requests(&requests, order, error))
        return false;
    if (!load(self, order, &requests, error)) {
        requests_clear(&requests);
        return false;
    }
    struct render_event started = {.kind = RENDER_STARTED,
                                   .count = order->count,
                                   .memory = residents_planned(&self->residents)};
    pipeline_default_size(self->pipeline, &started.width, &started.height);
    if (requests.item[0].width && requests.item[0].height) {
        started.width = requests.item[0].width;
        started.height = requests.item[0].height;
    }
    tell(self, &started);
    timing_begin(&self->timing);
    bool ok = render_on(self, order, requests.item, images, error);
    timing_end(&self->timing, ok ? order->count : 0);
    if (ok)
        hand_out(self, order, requests.brought.refiner_title, images,
                 timing_last(&self->timing));
    for (size_t i = 0; i < order->count; i++)
        image_clear(&images[i]);
    requests_clear(&requests);
    return ok;
}

static void open_device(struct render *self)
{
    struct render_event event = {.kind = RENDER_NO_DEVICE};
    self->gpu = gpu_open(self->index, &event.error);
    self->residents.gpu = self->gpu;
    if (self->gpu) {
        event.kind = RENDER_OPENED;
        if (proof_of_device(self->gpu, &event.error))
            event.error = (struct error){0};
        event.info = *gpu_info(self->gpu); /* its kind depends on what it proved */
        timing_start(self->gpu, self->settings);
        tuner_start(&self->tuner, self->gpu, self->settings);
        event.tuning = tuning_copy(programs_tuning(gpu_programs(self->gpu)));
    }
    tell(self, &event);
}

static void on_tuned(void *owner, const struct tuned *tuned)
{
    tell(owner, &(struct render_event){.kind = RENDER_TUNED, .tuned = *tuned});
}

static void render_actor(zsock_t *pipe, void *argument)
{
    struct render *self = argument;
    self->pipe = pipe;
    zsock_signal(pipe, 0);
    open_device(self);
    while (!self->end) {
        struct render_order *order = NULL;
        tuner_await(&self->tuner, pipe, on_tuned, self);
        if (zsock_recv(pipe, "p", &order) != 0 || !order)
            break;
        self->end = order->kind == RENDER_ORDER_END;
        if (order->kind == RENDER_ORDER_PREVIEWS)
            self->shown_until = order->until;
        if (order->kind == RENDER_ORDER_AHEAD)
            encode_ahead(self, order);
        if (order->kind == RENDER_ORDER_TUNED)
            tune_told(self->gpu, order->told, order->told_count);
        if (order->kind == RENDER_ORDER_BATCH) {
            struct render_event ended = {.kind = RENDER_ENDED};
            self->stop = false;
            ended.ok = render(self, order, &ended.error);
            ended.memory = residents_planned(&self->residents);
            tell(self, &ended);
        }
        render_order_destroy(order);
    }
    timing_show(self->gpu, self->settings, self->index);
    timing_log(&self->timing);
    residents_clear(&self->residents);
    gpu_close(&self->gpu);
    tell(self, &(struct render_event){.kind = RENDER_STOPPED});
}

struct render *render_new(size_t index, const struct worker_settings *settings)
{
    struct render *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->index = index;
    self->settings = settings;
    self->actor = zactor_new(render_actor, self);
    if (!self->actor)
        abort();
    return self;
}

void render_destroy(struct render **self)
{
    struct render *render = *self;
    if (!render)
        return;
    zsock_send(render->actor, "p", render_order_new(RENDER_ORDER_END));
    bool stopped = false;
    while (!stopped) { /* what is still in the pipe has an owner: us */
        struct render_event event = {0};
        stopped = !receive(render, &event) || event.kind == RENDER_STOPPED;
        render_event_clear(&event);
    }
    zactor_destroy(&render->actor);
    free(render);
    *self = NULL;
}
