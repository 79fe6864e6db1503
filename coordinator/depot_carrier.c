#include "coordinator/depot_carrier.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "coordinator/depot.h"
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
};

struct upload {
    uint8_t peer[PEER_ID];
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

struct carrier *carrier_new(zsock_t **bulk, struct blob_store *blobs,
                            const char *folder, uint64_t reserve)
{
    struct carrier *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->bulk = *bulk;
    *bulk = NULL;
    self->blobs = blobs;
    self->folder = path_format("%s", folder);
    self->reserve = reserve;
    self->roles = table_new(32);
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
    zsock_destroy(&self->bulk);
    free(self->folder);
    free(self);
}

/* What a peer cannot take now it asks for again; one that is gone needs nothing. */
static void answer(struct carrier *self, zframe_t *peer, const Farm__Envelope *envelope,
                   const void *payload, size_t size)
{
    struct error error;
    if (!wire_send(self->bulk, peer, envelope, payload, size, &error))
        log_debug("bulk: %s", error.text);
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

static void ask_for(struct carrier *self, zframe_t *peer, const struct upload *upload,
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
    answer(self, peer, &envelope, NULL, 0);
}

/* Asks for what is next, or ends an upload that is complete. */
static bool advance(struct carrier *self, zframe_t *peer, size_t index,
                    struct error *error)
{
    struct upload *upload = self->upload[index];
    uint64_t offset;
    uint32_t length;
    if (!transfer_is_complete(upload->transfer)) {
        while (transfer_next(upload->transfer, &offset, &length))
            ask_for(self, peer, upload, offset, length);
        return true;
    }
    uint8_t id[BLOB_ID];
    memcpy(id, transfer_id(upload->transfer), BLOB_ID);
    bool ok = transfer_finish(upload->transfer, error);
    if (ok) {
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

static bool take_offer(struct carrier *self, struct message *message,
                       struct error *error)
{
    const Farm__Offer *offer = message->envelope->offer;
    if (blob_has(self->blobs, offer->blob.data, NULL)) {
        say_stored(self, message->peer, message->envelope->request, offer->blob.data);
        return true;
    }
    size_t index = find_upload(self, message->peer, offer->blob);
    if (index < self->uploads)
        upload_end(self, index);
    if (!has_room(self, message->peer, offer->size, error))
        return false;
    struct transfer *transfer =
        transfer_new(self->blobs, offer->blob.data, offer->size, NULL, 0, false, error);
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
    index = self->uploads++;
    self->upload[index] = upload;

    uint64_t offset;
    uint32_t length;
    if (message->payload && zframe_size(message->payload) &&
        transfer_next(transfer, &offset, &length) &&
        !transfer_take(transfer, offset, zframe_data(message->payload),
                       zframe_size(message->payload), error)) {
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
    const Farm__Want *want = message->envelope->want;
    static uint8_t range[TRANSFER_FRAME];
    uint64_t size;
    if (want->length > TRANSFER_FRAME)
        return error_set_kind(error, ERROR_INPUT,
                              "a range of %u bytes, at most %d are sent at once",
                              want->length, TRANSFER_FRAME);
    if (!blob_has(self->blobs, want->blob.data, &size))
        return error_set_kind(error, ERROR_NOT_FOUND, "the farm has no such file");
    if (!blob_read(self->blobs, want->blob.data, want->offset, range, want->length,
                   error))
        return false;
    Farm__Chunk chunk = FARM__CHUNK__INIT;
    chunk.blob = want->blob;
    chunk.offset = want->offset;
    chunk.size = size;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = message->envelope->request;
    envelope.body_case = FARM__ENVELOPE__BODY_CHUNK;
    envelope.chunk = &chunk;
    answer(self, message->peer, &envelope, range, want->length);
    return true;
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

/* false when told to end (zactor's own message). */
static bool obey(struct carrier *self)
{
    zframe_t *frame = zframe_recv(self->pipe);
    if (!frame)
        return true;
    struct carrier_order order;
    bool is_order = zframe_size(frame) == sizeof order;
    if (is_order) {
        memcpy(&order, zframe_data(frame), sizeof order);
        take_role(self, &order);
    }
    zframe_destroy(&frame);
    return is_order;
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
        if (zmq_poll(items, 2, self->uploads ? SWEEP_MS : -1) < 0)
            continue;
        if (items[0].revents & ZMQ_POLLIN)
            go_on = obey(self);
        if (items[1].revents & ZMQ_POLLIN)
            receive(self);
        if (clock_ms() - self->swept > SWEEP_MS)
            sweep(self, clock_ms());
    }
    carrier_destroy(self);
}
