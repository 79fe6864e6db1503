/* One thread, one poll: orders from the loop, the bulk link, and a tick. Results go up as
 * upload.h says, models come down as download.h says.
 */

#include "worker/io_private.h"
#include "worker/result.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "proto/files/manifest.h"
#include "proto/link.h"

enum {
    TICK_MS = 1000,
    BULK_HIGH_WATER = 32,
    BULK_SILENCE_MS = 10000,
    WAITING_MS = 20,   /* until a peer's full queue is looked at again */
    FETCHING_MS = 200, /* between looks at who is silent */
};

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

static void tell_kept(struct io *self, uint64_t epoch, uint64_t counter,
                      const struct error *why)
{
    struct io_event *event = event_new(why ? IO_NOT_KEPT : IO_KEPT);
    event->epoch = epoch;
    event->counter = counter;
    if (why)
        event->error = *why;
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
    fields.at_once = (uint32_t)result->at_once;
    Farm__Commit commit = FARM__COMMIT__INIT;
    commit.attempt = &id;
    commit.job = wire_bytes(result->job, sizeof result->job);
    commit.index = result->index;
    commit.key = wire_bytes(result->key, sizeof result->key);
    commit.result = &fields;

    struct error error = {0};
    checkpoints_forget(self->checkpoints, result->epoch, result->counter);
    bool ok = spool_find(self->spool, result->epoch, result->counter) ||
              spool_put(self->spool, &commit, &result->png, &result->latents, &error);
    if (ok)
        fault_point("worker-after-spool");
    tell_kept(self, result->epoch, result->counter, ok ? NULL : &error);
}

/* Makes the files of an image while the device renders the next. */
static void finish(struct io *self, const struct order *order)
{
    struct error error = {0};
    fault_delay("worker-finish");
    struct result *result = result_make(order->rendered, &error);
    if (result) {
        log_debug("task %llu: its files are made", (unsigned long long)result->index);
        keep(self, result);
        result_clear(result);
    } else {
        tell_kept(self, order->epoch, order->counter, &error);
    }
    free(result);
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
        download_restart(self->download);
    }
    upload_restart(self->upload);
    download_greeted(self->download);
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

static void take_grant(struct io *self, const struct order *order, int64_t now)
{
    struct io_event *event = event_new(IO_GRANTED);
    event->grant = order->grant;
    if (!self->serve)
        error_set(&event->error, "this worker serves nobody");
    else
        serve_grant(self->serve, order->key, order->model,
                    now + (int64_t)order->lasts_s * 1000, &event->error);
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
    case ORDER_FINISH:
        finish(self, order);
        break;
    case ORDER_COMMITTED:
        take_answer(self, order, now);
        break;
    case ORDER_OFFER_CHECKPOINT:
        checkpoints_offer(self->checkpoints, order->epoch, order->counter, order->step,
                          &order->bytes);
        break;
    case ORDER_WANT_CHECKPOINT:
        checkpoints_want(self->checkpoints, order->epoch, order->counter, order->model,
                         order->size);
        break;
    case ORDER_PEERS:
        download_peers(self->download, order->peers, now);
        checkpoints_peers(self->checkpoints, order->peers);
        break;
    case ORDER_GRANT:
        take_grant(self, order, now);
        break;
    case ORDER_GRANT_END:
        if (self->serve)
            serve_end(self->serve, order->key);
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
        if (!checkpoints_chunk(self->checkpoints, message))
            download_chunk(self->download, message, now);
        break;
    case FARM__ENVELOPE__BODY_REFUSED: {
        char *text = wire_string(envelope->refused->text);
        log_warn("bulk: refused: %s", text);
        free(text);
        if (!checkpoints_refused(self->checkpoints, envelope))
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
    zmq_pollitem_t items[6 + PEERS_ITEMS] = {
        {zsock_resolve(self->pipe), 0, ZMQ_POLLIN, 0}};
    int count = 1;
    long patience = TICK_MS;
    if (self->serve) {
        items[count++] = (zmq_pollitem_t){zsock_resolve(serve_socket(self->serve)), 0,
                                          ZMQ_POLLIN, 0};
        patience = serve_is_waiting(self->serve) ? WAITING_MS : patience;
    }
    int first = count;
    count += (int)download_poll(self->download, items + count);
    count += (int)checkpoints_poll(self->checkpoints, items + count);
    if ((count > 2 || checkpoints_is_fetching(self->checkpoints)) &&
        patience > FETCHING_MS)
        patience = FETCHING_MS;
    if (self->link) {
        items[count++] =
            (zmq_pollitem_t){zsock_resolve(link_socket(self->link)), 0, ZMQ_POLLIN, 0};
        items[count++] =
            (zmq_pollitem_t){zsock_resolve(link_monitor(self->link)), 0, ZMQ_POLLIN, 0};
        int link = link_patience(self->link, now);
        patience = link >= 0 && link < patience ? link : patience;
        patience = upload_is_waiting(self->upload) && patience > WAITING_MS ? WAITING_MS
                                                                            : patience;
    }
    zmq_poll(items, count, download_works(self->download) ? 0 : patience);
    download_polled(self->download, items + first);
}

static void list_models(struct io *self)
{
    uint8_t(*ids)[BLOB_ID];
    size_t count = pieces_complete(self->pieces, &ids);
    for (size_t i = 0; i < count; i++) {
        struct io_event *event = event_new(IO_LISTED);
        memcpy(event->model, ids[i], BLOB_ID);
        tell(self, event);
        struct io_event *have = event_new(IO_HAVE);
        memcpy(have->model, ids[i], BLOB_ID);
        tell(self, have);
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

static void pull(struct io *self, int64_t now)
{
    struct io_event news;
    while (checkpoints_next(self->checkpoints, self->link, now, &news)) {
        struct io_event *event = event_new(news.kind);
        *event = news;
        tell(self, event);
    }
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
        if (self->serve)
            serve_step(self->serve, now);
        pull(self, now);
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
    bool ok = self->pieces != NULL;
    self->checkpoints = checkpoints_new(options->peer_bind ? &self->own : NULL);
    if (ok && options->peer_bind) {
        self->serve =
            serve_new(&self->own, options->peer_bind, options->peer_port, self->pieces,
                      self->checkpoints, &self->peer_port, error);
        ok = self->serve != NULL;
    }
    if (ok) {
        self->upload = upload_new(self->spool, self->checkpoints);
        self->download =
            download_new(self->pieces, options->peer_bind ? &self->own : NULL);
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
        order_give(io, order_new(ORDER_STOP));
    while (!stopped) { /* what is still in the pipe has an owner: us */
        struct io_event event = {0};
        stopped = !io_receive(io, &event) || event.kind == IO_STOPPED;
        io_event_clear(&event);
    }
    zactor_destroy(&io->actor);
    download_destroy(&io->download);
    serve_destroy(&io->serve);
    pieces_close(&io->pieces);
    upload_destroy(&io->upload);
    checkpoints_destroy(&io->checkpoints);
    spool_close(&io->spool);
    keypair_wipe(&io->own);
    free(io);
    *self = NULL;
}
