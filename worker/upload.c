#include "worker/upload.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "proto/files/transfer.h"

enum {
    RESEND_MS = 10000,
    RETRY_FIRST_MS = 500,
    RETRY_LAST_MS = 30000,
    OFFERS_OPEN = 4,
    WANTS_WAITING = 64, /* ranges asked of us that the link had no room for */
};

struct want {
    uint8_t blob[BLOB_ID];
    uint64_t offset;
    uint32_t length;
};

struct upload {
    struct spool *spool;
    struct checkpoints *checkpoints;
    struct want want[WANTS_WAITING];
    size_t wants;
    uint8_t frame[TRANSFER_FRAME];
};

struct upload *upload_new(struct spool *spool, struct checkpoints *checkpoints)
{
    struct upload *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->spool = spool;
    self->checkpoints = checkpoints;
    return self;
}

void upload_destroy(struct upload **self)
{
    free(*self);
    *self = NULL;
}

static void start_again(struct spool_entry *entry)
{
    for (size_t b = 0; b < SPOOL_BLOBS; b++) {
        entry->blob[b].stored = false;
        entry->blob[b].offered_ms = 0;
    }
    entry->announced_ms = 0;
}

void upload_restart(struct upload *self)
{
    for (size_t i = 0; i < spool_count(self->spool); i++)
        start_again(spool_at(self->spool, i));
    checkpoints_restart(self->checkpoints);
    self->wants = 0;
}

/* True when it went out; then `size` bytes of self->frame went with it. */
static bool send_frame(struct upload *self, struct link *link, Farm__Envelope *envelope,
                       size_t size)
{
    struct error error = {0};
    if (link_send(link, envelope, self->frame, size, &error))
        return true;
    if (error.kind != ERROR_BUSY)
        log_warn("bulk link: %s", error.text);
    return false;
}

/* A range of a result's file or of a snapshot. */
static bool read_range(struct upload *self, const uint8_t id[BLOB_ID], uint64_t offset,
                       size_t size, struct error *error)
{
    return checkpoints_size(self->checkpoints, id)
               ? checkpoints_read(self->checkpoints, id, offset, self->frame, size,
                                  error)
               : spool_read(self->spool, id, offset, self->frame, size, error);
}

static bool offer(struct upload *self, struct link *link, struct spool_blob *blob,
                  int64_t now)
{
    size_t first = blob->size < TRANSFER_FRAME ? blob->size : TRANSFER_FRAME;
    struct error error = {0};
    if (!read_range(self, blob->id, 0, first, &error)) {
        log_error("spool: %s", error.text);
        return false;
    }
    Farm__Offer message = FARM__OFFER__INIT;
    message.blob = wire_bytes(blob->id, BLOB_ID);
    message.size = blob->size;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_OFFER;
    envelope.offer = &message;
    if (!send_frame(self, link, &envelope, first))
        return false;
    blob->offered_ms = now;
    return true;
}

static bool is_due(int64_t last_ms, int64_t now)
{
    return !last_ms || now - last_ms >= RESEND_MS;
}

static size_t offers_open(struct upload *self, int64_t now)
{
    size_t open = 0;
    for (size_t i = 0; i < checkpoints_count(self->checkpoints); i++) {
        const struct spool_blob *blob = checkpoints_at(self->checkpoints, i);
        open += !blob->stored && !is_due(blob->offered_ms, now);
    }
    for (size_t i = 0; i < spool_count(self->spool); i++)
        for (size_t b = 0; b < SPOOL_BLOBS; b++) {
            const struct spool_blob *blob = &spool_at(self->spool, i)->blob[b];
            open += blob->size && !blob->stored && !is_due(blob->offered_ms, now);
        }
    return open;
}

/* True when the range was sent or cannot be. */
static bool answer_want(struct upload *self, struct link *link, const struct want *want)
{
    struct error error = {0};
    if (!read_range(self, want->blob, want->offset, want->length, &error)) {
        log_debug("not sending what was wanted: %s", error.text);
        return true;
    }
    Farm__Chunk chunk = FARM__CHUNK__INIT;
    chunk.blob = wire_bytes(want->blob, BLOB_ID);
    chunk.offset = want->offset;
    uint64_t snapshot = checkpoints_size(self->checkpoints, want->blob);
    chunk.size = snapshot ? snapshot : spool_size(self->spool, want->blob);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_CHUNK;
    envelope.chunk = &chunk;
    return send_frame(self, link, &envelope, want->length);
}

static void answer_waiting(struct upload *self, struct link *link)
{
    size_t sent = 0;
    while (sent < self->wants && answer_want(self, link, &self->want[sent]))
        sent++;
    memmove(self->want, self->want + sent, (self->wants - sent) * sizeof *self->want);
    self->wants -= sent;
}

void upload_step(struct upload *self, struct link *link, int64_t now_ms)
{
    answer_waiting(self, link);
    size_t open = offers_open(self, now_ms);
    for (size_t i = 0; i < spool_count(self->spool); i++) {
        struct spool_entry *entry = spool_at(self->spool, i);
        for (size_t b = 0; b < SPOOL_BLOBS && now_ms >= entry->not_before_ms; b++) {
            struct spool_blob *blob = &entry->blob[b];
            if (blob->size && !blob->stored && open < OFFERS_OPEN &&
                is_due(blob->offered_ms, now_ms) && offer(self, link, blob, now_ms))
                open++;
        }
    }
    for (size_t i = 0; i < checkpoints_count(self->checkpoints); i++) {
        struct spool_blob *blob = checkpoints_at(self->checkpoints, i);
        if (!blob->stored && open < OFFERS_OPEN && is_due(blob->offered_ms, now_ms) &&
            offer(self, link, blob, now_ms))
            open++;
    }
}

bool upload_is_waiting(const struct upload *self)
{
    return self->wants > 0;
}

void upload_stored(struct upload *self, const Farm__Stored *message)
{
    for (size_t i = 0; i < spool_count(self->spool); i++)
        for (size_t b = 0; b < SPOOL_BLOBS; b++) {
            struct spool_blob *blob = &spool_at(self->spool, i)->blob[b];
            if (blob->size && wire_is(message->blob, blob->id, BLOB_ID))
                blob->stored = true;
        }
    for (size_t i = 0; i < checkpoints_count(self->checkpoints); i++) {
        struct spool_blob *blob = checkpoints_at(self->checkpoints, i);
        blob->stored = blob->stored || wire_is(message->blob, blob->id, BLOB_ID);
    }
}

void upload_want(struct upload *self, struct link *link, const Farm__Want *message)
{
    struct want want = {.offset = message->offset, .length = message->length};
    memcpy(want.blob, message->blob.data, BLOB_ID);
    if (want.length == 0 || want.length > TRANSFER_FRAME)
        log_warn("a range of %u bytes was wanted, at most %d are sent", want.length,
                 TRANSFER_FRAME);
    else if (!self->wants && answer_want(self, link, &want))
        return;
    else if (self->wants < WANTS_WAITING)
        self->want[self->wants++] = want;
}

static bool all_stored(const struct spool_entry *entry)
{
    for (size_t b = 0; b < SPOOL_BLOBS; b++)
        if (entry->blob[b].size && !entry->blob[b].stored)
            return false;
    return true;
}

const Farm__Commit *upload_next_commit(struct upload *self, int64_t now_ms)
{
    for (size_t i = 0; i < spool_count(self->spool); i++) {
        struct spool_entry *entry = spool_at(self->spool, i);
        if (now_ms < entry->not_before_ms || !all_stored(entry) ||
            !is_due(entry->announced_ms, now_ms))
            continue;
        entry->announced_ms = now_ms;
        return entry->commit;
    }
    return NULL;
}

bool upload_answer(struct upload *self, uint64_t epoch, uint64_t counter,
                   Farm__CommitAnswer answer, int64_t now_ms)
{
    struct spool_entry *entry = spool_find(self->spool, epoch, counter);
    if (!entry)
        return false;
    if (answer == FARM__COMMIT_ANSWER__COMMIT_RETRY) {
        unsigned doublings = entry->retries < 6 ? entry->retries : 6;
        int64_t wait = (int64_t)RETRY_FIRST_MS << doublings;
        entry->retries++;
        entry->not_before_ms = now_ms + (wait < RETRY_LAST_MS ? wait : RETRY_LAST_MS);
        start_again(entry);
        return false;
    }
    fault_point("worker-before-forget");
    spool_forget(self->spool, epoch, counter);
    return true;
}
