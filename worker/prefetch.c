#include "worker/prefetch.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "proto/files/manifest.h"
#include "worker/control.h"

enum { SILENCE_MS = 10000, PULSE_MS = 2000, TICK_MS = 500, REQUEST = 1 };

struct prefetch {
    const struct worker_settings *settings;
    const struct member *member;
    uint8_t model[BLOB_ID], signing_key[SIGNING_KEY];
    struct io *io;
    struct link *link;
    bool greeted, whole, failed, wanted;
    int64_t pulse_ms;
    struct error why;
};

static bool open_both(struct prefetch *self, struct error *error)
{
    char *spool = path_format("%s/spool/fetch", self->settings->state);
    uint8_t instance[16];
    char host[64] = "";
    self->io = io_new(
        &(struct io_options){
            .spool = spool,
            .cache = self->settings->cache,
            .depot = self->settings->depot,
            .cache_limit = (uint64_t)self->settings->cache_gib << 30,
            .own = &self->member->own,
            .server_key = self->member->farm.server_key,
            .peer_bind = member_peer_bind(self->member, self->settings->peer_bind),
            .peer_port = (int)self->settings->peer_port,
        },
        error);
    free(spool);
    if (!self->io)
        return false;
    gethostname(host, sizeof host - 1);
    randombytes_buf(instance, sizeof instance);
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.host = wire_text(host);
    hello.instance = wire_bytes(instance, sizeof instance);
    hello.program = wire_text("farm-worker " FARM_VERSION);
    hello.peer_port = (uint32_t)io_peer_port(self->io);
    hello.peer_address = wire_text(self->settings->peer_address);
    self->link = link_open(
        &(struct link_options){
            .address = self->member->farm.address,
            .server_key = self->member->farm.server_key,
            .own = &self->member->own,
            .hello = &hello,
            .limit = WIRE_CONTROL_LIMIT,
            .send_high_water = 100,
            .silence_ms = SILENCE_MS,
        },
        error);
    return self->link != NULL;
}

static void on_greeted(struct prefetch *self, const Farm__Welcome *welcome)
{
    char *bulk = farm_bulk_address(&self->member->farm, welcome->bulk_port);
    struct io_event whole = {.kind = IO_HAVE};
    memcpy(whole.model, self->model, BLOB_ID);
    if (welcome->signing_key.len == SIGNING_KEY && !signing_is_known(self->signing_key))
        memcpy(self->signing_key, welcome->signing_key.data, SIGNING_KEY);
    self->greeted = true;
    io_connect(self->io, bulk);
    if (self->whole)
        control_have(self->link, &whole);
    else if (!self->wanted)
        io_want_model(self->io, self->model);
    self->wanted = true;
    free(bulk);
}

static void on_message(struct prefetch *self, const Farm__Envelope *envelope)
{
    struct error error = {0};
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_MANIFEST:
        if (manifest_verify(envelope->manifest, self->signing_key, &error))
            io_manifest(self->io, self->model, envelope->manifest);
        else
            io_no_manifest(self->io, self->model, &error);
        break;
    case FARM__ENVELOPE__BODY_REFUSED: {
        char *text = wire_string(envelope->refused->text);
        error_set_kind(&error, (enum error_kind)envelope->refused->kind, "%s", text);
        free(text);
        if (envelope->request == REQUEST)
            io_no_manifest(self->io, self->model, &error);
        break;
    }
    case FARM__ENVELOPE__BODY_PEERS:
        io_peers(self->io, envelope->peers);
        break;
    case FARM__ENVELOPE__BODY_GRANT:
        io_grant(self->io, envelope->grant);
        break;
    case FARM__ENVELOPE__BODY_GRANT_END:
        io_grant_end(self->io, envelope->grant_end->key.data);
        break;
    default:
        break;
    }
}

static void step_link(struct prefetch *self, int64_t now)
{
    struct message message = {0};
    enum link_event event;
    while ((event = link_step(self->link, now, &message))) {
        if (event == LINK_GREETED)
            on_greeted(self, message.envelope->welcome);
        else if (event == LINK_MESSAGE)
            on_message(self, message.envelope);
        message_clear(&message);
    }
    self->greeted = self->greeted && link_is_up(self->link);
    if (link_trouble(self->link, &self->why) && self->why.kind == ERROR_DENIED)
        self->failed = true;
    if (self->greeted && now - self->pulse_ms > PULSE_MS) {
        Farm__Pulse pulse = FARM__PULSE__INIT;
        Farm__Envelope envelope = FARM__ENVELOPE__INIT;
        envelope.body_case = FARM__ENVELOPE__BODY_PULSE;
        envelope.pulse = &pulse;
        link_send(self->link, &envelope, NULL, 0, NULL);
        self->pulse_ms = now;
    }
}

static void on_io(struct prefetch *self, const struct io_event *event)
{
    bool ours = memcmp(event->model, self->model, BLOB_ID) == 0;
    switch (event->kind) {
    case IO_MANIFEST_WANTED:
        if (self->greeted)
            control_model_get(self->link, REQUEST, self->model);
        break;
    case IO_HAVE:
        if (self->greeted)
            control_have(self->link, event);
        break;
    case IO_MODEL:
        self->whole = self->whole || ours;
        if (self->greeted)
            control_have(self->link, event);
        break;
    case IO_MODEL_FAILED:
        self->failed = true;
        self->why = event->error;
        break;
    case IO_GRANTED:
        if (self->greeted)
            control_granted(self->link, event);
        break;
    default:
        break;
    }
}

/* Until it is whole, failed, or a signal came. */
static bool run(struct prefetch *self, int signals, bool stay)
{
    bool told = false;
    for (;;) {
        zmq_pollitem_t items[] = {
            {NULL, signals, ZMQ_POLLIN, 0},
            {zsock_resolve(io_socket(self->io)), 0, ZMQ_POLLIN, 0},
            {zsock_resolve(link_socket(self->link)), 0, ZMQ_POLLIN, 0},
            {zsock_resolve(link_monitor(self->link)), 0, ZMQ_POLLIN, 0},
        };
        zmq_poll(items, 4, TICK_MS);
        if (items[0].revents & ZMQ_POLLIN)
            return self->whole;
        struct io_event event;
        while (io_next(self->io, &event)) {
            on_io(self, &event);
            io_event_clear(&event);
        }
        step_link(self, clock_ms());
        if (self->whole && !told)
            puts("the model is here");
        fflush(stdout);
        told = self->whole;
        if (self->failed || (self->whole && !stay))
            return self->whole;
    }
}

bool prefetch_run(const struct worker_settings *settings, const struct member *member,
                  const uint8_t model[BLOB_ID], bool stay, struct error *error)
{
    struct prefetch self = {.settings = settings, .member = member};
    error_set_kind(&self.why, ERROR_FAILED, "ended before the model was here");
    memcpy(self.model, model, BLOB_ID);
    memcpy(self.signing_key, member->farm.signing_key, SIGNING_KEY);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    zsys_init();
    zsys_handler_set(NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    bool opened = open_both(&self, error);
    bool ok = opened && run(&self, signals, stay);
    link_close(&self.link);
    io_destroy(&self.io);
    close(signals);
    if (opened && !ok && error)
        *error = self.why;
    return ok;
}
