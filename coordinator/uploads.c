#include "coordinator/uploads.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/registry.h"
#include "coordinator/table.h"
#include "proto/files/transfer.h"

enum {
    UPLOADS_A_PEER = 64,
    SILENCE_MS = 60000, /* then its sender is gone */
    SLICE = 8 << 20,    /* bytes hashed at a time: some ten milliseconds */
};

struct upload {
    uint8_t peer[PEER_ID];
    bool stalled; /* its sender's queue had no room for what is to be asked */
    uint8_t key[32];
    uint64_t request;
    struct transfer *transfer;
    int64_t heard;
};

void uploads_init(struct uploads *self)
{
    self->expected = table_new(BLOB_ID);
    holdings_init(&self->holdings);
}

static void take_off(struct uploads *self, size_t index)
{
    transfer_destroy(&self->upload[index]->transfer);
    free(self->upload[index]);
    self->upload[index] = self->upload[--self->count];
}

/* It ends without a stored file. */
static void drop(struct uploads *self, size_t index)
{
    const struct upload *upload = self->upload[index];
    holdings_end(&self->holdings, upload->key, transfer_size(upload->transfer));
    take_off(self, index);
}

void uploads_clear(struct uploads *self)
{
    while (self->count)
        drop(self, 0);
    for (void *e = zhashx_first(self->expected); e; e = zhashx_next(self->expected))
        free(e);
    zhashx_destroy(&self->expected);
    holdings_clear(&self->holdings);
}

static void say_stored(struct uploads *self, zframe_t *peer, uint64_t request,
                       const uint8_t id[BLOB_ID])
{
    Farm__Stored stored = FARM__STORED__INIT;
    stored.blob = wire_bytes(id, BLOB_ID);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    envelope.body_case = FARM__ENVELOPE__BODY_STORED;
    envelope.stored = &stored;
    carrier_answer(self->bulk, peer, &envelope);
}

/* The loop hears of a blob before its sender can name it there. */
void uploads_landed(struct uploads *self)
{
    struct landed landed;
    while (landing_take(self->landing, &landed)) {
        zframe_t *id = zframe_new(landed.id, BLOB_ID);
        zframe_t *peer = zframe_new(landed.peer, PEER_ID);
        zframe_send(&id, self->pipe, 0);
        say_stored(self, peer, landed.request, landed.id);
        zframe_destroy(&peer);
    }
}

static bool ask_for(struct uploads *self, zframe_t *peer, const struct upload *upload,
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
    return carrier_answer(self->bulk, peer, &envelope);
}

/* All is here and hashed: it gets its name. */
static bool finish(struct uploads *self, zframe_t *peer, size_t index,
                   struct error *error)
{
    struct upload *upload = self->upload[index];
    uint8_t id[BLOB_ID];
    memcpy(id, transfer_id(upload->transfer), BLOB_ID);
    if (!transfer_finish(upload->transfer, error)) {
        drop(self, index);
        return false;
    }
    struct carrier_expected *expected = zhashx_lookup(self->expected, id);
    zhashx_delete(self->expected, id);
    free(expected);
    landing_add(self->landing, zframe_data(peer), upload->request, id);
    holdings_store(&self->holdings, upload->key, id, transfer_size(upload->transfer));
    take_off(self, index);
    return true;
}

/* Hashes a slice, asks for what is next, or ends an upload that is complete. */
static bool advance(struct uploads *self, zframe_t *peer, size_t index,
                    struct error *error)
{
    struct upload *upload = self->upload[index];
    uint64_t offset;
    uint32_t length;
    bool works = transfer_work(upload->transfer, SLICE);
    self->works = self->works || works;
    if (transfer_is_complete(upload->transfer))
        return works || finish(self, peer, index, error);
    upload->stalled = false;
    while (!upload->stalled && transfer_next(upload->transfer, &offset, &length))
        upload->stalled = !ask_for(self, peer, upload, offset, length);
    self->stalled = self->stalled || upload->stalled;
    if (upload->stalled) /* this range is asked for when there is room */
        transfer_give_back(upload->transfer, offset);
    return true;
}

static size_t find(const struct uploads *self, zframe_t *peer, ProtobufCBinaryData blob)
{
    size_t u = 0;
    while (u < self->count &&
           (memcmp(self->upload[u]->peer, zframe_data(peer), PEER_ID) != 0 ||
            !wire_is(blob, transfer_id(self->upload[u]->transfer), BLOB_ID)))
        u++;
    return u;
}

static bool has_room(struct uploads *self, zframe_t *peer, uint64_t size,
                     struct error *error)
{
    uint64_t reserve = self->limits->reserve;
    size_t own = 0;
    for (size_t u = 0; u < self->count; u++)
        own += memcmp(self->upload[u]->peer, zframe_data(peer), PEER_ID) == 0;
    if (own >= UPLOADS_A_PEER || self->count >= UPLOADS_MOST)
        return error_set_kind(error, ERROR_BUSY,
                              "%zu files are on their way in; offer it again later",
                              self->count);
    if (clock_ms() - self->measured > 1000) {
        self->measured = clock_ms();
        self->free_space = depot_free_space(self->folder);
    }
    bool full = self->free_space < reserve;
    if (full && !self->full)
        log_warn("the disk is full: %llu MiB are free, %llu MiB are kept in reserve; "
                 "results wait at their workers until there is room",
                 (unsigned long long)self->free_space >> 20,
                 (unsigned long long)reserve >> 20);
    if (!full && self->full)
        log_info("the disk has room again");
    self->full = full;
    if (full || self->free_space - reserve < size)
        return error_set_kind(error, ERROR_BUSY,
                              "the coordinator's disk is full: %llu MiB are free, %llu "
                              "MiB are kept in reserve",
                              (unsigned long long)self->free_space >> 20,
                              (unsigned long long)reserve >> 20);
    return true;
}

/* The same file by the same key over a connection before this one: what came of it stays. */
static bool go_on(struct uploads *self, struct message *message)
{
    const Farm__Offer *offer = message->envelope->offer;
    for (size_t u = 0; u < self->count; u++) {
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
static struct transfer *transfer_for(struct uploads *self, const Farm__Offer *offer,
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

/* How many bytes a key of the role may have here that nothing names; 0: any. */
static uint64_t quota(const struct uploads *self, Farm__Role role)
{
    return role == FARM__ROLE__ROLE_WORKER   ? self->limits->worker_quota
           : role == FARM__ROLE__ROLE_SUBMIT ? self->limits->submit_quota
                                             : 0;
}

bool uploads_offer(struct uploads *self, struct message *message, Farm__Role role,
                   struct error *error)
{
    const Farm__Offer *offer = message->envelope->offer;
    if (blob_has(self->blobs, offer->blob.data, NULL)) {
        blob_touch(self->blobs, offer->blob.data);
        landing_add(self->landing, zframe_data(message->peer),
                    message->envelope->request, offer->blob.data);
        return true;
    }
    if (go_on(self, message))
        return true;
    if (!has_room(self, message->peer, offer->size, error) ||
        !holdings_begin(&self->holdings, message->key, offer->size, quota(self, role),
                        error))
        return false;
    struct transfer *transfer = transfer_for(self, offer, error);
    if (!transfer) {
        holdings_end(&self->holdings, message->key, offer->size);
        return false;
    }
    struct upload *upload = calloc(1, sizeof *upload);
    if (!upload)
        abort();
    memcpy(upload->peer, zframe_data(message->peer), PEER_ID);
    memcpy(upload->key, message->key, sizeof upload->key);
    upload->request = message->envelope->request;
    upload->transfer = transfer;
    upload->heard = clock_ms();
    size_t index = self->count++;
    self->upload[index] = upload;
    if (!take_first(transfer, message, error)) {
        drop(self, index);
        return false;
    }
    return advance(self, message->peer, index, error);
}

bool uploads_chunk(struct uploads *self, struct message *message, struct error *error)
{
    const Farm__Chunk *chunk = message->envelope->chunk;
    size_t index = find(self, message->peer, chunk->blob);
    if (index == self->count)
        return error_set_kind(error, ERROR_NOT_FOUND,
                              "this range was not asked for; offer its blob first");
    struct upload *upload = self->upload[index];
    upload->heard = clock_ms();
    if (!transfer_take(upload->transfer, chunk->offset,
                       message->payload ? zframe_data(message->payload) : NULL,
                       message->payload ? zframe_size(message->payload) : 0, error)) {
        drop(self, index);
        return false;
    }
    return advance(self, message->peer, index, error);
}

void uploads_expect(struct uploads *self, const struct carrier_expected *expected,
                    size_t size)
{
    struct carrier_expected *copy = malloc(size);
    if (!copy)
        abort();
    memcpy(copy, expected, size);
    struct carrier_expected *before = zhashx_lookup(self->expected, copy->blob);
    zhashx_delete(self->expected, copy->blob);
    free(before);
    zhashx_insert(self->expected, copy->blob, copy);
}

/* Goes on with one, and tells its sender when it fails. */
static void go_on_with(struct uploads *self, size_t index)
{
    struct error error = {0};
    uint64_t request = self->upload[index]->request;
    zframe_t *peer = zframe_new(self->upload[index]->peer, PEER_ID);
    if (!advance(self, peer, index, &error))
        carrier_refuse(self->bulk, peer, request, &error);
    zframe_destroy(&peer);
}

void uploads_try_again(struct uploads *self)
{
    self->stalled = false;
    for (size_t u = self->count; u-- > 0;)
        if (self->upload[u]->stalled)
            go_on_with(self, u);
}

void uploads_work(struct uploads *self)
{
    bool worked = false;
    self->works = false;
    for (size_t u = self->count; u-- > 0;) {
        const struct transfer *transfer = self->upload[u]->transfer;
        bool due = !transfer_is_ready(transfer) || transfer_is_complete(transfer);
        if (due && !worked)
            go_on_with(self, u);
        self->works = self->works || (due && worked);
        worked = worked || due;
    }
}

void uploads_forget(struct uploads *self, const uint8_t key[32])
{
    for (size_t u = self->count; u-- > 0;)
        if (memcmp(self->upload[u]->key, key, 32) == 0)
            drop(self, u);
}

void uploads_sweep(struct uploads *self, int64_t now)
{
    for (size_t u = self->count; u-- > 0;)
        if (now - self->upload[u]->heard > SILENCE_MS)
            drop(self, u);
}
