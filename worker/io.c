/* One thread, one poll: orders from the loop, the bulk link, and a tick. Results go up as
 * upload.h says, models come down as download.h says.
 */
#include "worker/io.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "proto/files/manifest.h"
#include "proto/link.h"
#include "worker/download.h"
#include "worker/pieces.h"
#include "worker/spool.h"
#include "worker/upload.h"

enum {
    TICK_MS = 1000,
    BULK_HIGH_WATER = 32,
    BULK_SILENCE_MS = 10000,
};

enum order_kind {
    ORDER_CONNECT,
    ORDER_MODEL,
    ORDER_MANIFEST,
    ORDER_KEEP,
    ORDER_COMMITTED,
    ORDER_STOP,
};

struct order {
    enum order_kind kind;
    char address[160];
    uint8_t model[32];
    Farm__Manifest *manifest;
    struct result *result;
    uint64_t epoch, counter;
    Farm__CommitAnswer answer;
    struct error error;
};

struct io {
    zactor_t *actor;
    size_t spooled_at_start;
    /* the actor's from here on */
    zsock_t *pipe;
    bool stop;
    struct spool *spool;
    struct upload *upload;
    struct pieces *pieces;
    struct download *download;
    struct keypair own;
    uint8_t server_key[KEY_SIZE];
    char address[160];
    struct link *link;
};

/* ---- the loop's side */

static struct order *order_new(enum order_kind kind)
{
    struct order *order = calloc(1, sizeof *order);
    if (!order)
        abort();
    order->kind = kind;
    return order;
}

static void order_destroy(struct order *order)
{
    manifest_destroy(&order->manifest);
    if (order->result)
        result_clear(order->result);
    free(order->result);
    free(order);
}

static void give(struct io *self, struct order *order)
{
    zsock_send(self->actor, "p", order);
}

void io_connect(struct io *self, const char *address)
{
    struct order *order = order_new(ORDER_CONNECT);
    snprintf(order->address, sizeof order->address, "%s", address);
    give(self, order);
}

void io_want_model(struct io *self, const uint8_t id[32])
{
    struct order *order = order_new(ORDER_MODEL);
    memcpy(order->model, id, sizeof order->model);
    give(self, order);
}

void io_manifest(struct io *self, const uint8_t id[32], const Farm__Manifest *manifest)
{
    struct order *order = order_new(ORDER_MANIFEST);
    memcpy(order->model, id, sizeof order->model);
    order->manifest = wire_copy(&manifest->base);
    give(self, order);
}

void io_no_manifest(struct io *self, const uint8_t id[32], const struct error *why)
{
    struct order *order = order_new(ORDER_MANIFEST);
    memcpy(order->model, id, sizeof order->model);
    order->error = *why;
    give(self, order);
}

void io_keep(struct io *self, struct result **result)
{
    struct order *order = order_new(ORDER_KEEP);
    order->result = *result;
    *result = NULL;
    give(self, order);
}

void io_committed(struct io *self, uint64_t epoch, uint64_t counter,
                  Farm__CommitAnswer answer)
{
    struct order *order = order_new(ORDER_COMMITTED);
    order->epoch = epoch;
    order->counter = counter;
    order->answer = answer;
    give(self, order);
}

zsock_t *io_socket(struct io *self)
{
    return zactor_sock(self->actor);
}

size_t io_spooled_at_start(const struct io *self)
{
    return self->spooled_at_start;
}

static bool receive(struct io *self, struct io_event *into)
{
    struct io_event *event = NULL;
    if (zsock_recv(self->actor, "p", &event) != 0 || !event)
        return false;
    *into = *event;
    free(event);
    return true;
}

bool io_next(struct io *self, struct io_event *into)
{
    return (zsock_events(self->actor) & ZMQ_POLLIN) && receive(self, into);
}

void io_event_clear(struct io_event *self)
{
    model_files_clear(&self->files);
    manifest_destroy(&self->manifest);
    if (self->commit)
        farm__commit__free_unpacked(self->commit, NULL);
    *self = (struct io_event){0};
}

/* ---- the actor's side */

static struct io_event *event_new(enum io_event_kind kind)
{
    struct io_event *event = calloc(1, sizeof *event);
    if (!event)
        abort();
    event->kind = kind;
    return event;
}

static void tell(struct io *self, struct io_event *event)
{
    event->spooled = spool_count(self->spool);
    zsock_send(self->pipe, "p", event);
}

static void announce(struct io *self, const Farm__Commit *commit)
{
    struct io_event *event = event_new(IO_UPLOADED);
    event->epoch = commit->attempt->epoch;
    event->counter = commit->attempt->counter;
    event->commit = wire_copy(&commit->base);
    tell(self, event);
}

static void take_answer(struct io *self, const struct order *order, int64_t now)
{
    if (!upload_answer(self->upload, order->epoch, order->counter, order->answer, now))
        return;
    struct io_event *event = event_new(IO_FORGOTTEN);
    event->epoch = order->epoch;
    event->counter = order->counter;
    tell(self, event);
}

static void keep(struct io *self, const struct result *result)
{
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = result->epoch;
    id.counter = result->counter;
    Farm__Result fields = FARM__RESULT__INIT;
    fields.pixels = wire_bytes(result->pixels, sizeof result->pixels);
    fields.seconds = result->seconds;
    fields.step_pixels = result->step_pixels;
    Farm__Commit commit = FARM__COMMIT__INIT;
    commit.attempt = &id;
    commit.job = wire_bytes(result->job, sizeof result->job);
    commit.index = result->index;
    commit.key = wire_bytes(result->key, sizeof result->key);
    commit.result = &fields;

    struct error error = {0};
    bool ok = spool_find(self->spool, result->epoch, result->counter) ||
              spool_put(self->spool, &commit, &result->png, &result->latents, &error);
    if (ok)
        fault_point("worker-after-spool");
    struct io_event *event = event_new(ok ? IO_KEPT : IO_NOT_KEPT);
    event->epoch = result->epoch;
    event->counter = result->counter;
    event->error = error;
    tell(self, event);
}

/* ---- the thread */

static void connect_bulk(struct io *self, const char *address)
{
    struct error error = {0};
    if (!self->link || strcmp(self->address, address) != 0) {
        struct link_options options = {
            .address = address,
            .server_key = self->server_key,
            .own = &self->own,
            .limit = WIRE_BULK_LIMIT,
            .send_high_water = BULK_HIGH_WATER,
            .silence_ms = BULK_SILENCE_MS,
        };
        link_close(&self->link);
        self->link = link_open(&options, &error);
        snprintf(self->address, sizeof self->address, "%s", address);
        if (!self->link)
            log_error("bulk link to %s: %s", address, error.text);
    }
    upload_restart(self->upload);
    download_restart(self->download);
}

static void want_model(struct io *self, const uint8_t id[BLOB_ID])
{
    struct error error = {0};
    if (download_want(self->download, id, &error))
        return;
    struct io_event *event = event_new(IO_MODEL_FAILED);
    memcpy(event->model, id, BLOB_ID);
    event->error = error;
    tell(self, event);
}

static void take_order(struct io *self, int64_t now)
{
    struct order *order = NULL;
    if (zsock_recv(self->pipe, "p", &order) != 0 || !order) {
        self->stop = true; /* the process is being interrupted */
        return;
    }
    switch (order->kind) {
    case ORDER_CONNECT:
        connect_bulk(self, order->address);
        break;
    case ORDER_MODEL:
        want_model(self, order->model);
        break;
    case ORDER_MANIFEST:
        download_manifest(self->download, order->model, order->manifest, &order->error);
        break;
    case ORDER_KEEP:
        keep(self, order->result);
        break;
    case ORDER_COMMITTED:
        take_answer(self, order, now);
        break;
    case ORDER_STOP:
        self->stop = true;
        break;
    }
    order_destroy(order);
}

static void take_message(struct io *self, const struct message *message, int64_t now)
{
    const Farm__Envelope *envelope = message->envelope;
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_STORED:
        upload_stored(self->upload, envelope->stored);
        break;
    case FARM__ENVELOPE__BODY_WANT:
        upload_want(self->upload, self->link, envelope->want);
        break;
    case FARM__ENVELOPE__BODY_CHUNK:
        download_chunk(self->download, message, now);
        break;
    case FARM__ENVELOPE__BODY_REFUSED: {
        char *text = wire_string(envelope->refused->text);
        log_warn("bulk: refused: %s", text);
        free(text);
        download_refused(self->download, envelope);
        break;
    }
    default:
        log_warn("bulk: unexpected %s", wire_name(envelope->body_case));
    }
}

static void step_link(struct io *self, int64_t now)
{
    struct message message = {0};
    enum link_event event;
    while (self->link && (event = link_step(self->link, now, &message))) {
        if (event == LINK_MESSAGE) {
            take_message(self, &message, now);
        } else {
            upload_restart(self->upload);
            download_restart(self->download);
        }
        message_clear(&message);
    }
}

static void wait_for_something(struct io *self, int64_t now)
{
    zmq_pollitem_t items[3] = {{zsock_resolve(self->pipe), 0, ZMQ_POLLIN, 0}};
    int count = 1;
    long patience = TICK_MS;
    if (self->link) {
        items[count++] =
            (zmq_pollitem_t){zsock_resolve(link_socket(self->link)), 0, ZMQ_POLLIN, 0};
        items[count++] =
            (zmq_pollitem_t){zsock_resolve(link_monitor(self->link)), 0, ZMQ_POLLIN, 0};
        int link = link_patience(self->link, now);
        patience = link >= 0 && link < patience ? link : patience;
        patience = upload_is_waiting(self->upload) && patience > 20 ? 20 : patience;
    }
    zmq_poll(items, count, patience);
}

static void list_models(struct io *self)
{
    uint8_t(*ids)[BLOB_ID];
    size_t count = pieces_complete(self->pieces, &ids);
    for (size_t i = 0; i < count; i++) {
        struct io_event *event = event_new(IO_LISTED);
        memcpy(event->model, ids[i], BLOB_ID);
        tell(self, event);
    }
    free(ids);
}

static void list_results(struct io *self)
{
    for (size_t i = 0; i < spool_count(self->spool); i++) {
        struct io_event *event = event_new(IO_KEPT);
        event->epoch = spool_at(self->spool, i)->commit->attempt->epoch;
        event->counter = spool_at(self->spool, i)->commit->attempt->counter;
        tell(self, event);
    }
}

static void pull_models(struct io *self, int64_t now)
{
    struct io_event news;
    while (download_next(self->download, self->link, now, &news)) {
        struct io_event *event = event_new(news.kind);
        *event = news;
        tell(self, event);
    }
}

static void push_results(struct io *self, int64_t now)
{
    if (!self->link)
        return;
    upload_step(self->upload, self->link, now);
    const Farm__Commit *commit;
    while ((commit = upload_next_commit(self->upload, now)))
        announce(self, commit);
}

static void io_actor(zsock_t *pipe, void *argument)
{
    struct io *self = argument;
    self->pipe = pipe;
    zsock_signal(pipe, 0);
    list_results(self);
    list_models(self);
    while (!self->stop) {
        wait_for_something(self, clock_ms());
        int64_t now = clock_ms();
        while (!self->stop && zsock_events(pipe) & ZMQ_POLLIN)
            take_order(self, now);
        step_link(self, now);
        pull_models(self, now);
        push_results(self, now);
    }
    link_close(&self->link);
    tell(self, event_new(IO_STOPPED));
}

struct io *io_new(const struct io_options *options, struct error *error)
{
    struct io *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->own = *options->own;
    memcpy(self->server_key, options->server_key, KEY_SIZE);
    self->spool = spool_open(options->spool, error);
    if (self->spool)
        self->pieces =
            pieces_open(options->cache, options->depot, options->cache_limit, error);
    if (self->pieces) {
        self->upload = upload_new(self->spool);
        self->download = download_new(self->pieces);
        self->spooled_at_start = spool_count(self->spool);
        self->actor = zactor_new(io_actor, self);
        if (!self->actor)
            error_set(error, "the I/O thread does not start");
    }
    if (!self->actor)
        io_destroy(&self);
    return self;
}

void io_destroy(struct io **self)
{
    struct io *io = *self;
    if (!io)
        return;
    bool stopped = !io->actor;
    if (io->actor)
        give(io, order_new(ORDER_STOP));
    while (!stopped) { /* what is still in the pipe has an owner: us */
        struct io_event event = {0};
        stopped = !receive(io, &event) || event.kind == IO_STOPPED;
        io_event_clear(&event);
    }
    zactor_destroy(&io->actor);
    download_destroy(&io->download);
    pieces_close(&io->pieces);
    upload_destroy(&io->upload);
    spool_close(&io->spool);
    keypair_wipe(&io->own);
    free(io);
    *self = NULL;
}
