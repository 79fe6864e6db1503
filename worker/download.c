#include "worker/download.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"

enum {
    SILENCE_MS = 10000, /* without a chunk, after which ranges are asked for again */
    MODELS_WANTED = 512,
    BAD_PIECES = 8, /* of one model, after which its source is taken for broken */
};

struct download {
    struct pieces *pieces;
    uint8_t wanted[MODELS_WANTED][BLOB_ID];
    size_t models;
    uint64_t asked; /* the request number of the ranges of wanted[0] */
    /* of wanted[0] */
    bool asked_manifest;
    unsigned bad_pieces;
    bool failed;
    struct error why;
    int64_t heard_ms; /* last chunk */
};

struct download *download_new(struct pieces *pieces)
{
    struct download *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->pieces = pieces;
    self->asked = 1;
    return self;
}

void download_destroy(struct download **self)
{
    free(*self);
    *self = NULL;
}

bool download_want(struct download *self, const uint8_t id[BLOB_ID],
                   struct error *error)
{
    for (size_t i = 0; i < self->models; i++)
        if (memcmp(self->wanted[i], id, BLOB_ID) == 0)
            return true;
    if (self->models == MODELS_WANTED)
        return error_set_kind(error, ERROR_BUSY, "%d models are being fetched already",
                              MODELS_WANTED);
    memcpy(self->wanted[self->models++], id, BLOB_ID);
    return true;
}

static void fail(struct download *self, const struct error *why)
{
    self->failed = true;
    self->why = *why;
}

void download_manifest(struct download *self, const uint8_t id[BLOB_ID],
                       const Farm__Manifest *manifest, const struct error *why)
{
    struct error error = {0};
    if (!self->models || memcmp(self->wanted[0], id, BLOB_ID) != 0)
        return;
    if (!manifest)
        fail(self, why);
    else if (!pieces_manifest(self->pieces, id, manifest, &error))
        fail(self, &error);
}

void download_chunk(struct download *self, const struct message *message,
                    int64_t now_ms)
{
    const Farm__Chunk *chunk = message->envelope->chunk;
    struct error error = {0};
    self->heard_ms = now_ms;
    if (!message->payload)
        return;
    if (!pieces_take(self->pieces, chunk->blob.data, chunk->offset,
                     zframe_data(message->payload), zframe_size(message->payload),
                     &error)) {
        if (!self->failed)
            log_warn("what came is not taken: %s", error.text);
        if (++self->bad_pieces >= BAD_PIECES || error.kind == ERROR_BUSY)
            fail(self, &error);
    }
    fault_point("worker-mid-fetch");
}

void download_restart(struct download *self)
{
    self->asked_manifest = false;
    pieces_restart(self->pieces);
}

static void next_model(struct download *self)
{
    self->models--;
    self->asked++;
    memmove(self->wanted[0], self->wanted[1], self->models * sizeof *self->wanted);
    self->asked_manifest = self->failed = false;
    self->bad_pieces = 0;
}

void download_refused(struct download *self, const Farm__Envelope *envelope)
{
    uint32_t kind = envelope->refused->kind;
    struct error why = {0};
    if (!self->models || envelope->request != self->asked ||
        (kind != ERROR_NOT_FOUND && kind != ERROR_INPUT))
        return;
    char *text = wire_string(envelope->refused->text);
    error_set_kind(&why, ERROR_INPUT, "%s; farmctl model add brings it back", text);
    pieces_name(self->pieces, &why);
    free(text);
    fail(self, &why);
}

static void ask_ranges(struct download *self, struct link *link, int64_t now)
{
    if (now - self->heard_ms > SILENCE_MS) {
        self->heard_ms = now;
        pieces_restart(self->pieces);
    }
    Farm__Want want = FARM__WANT__INIT;
    uint8_t blob[BLOB_ID];
    while (link && pieces_next(self->pieces, blob, &want.offset, &want.length)) {
        want.blob = wire_bytes(blob, BLOB_ID);
        Farm__Envelope envelope = FARM__ENVELOPE__INIT;
        envelope.body_case = FARM__ENVELOPE__BODY_WANT;
        envelope.want = &want;
        envelope.request = self->asked;
        if (!link_send(link, &envelope, NULL, 0, NULL))
            return; /* asked again after the silence */
    }
}

/* wanted[0] failed: tells so and gives it up. */
static bool report_failure(struct download *self, struct io_event *news)
{
    *news = (struct io_event){.kind = IO_MODEL_FAILED, .error = self->why};
    memcpy(news->model, self->wanted[0], BLOB_ID);
    pieces_stop(self->pieces);
    next_model(self);
    return true;
}

static bool hand_out(struct download *self, struct io_event *news)
{
    *news = (struct io_event){.kind = IO_MODEL};
    memcpy(news->model, self->wanted[0], BLOB_ID);
    if (!pieces_files(self->pieces, news->model, &news->files, &news->manifest,
                      &self->why))
        return report_failure(self, news);
    next_model(self);
    return true;
}

bool download_next(struct download *self, struct link *link, int64_t now_ms,
                   struct io_event *news)
{
    if (!self->models)
        return false;
    if (self->failed)
        return report_failure(self, news);
    switch (pieces_want(self->pieces, self->wanted[0], &self->why)) {
    case PIECES_FAILED:
        return report_failure(self, news);
    case PIECES_HERE:
        return hand_out(self, news);
    case PIECES_NO_MANIFEST:
        if (self->asked_manifest)
            return false;
        self->asked_manifest = true;
        *news = (struct io_event){.kind = IO_MANIFEST_WANTED};
        memcpy(news->model, self->wanted[0], BLOB_ID);
        return true;
    case PIECES_FETCHING:
        ask_ranges(self, link, now_ms);
        return false;
    case PIECES_BUSY:
        return false;
    }
    return false;
}
