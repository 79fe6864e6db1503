#include "coordinator/ranges.h"

#include <string.h>

#include "proto/files/transfer.h"

/* 1 sent, 0 no room now, -1. A peer that is gone needs nothing. */
static int send_range(struct ranges *self, zframe_t *peer,
                      const struct waiting_range *want, struct error *error)
{
    static uint8_t range[TRANSFER_FRAME];
    struct error why = {0};
    uint64_t size;
    if (!blob_has(self->blobs, want->blob, &size)) {
        error_set_kind(error, ERROR_NOT_FOUND, "the farm has no such file");
        return -1;
    }
    if (!blob_read(self->blobs, want->blob, want->offset, range, want->length, error))
        return -1;
    Farm__Chunk chunk = FARM__CHUNK__INIT;
    chunk.blob = wire_bytes(want->blob, BLOB_ID);
    chunk.offset = want->offset;
    chunk.size = size;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = want->request;
    envelope.body_case = FARM__ENVELOPE__BODY_CHUNK;
    envelope.chunk = &chunk;
    return wire_send(self->bulk, peer, &envelope, range, want->length, &why) ||
           why.kind != ERROR_BUSY;
}

bool ranges_take(struct ranges *self, struct message *message, struct error *error)
{
    const Farm__Want *want = message->envelope->want;
    struct waiting_range wanted = {.request = message->envelope->request,
                                   .offset = want->offset,
                                   .length = want->length};
    if (want->length > TRANSFER_FRAME)
        return error_set_kind(error, ERROR_INPUT,
                              "a range of %u bytes, at most %d are sent at once",
                              want->length, TRANSFER_FRAME);
    memcpy(wanted.blob, want->blob.data, BLOB_ID);
    memcpy(wanted.key, message->key, sizeof wanted.key);
    int sent = send_range(self, message->peer, &wanted, error);
    size_t own = 0;
    for (size_t w = 0; !sent && w < self->waits; w++)
        own += memcmp(self->waiting[w].key, wanted.key, sizeof wanted.key) == 0;
    if (sent || own >= RANGES_A_KEY || self->waits == RANGES_MOST)
        return sent >= 0;
    wanted.peer = message->peer;
    message->peer = NULL;
    self->waiting[self->waits++] = wanted;
    return true;
}

void ranges_try_again(struct ranges *self)
{
    size_t kept = 0;
    for (size_t w = 0; w < self->waits; w++) {
        struct waiting_range *waiting = &self->waiting[w];
        if (send_range(self, waiting->peer, waiting, NULL) == 0)
            self->waiting[kept++] = *waiting;
        else
            zframe_destroy(&waiting->peer);
    }
    self->waits = kept;
}

void ranges_clear(struct ranges *self)
{
    while (self->waits)
        zframe_destroy(&self->waiting[--self->waits].peer);
}
