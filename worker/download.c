#include "worker/download.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"

enum {
    /* Of a quick link, after which ranges are asked for again: what is lost with a link is
     * asked for when that is reopened. */
    SILENCE_MS = 60000,
    MODELS_WANTED = 512,
    BAD_PIECES = 8,    /* of the coordinator's, after which it is taken for broken */
    HAVE_MS = 500,     /* between two Haves while nothing comes */
    HASTE_MS = 30,     /* after a piece came */
    STARVED_MS = 5000, /* nothing is on its way since */
};

struct download {
    struct pieces *pieces;
    struct peers *peers; /* NULL: none are asked */
    uint8_t wanted[MODELS_WANTED][BLOB_ID];
    size_t models;
    uint64_t asked; /* the request number of the ranges of wanted[0] */
    /* of wanted[0] */
    bool asked_manifest;
    unsigned bad_pieces;
    bool failed;
    struct error why;
    struct patience patience;  /* with the coordinator */
    int64_t next_have, fed_ms; /* when something was last on its way */
};

struct download *download_new(struct pieces *pieces, const struct keypair *own)
{
    struct download *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->pieces = pieces;
    self->peers = own ? peers_new(own, pieces) : NULL;
    self->asked = 1;
    patience_init(&self->patience, SILENCE_MS, 0);
    return self;
}

void download_destroy(struct download **self)
{
    if (*self)
        peers_destroy(&(*self)->peers);
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
    patience_heard(&self->patience,
                   message->payload ? zframe_size(message->payload) : 0, now_ms);
    if (!message->payload)
        return;
    bool piece = false;
    if (!pieces_take(self->pieces, GATHER_COORDINATOR, chunk->blob.data, chunk->offset,
                     zframe_data(message->payload), zframe_size(message->payload),
                     &piece, &error)) {
        if (!self->failed)
            log_warn("what came is not taken: %s", error.text);
        if (++self->bad_pieces >= BAD_PIECES || error.kind == ERROR_BUSY)
            fail(self, &error);
    }
    if (piece && self->next_have > now_ms + HASTE_MS)
        self->next_have = now_ms + HASTE_MS;
    fault_point("worker-mid-fetch");
}

void download_greeted(struct download *self)
{
    self->asked_manifest = false;
    self->next_have = 0;
}

void download_restart(struct download *self)
{
    pieces_restart(self->pieces, GATHER_COORDINATOR);
}

void download_peers(struct download *self, const Farm__Peers *list, int64_t now_ms)
{
    struct error error = {0};
    if (!self->models || memcmp(self->wanted[0], list->model.data, BLOB_ID) != 0)
        return;
    if (!pieces_source(self->pieces, GATHER_COORDINATOR, list->seeds.data,
                       list->seeds.len, &error))
        log_warn("what the coordinator offers: %s", error.text);
    if (self->peers)
        peers_list(self->peers, list, &self->patience, now_ms);
}

size_t download_poll(struct download *self, zmq_pollitem_t items[PEERS_ITEMS])
{
    return self->peers ? peers_poll(self->peers, items) : 0;
}

bool download_works(const struct download *self)
{
    return self->models && pieces_works(self->pieces);
}

void download_polled(struct download *self, const zmq_pollitem_t *items)
{
    if (self->peers)
        peers_polled(self->peers, items);
}

static void next_model(struct download *self)
{
    self->models--;
    self->asked++;
    memmove(self->wanted[0], self->wanted[1], self->models * sizeof *self->wanted);
    self->asked_manifest = self->failed = false;
    self->bad_pieces = 0;
    self->next_have = 0;
    if (self->peers)
        peers_clear(self->peers);
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
    pieces_name(self->pieces, NULL, &why);
    free(text);
    fail(self, &why);
}

static void ask_ranges(struct download *self, struct link *link, int64_t now)
{
    size_t awaited = pieces_awaited(self->pieces, GATHER_COORDINATOR);
    if (!awaited)
        patience_rest(&self->patience, now);
    else if (patience_ends(&self->patience, awaited, now))
        pieces_restart(self->pieces, GATHER_COORDINATOR);
    struct error error = {0};
    Farm__Want want = FARM__WANT__INIT;
    uint8_t blob[BLOB_ID];
    while (link && pieces_next(self->pieces, GATHER_COORDINATOR, blob, &want.offset,
                               &want.length, &error)) {
        want.blob = wire_bytes(blob, BLOB_ID);
        Farm__Envelope envelope = FARM__ENVELOPE__INIT;
        envelope.body_case = FARM__ENVELOPE__BODY_WANT;
        envelope.want = &want;
        envelope.request = self->asked;
        if (!link_send(link, &envelope, NULL, 0, NULL))
            return; /* asked again after the silence */
    }
    if (error.text[0])
        fail(self, &error);
}

/* What is here now, told to the coordinator so that it tells others, and says who has the
 * rest. */
static bool tell_have(struct download *self, int64_t now, struct io_event *news)
{
    if (now < self->next_have)
        return false;
    self->next_have = now + HAVE_MS;
    *news = (struct io_event){.kind = IO_HAVE, .fetching = true};
    news->starved = now - self->fed_ms > STARVED_MS;
    memcpy(news->model, self->wanted[0], BLOB_ID);
    news->bads = self->peers ? peers_take_bad(self->peers, news->bad) : 0;
    if (pieces_bits(self->pieces, news->model, &news->bits))
        return true;
    buffer_clear(&news->bits);
    return false;
}

static bool fetch_on(struct download *self, struct link *link, int64_t now,
                     struct io_event *news)
{
    struct error error = {0};
    size_t pieces = 0;
    ask_ranges(self, link, now);
    if (self->peers && !peers_step(self->peers, now, &pieces, &error))
        fail(self, &error);
    if (pieces && self->next_have > now + HASTE_MS)
        self->next_have = now + HASTE_MS;
    if (!self->next_have || pieces_works(self->pieces) ||
        pieces_outstanding(self->pieces, GATHER_COORDINATOR) ||
        (self->peers && peers_outstanding(self->peers)))
        self->fed_ms = now;
    return !self->failed && tell_have(self, now, news);
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
        return fetch_on(self, link, now_ms, news);
    case PIECES_BUSY:
        return false;
    }
    return false;
}
