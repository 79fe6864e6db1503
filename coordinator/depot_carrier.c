#include "coordinator/depot_carrier.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "coordinator/depot.h"
#include "coordinator/limits.h"
#include "coordinator/ranges.h"
#include "coordinator/registry.h"
#include "coordinator/table.h"
#include "coordinator/uploads.h"
#include "proto/wire.h"

enum {
    SWEEP_MS = 5000,
    BURST = 64, /* messages between two looks at the pipe */
    REBIND_MS = 5000,
    MIND_MS = 1000, /* between looks at what is open, at the longest */
    ROOM_MS = 20,   /* until full queues are looked at again */
};

struct role {
    uint8_t key[32];
    Farm__Role role;
};

struct carrier {
    zsock_t *bulk, *pipe;
    struct door_options options;
    const struct keypair *server;
    struct limits_door door;
    struct ranges ranges;
    struct uploads uploads;
    struct depot_limits limits;
    char *folder;
    zhashx_t *roles; /* key -> struct role */
    int64_t swept;
};

struct carrier *carrier_new(zsock_t **bulk, const struct door_options *door,
                            const struct keypair *server, int port,
                            struct blob_store *blobs, const char *folder,
                            const struct depot_limits *limits)
{
    struct carrier *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->bulk = *bulk;
    *bulk = NULL;
    self->options = *door;
    self->options.port = port;
    self->server = server;
    limits_door_init(&self->door, self->bulk);
    self->folder = path_format("%s", folder);
    self->limits = *limits;
    self->roles = table_new(32);
    self->ranges = (struct ranges){.bulk = self->bulk, .blobs = blobs};
    self->uploads.bulk = self->bulk;
    self->uploads.blobs = blobs;
    self->uploads.folder = self->folder;
    self->uploads.limits = &self->limits;
    uploads_init(&self->uploads);
    return self;
}

static void carrier_destroy(struct carrier *self)
{
    uploads_clear(&self->uploads);
    for (void *r = zhashx_first(self->roles); r; r = zhashx_next(self->roles))
        free(r);
    zhashx_destroy(&self->roles);
    ranges_clear(&self->ranges);
    limits_door_clear(&self->door);
    zsock_destroy(&self->bulk);
    landing_destroy(&self->uploads.landing);
    free(self->folder);
    free(self);
}

bool carrier_answer(zsock_t *bulk, zframe_t *peer, const Farm__Envelope *envelope)
{
    struct error error = {0};
    bool sent = wire_send(bulk, peer, envelope, NULL, 0, &error);
    if (!sent)
        log_debug("bulk: %s", error.text);
    return sent || error.kind != ERROR_BUSY;
}

void carrier_refuse(zsock_t *bulk, zframe_t *peer, uint64_t request,
                    const struct error *error)
{
    Farm__Refused refused = FARM__REFUSED__INIT;
    refused.kind = error->kind;
    refused.text = wire_text(error->text);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    envelope.body_case = FARM__ENVELOPE__BODY_REFUSED;
    envelope.refused = &refused;
    carrier_answer(bulk, peer, &envelope);
}

static bool take_offer(struct carrier *self, struct message *message, Farm__Role role,
                       struct error *error)
{
    return uploads_offer(&self->uploads, message, role, error);
}

static bool take_chunk(struct carrier *self, struct message *message, Farm__Role role,
                       struct error *error)
{
    (void)role;
    return uploads_chunk(&self->uploads, message, error);
}

static bool take_want(struct carrier *self, struct message *message, Farm__Role role,
                      struct error *error)
{
    (void)role;
    return ranges_take(&self->ranges, message, error);
}

#define MAY(role) (1u << FARM__ROLE__ROLE_##role)

static const struct {
    Farm__Envelope__BodyCase body;
    unsigned roles;
    bool (*take)(struct carrier *, struct message *, Farm__Role, struct error *);
} handlers[] = {
    {FARM__ENVELOPE__BODY_OFFER, MAY(ADMIN) | MAY(SUBMIT) | MAY(WORKER), take_offer},
    {FARM__ENVELOPE__BODY_CHUNK, MAY(ADMIN) | MAY(SUBMIT) | MAY(WORKER), take_chunk},
    {FARM__ENVELOPE__BODY_WANT, MAY(ADMIN) | MAY(SUBMIT) | MAY(WORKER) | MAY(OBSERVER),
     take_want},
};

static bool handle(struct carrier *self, struct message *message, struct error *error)
{
    const struct role *role = zhashx_lookup(self->roles, message->key);
    size_t count = sizeof handlers / sizeof handlers[0], h = 0;
    while (h < count && handlers[h].body != message->envelope->body_case)
        h++;
    if (!role || h == count || !(handlers[h].roles & 1u << role->role))
        return error_set_kind(error, ERROR_DENIED,
                              "this key may not send \"%s\" on the bulk port",
                              wire_name(message->envelope->body_case));
    return handlers[h].take(self, message, role->role, error);
}

static void receive(struct carrier *self)
{
    for (int m = 0; m < BURST; m++) {
        struct message message;
        struct error error = {0};
        bool ok = wire_receive(self->bulk, WIRE_BULK_LIMIT, &message, &error);
        if (!ok && error.kind != ERROR_INPUT)
            m = BURST;
        else if (message.peer && zframe_size(message.peer) == PEER_ID &&
                 (!ok || !handle(self, &message, &error)))
            carrier_refuse(self->bulk, message.peer,
                           message.envelope ? message.envelope->request : 0, &error);
        message_clear(&message);
    }
}

static void take_role(struct carrier *self, const struct carrier_order *order)
{
    struct role *role = zhashx_lookup(self->roles, order->key);
    if (!role) {
        role = calloc(1, sizeof *role);
        if (!role)
            abort();
        memcpy(role->key, order->key, sizeof role->key);
        zhashx_insert(self->roles, role->key, role);
    }
    role->role = order->role;
    if (order->role == FARM__ROLE__ROLE_NONE)
        uploads_forget(&self->uploads, order->key);
}

/* All connections end; uploads wait for their senders to offer again. */
static void open_anew(struct carrier *self)
{
    struct error error = {0};
    int port;
    ranges_clear(&self->ranges);
    limits_door_clear(&self->door);
    zsock_destroy(&self->bulk);
    for (int64_t until = clock_ms() + REBIND_MS; !self->bulk && clock_ms() < until;) {
        self->bulk = door_open(&self->options, self->server, &port, &error);
        if (!self->bulk)
            zclock_sleep(20);
    }
    if (!self->bulk) {
        log_error("%s", error.text);
        abort();
    }
    self->ranges.bulk = self->uploads.bulk = self->bulk;
    limits_door_init(&self->door, self->bulk);
}

/* false when told to end (zactor's own message). */
static bool obey(struct carrier *self)
{
    zframe_t *frame = zframe_recv(self->pipe);
    if (!frame)
        return true;
    struct carrier_order order;
    bool is_order = zframe_size(frame) == sizeof order;
    bool is_expected = zframe_size(frame) >= sizeof(struct carrier_expected);
    if (is_order) {
        memcpy(&order, zframe_data(frame), sizeof order);
        take_role(self, &order);
    } else if (is_expected) {
        uploads_expect(&self->uploads, (const void *)zframe_data(frame),
                       zframe_size(frame));
    }
    bool is_named = zframe_size(frame) == BLOB_ID;
    if (is_named)
        holdings_release(&self->uploads.holdings, zframe_data(frame));
    bool is_anew = zframe_size(frame) == 1;
    if (is_anew)
        open_anew(self);
    zframe_destroy(&frame);
    return is_order || is_expected || is_named || is_anew;
}

void carrier_actor(zsock_t *pipe, void *argument)
{
    struct carrier *self = argument;
    self->pipe = self->uploads.pipe = pipe;
    self->uploads.landing = landing_new(self->uploads.blobs);
    zsock_signal(pipe, 0);
    zmq_pollitem_t items[] = {
        {zsock_resolve(pipe), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(self->bulk), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(landing_socket(self->uploads.landing)), 0, ZMQ_POLLIN, 0}};
    bool go_on = true;
    while (go_on) {
        bool waits = self->uploads.stalled || self->ranges.waits;
        long patience = self->uploads.works ? 0 : waits ? ROOM_MS : MIND_MS;
        if (zmq_poll(items, 3, patience) < 0)
            continue;
        if (waits) {
            ranges_try_again(&self->ranges);
            uploads_try_again(&self->uploads);
        }
        if (self->uploads.works)
            uploads_work(&self->uploads);
        if (items[0].revents & ZMQ_POLLIN)
            go_on = obey(self);
        uploads_landed(&self->uploads);
        receive(self);
        limits_mind(&self->door, self->bulk, clock_ms());
        items[1].socket = zsock_resolve(self->bulk);
        if (clock_ms() - self->swept > SWEEP_MS) {
            self->swept = clock_ms();
            uploads_sweep(&self->uploads, self->swept);
        }
    }
    carrier_destroy(self);
}
