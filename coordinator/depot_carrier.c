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
#include "proto/files/transfer.h"
#include "proto/wire.h"

enum {
    UPLOADS_MOST = 4096,
    UPLOADS_A_PEER = 64,
    UPLOAD_SILENCE_MS = 60000, /* then its sender is gone */
    SWEEP_MS = 5000,
    BURST = 64, /* messages between two looks at the pipe */
    REBIND_MS = 5000,
    MIND_MS = 1000, /* between looks at what is open, at the longest */
    ROOM_MS = 20,   /* until full queues are looked at again */
};

struct upload {
    uint8_t peer[PEER_ID];
    bool stalled; /* its sender's queue had no room for what is to be asked */
    uint8_t key[32];
    uint64_t request;
    struct transfer *transfer;
    int64_t heard;
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
    zhashx_t *expected; /* blob -> struct carrier_expected */
    struct ranges ranges;
    bool stalled; /* an upload is */
    struct blob_store *blobs;
    char *folder;
    uint64_t reserve;
    bool full;       /* was told */
    zhashx_t *roles; /* key -> struct role */
    struct upload *upload[UPLOADS_MOST];
    size_t uploads;
    int64_t swept, measured;
    uint64_t free_space;
};

struct carrier *carrier_new(zsock_t **bulk, const struct door_options *door,
                            const struct keypair *server, int port,
                            struct blob_store *blobs, const char *folder,
                            uint64_t reserve)
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
    self->blobs = blobs;
    self->folder = path_format("%s", folder);
    self->reserve = reserve;
    self->roles = table_new(32);
    self->expected = table_new(BLOB_ID);
    self->ranges = (struct ranges){.bulk = self->bulk, .blobs = blobs};
    return self;
}

static void upload_end(struct carrier *self, size_t index)
{
    transfer_destroy(&self->upload[index]->transfer);
    free(self->upload[index]);
    self->upload[index] = self->upload[--self->uploads];
}

static void carrier_destroy(struct carrier *self)
{
    while (self->uploads)
        upload_end(self, 0);
    for (void *r = zhashx_first(self->roles); r; r = zhashx_next(self->roles))
        free(r);
    zhashx_destroy(&self->roles);
    for (void *e = zhashx_first(self->expected); e; e = zhashx_next(self->expected))
        free(e);
    zhashx_destroy(&self->expected);
    ranges_clear(&self->ranges);
    zsock_destroy(&self->bulk);
    free(self->folder);
    free(self);
}

/* False when the peer's queue has no room now; one that is gone needs nothing. */
static bool answer(struct carrier *self, zframe_t *peer, const Farm__Envelope *envelope,
                   const void *payload, size_t size)
{
    struct error error = {0};
    bool sent = wire_send(self->bulk, peer, envelope, payload, size, &error);
    if (!sent)
        log_debug("bulk: %s", error.text);
    return sent || error.kind != ERROR_BUSY;
}

static void refuse(struct carrier *self, zframe_t *peer, uint64_t request,
                   const struct error *error)
{
    Farm__Refused refused = FARM__REFUSED__INIT;
    refused.kind = error->kind;
    refused.text = wire_text(error->text);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    envelope.body_case = FARM__ENVELOPE__BODY_REFUSED;
    envelope.refused = &refused;
    answer(self, peer, &envelope, NULL, 0);
}

static void say_stored(struct carrier *self, zframe_t *peer, uint64_t request,
                       const uint8_t id[BLOB_ID])
{
    Farm__Stored stored = FARM__STORED__INIT;
    stored.blob = wire_bytes(id, BLOB_ID);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    envelope.body_case = FARM__ENVELOPE__BODY_STORED;
    envelope.stored = &stored;
    answer(self, peer, &envelope, NULL, 0);
}

static bool ask_for(struct carrier *self, zframe_t *peer, const struct upload *upload,
                    uint64_t offset, uint32_t length)
{
    Farm__Want want = FARM__WANT__INIT;
    want.blob = wire_bytes(transfer_id(upload->transfer), BLOB_ID);
    want.offset = offset;
    want.length = length;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = upload->request;
    envelope.body_case = FARM__ENVELOPE__BODY_WANT;
    envelope.want = &want;
    return answer(self, peer, &envelope, NULL, 0);
}

/* Asks for what is next, or ends an upload that is complete. */
static bool advance(struct carrier *self, zframe_t *peer, size_t index,
                    struct error *error)
{
    struct upload *upload = self->upload[index];
    uint64_t offset;
    uint32_t length;
    if (!transfer_is_complete(upload->transfer)) {
        upload->stalled = false;
        while (!upload->stalled && transfer_next(upload->transfer, &offset, &length))
            upload->stalled = !ask_for(self, peer, upload, offset, length);
        self->stalled = self->stalled || upload->stalled;
        if (upload->stalled) /* this range is asked for when there is room */
            transfer_give_back(upload->transfer, offset);
        return true;
    }
    uint8_t id[BLOB_ID];
    memcpy(id, transfer_id(upload->transfer), BLOB_ID);
    bool ok = transfer_finish(upload->transfer, error);
    if (ok) {
        struct carrier_expected *expected = zhashx_lookup(self->expected, id);
        zhashx_delete(self->expected, id);
        free(expected);
        say_stored(self, peer, upload->request, id);
        zframe_t *frame = zframe_new(id, BLOB_ID);
        zframe_send(&frame, self->pipe, 0);
    }
    upload_end(self, index);
    return ok;
}

static size_t find_upload(const struct carrier *self, zframe_t *peer,
                          ProtobufCBinaryData blob)
{
    size_t u = 0;
    while (u < self->uploads &&
           (memcmp(self->upload[u]->peer, zframe_data(peer), PEER_ID) != 0 ||
            !wire_is(blob, transfer_id(self->upload[u]->transfer), BLOB_ID)))
        u++;
    return u;
}

static bool has_room(struct carrier *self, zframe_t *peer, uint64_t size,
                     struct error *error)
{
    size_t own = 0;
    for (size_t u = 0; u < self->uploads; u++)
        own += memcmp(self->upload[u]->peer, zframe_data(peer), PEER_ID) == 0;
    if (own >= UPLOADS_A_PEER || self->uploads >= UPLOADS_MOST)
        return error_set_kind(error, ERROR_BUSY,
                              "%zu files are on their way in; offer it again later",
                              self->uploads);
    if (clock_ms() - self->measured > 1000) {
        self->measured = clock_ms();
        self->free_space = depot_free_space(self->folder);
    }
    bool full = self->free_space < self->reserve;
    if (full && !self->full)
        log_warn("the disk is full: %llu MiB are free, %llu MiB are kept in reserve; "
                 "results wait at their workers until there is room",
                 (unsigned long long)self->free_space >> 20,
                 (unsigned long long)self->reserve >> 20);
    if (!full && self->full)
        log_info("the disk has room again");
    self->full = full;
    if (full || self->free_space - self->reserve < size)
        return error_set_kind(error, ERROR_BUSY,
                              "the coordinator's disk is full: %llu MiB are free, %llu "
                              "MiB are kept in reserve",
                              (unsigned long long)self->free_space >> 20,
                              (unsigned long long)self->reserve >> 20);
    return true;
}

/* The same file by the same key over a connection before this one: what came of it stays. */
static bool go_on(struct carrier *self, struct message *message)
{
    const Farm__Offer *offer = message->envelope->offer;
    for (size_t u = 0; u < self->uploads; u++) {
        struct upload *upload = self->upload[u];
        if (memcmp(upload->key, message->key, sizeof upload->key) != 0 ||
            !wire_is(offer->blob, transfer_id(upload->transfer), BLOB_ID) ||
            transfer_size(upload->transfer) != offer->size)
            continue;
        memcpy(upload->peer, zframe_data(message->peer), PEER_ID);
        upload->request = message->envelope->request;
        upload->heard = clock_ms();
        transfer_restart(upload->transfer);
        advance(self, message->peer, u, NULL);
        return true;
    }
    return false;
}

/* A file of a model is taken in verified pieces that outlive us, unless another sends the
 * same one now. */
static struct transfer *transfer_for(struct carrier *self, const Farm__Offer *offer,
                                     struct error *error)
{
    const struct carrier_expected *expected =
        zhashx_lookup(self->expected, offer->blob.data);
    struct transfer *transfer = NULL;
    if (expected && expected->size == offer->size)
        transfer = transfer_new(self->blobs, offer->blob.data, offer->size,
                                expected->piece, (size_t)expected->pieces, true, NULL);
    return transfer ? transfer
                    : transfer_new(self->blobs, offer->blob.data, offer->size, NULL, 0,
                                   false, error);
}

/* The offer's payload is the file's first range, if that is not here yet. */
static bool take_first(struct transfer *transfer, struct message *message,
                       struct error *error)
{
    uint64_t offset;
    uint32_t length;
    if (!message->payload || !zframe_size(message->payload) ||
        !transfer_next(transfer, &offset, &length))
        return true;
    if (offset == 0)
        return transfer_take(transfer, offset, zframe_data(message->payload),
                             zframe_size(message->payload), error);
    transfer_give_back(transfer, offset);
    return true;
}

static bool take_offer(struct carrier *self, struct message *message,
                       struct error *error)
{
    const Farm__Offer *offer = message->envelope->offer;
    if (blob_has(self->blobs, offer->blob.data, NULL)) {
        blob_touch(self->blobs, offer->blob.data);
        say_stored(self, message->peer, message->envelope->request, offer->blob.data);
        return true;
    }
    if (go_on(self, message))
        return true;
    if (!has_room(self, message->peer, offer->size, error))
        return false;
    struct transfer *transfer = transfer_for(self, offer, error);
    if (!transfer)
        return false;
    struct upload *upload = calloc(1, sizeof *upload);
    if (!upload)
        abort();
    memcpy(upload->peer, zframe_data(message->peer), PEER_ID);
    memcpy(upload->key, message->key, sizeof upload->key);
    upload->request = message->envelope->request;
    upload->transfer = transfer;
    upload->heard = clock_ms();
    size_t index = self->uploads++;
    self->upload[index] = upload;
    if (!take_first(transfer, message, error)) {
        upload_end(self, index);
        return false;
    }
    return advance(self, message->peer, index, error);
}

static bool take_chunk(struct carrier *self, struct message *message,
                       struct error *error)
{
    const Farm__Chunk *chunk = message->envelope->chunk;
    size_t index = find_upload(self, message->peer, chunk->blob);
    if (index == self->uploads)
        return error_set_kind(error, ERROR_NOT_FOUND,
                              "this range was not asked for; offer its blob first");
    struct upload *upload = self->upload[index];
    upload->heard = clock_ms();
    if (!transfer_take(upload->transfer, chunk->offset,
                       message->payload ? zframe_data(message->payload) : NULL,
                       message->payload ? zframe_size(message->payload) : 0, error)) {
        upload_end(self, index);
        return false;
    }
    return advance(self, message->peer, index, error);
}

static bool take_want(struct carrier *self, struct message *message,
                      struct error *error)
{
    return ranges_take(&self->ranges, message, error);
}

/* Sends what waited for room in somebody's queue, and asks for what could not be asked. */
static void try_again(struct carrier *self)
{
    self->stalled = false;
    ranges_try_again(&self->ranges);
    for (size_t u = self->uploads; u-- > 0;) {
        zframe_t *peer = self->upload[u]->stalled
                             ? zframe_new(self->upload[u]->peer, PEER_ID)
                             : NULL;
        if (peer)
            advance(self, peer, u, NULL);
        zframe_destroy(&peer);
    }
}

#define MAY(role) (1u << FARM__ROLE__ROLE_##role)

static const struct {
    Farm__Envelope__BodyCase body;
    unsigned roles;
    bool (*take)(struct carrier *, struct message *, struct error *);
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
    return handlers[h].take(self, message, error);
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
            refuse(self, message.peer, message.envelope ? message.envelope->request : 0,
                   &error);
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
    for (size_t u = self->uploads; order->role == FARM__ROLE__ROLE_NONE && u-- > 0;)
        if (memcmp(self->upload[u]->key, order->key, sizeof order->key) == 0)
            upload_end(self, u);
}

static void take_expected(struct carrier *self, const void *data, size_t size)
{
    struct carrier_expected *expected = malloc(size);
    if (!expected)
        abort();
    memcpy(expected, data, size);
    struct carrier_expected *before = zhashx_lookup(self->expected, expected->blob);
    zhashx_delete(self->expected, expected->blob);
    free(before);
    zhashx_insert(self->expected, expected->blob, expected);
}

/* All connections end; uploads wait for their senders to offer again. */
static void open_anew(struct carrier *self)
{
    struct error error = {0};
    int port;
    ranges_clear(&self->ranges);
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
    self->ranges.bulk = self->bulk;
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
        take_expected(self, zframe_data(frame), zframe_size(frame));
    }
    bool is_anew = zframe_size(frame) == 1;
    if (is_anew)
        open_anew(self);
    zframe_destroy(&frame);
    return is_order || is_expected || is_anew;
}

static void sweep(struct carrier *self, int64_t now)
{
    self->swept = now;
    for (size_t u = self->uploads; u-- > 0;)
        if (now - self->upload[u]->heard > UPLOAD_SILENCE_MS)
            upload_end(self, u);
}

void carrier_actor(zsock_t *pipe, void *argument)
{
    struct carrier *self = argument;
    self->pipe = pipe;
    zsock_signal(pipe, 0);
    zmq_pollitem_t items[] = {{zsock_resolve(pipe), 0, ZMQ_POLLIN, 0},
                              {zsock_resolve(self->bulk), 0, ZMQ_POLLIN, 0}};
    bool go_on = true;
    while (go_on) {
        long patience = self->stalled || self->ranges.waits ? ROOM_MS : MIND_MS;
        if (zmq_poll(items, 2, patience) < 0)
            continue;
        if (patience == ROOM_MS)
            try_again(self);
        if (items[0].revents & ZMQ_POLLIN)
            go_on = obey(self);
        receive(self);
        limits_mind(&self->door, self->bulk, clock_ms());
        items[1].socket = zsock_resolve(self->bulk);
        if (clock_ms() - self->swept > SWEEP_MS)
            sweep(self, clock_ms());
    }
    carrier_destroy(self);
}
