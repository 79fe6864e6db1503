#include "worker/serve.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "proto/files/manifest.h"
#include "proto/files/transfer.h"
#include "proto/gate.h"
#include "proto/wire.h"

enum {
    GRANTS_MOST = 256,
    WAITING_MOST = 512,
    HIGH_WATER = 2 * TRANSFER_WINDOW,
    BURST = 64,
    CLIENTS_MOST =
        2, /* at a time: what they get is given on as soon as a piece is whole */
    CLIENT_MS = 1000, /* without a Want, after which one is none */
};

struct client {
    uint8_t key[KEY_SIZE];
    int64_t asked_ms;
};

struct grant {
    uint8_t key[KEY_SIZE], model[BLOB_ID];
    int64_t until_ms;
    Farm__Manifest *manifest; /* NULL: it is a snapshot's */
};

/* A range that its asker's queue had no room for. */
struct waiting {
    zframe_t *peer;
    uint64_t request, offset;
    uint32_t length;
    uint8_t blob[BLOB_ID], key[KEY_SIZE];
};

struct serve {
    zsock_t *socket;
    struct gate *gate;
    struct pieces *pieces;
    struct checkpoints *checkpoints;
    struct grant grant[GRANTS_MOST];
    size_t grants;
    struct waiting waiting[WAITING_MOST];
    size_t waits;
    struct client client[CLIENTS_MOST];
    int64_t now_ms;
    uint8_t range[TRANSFER_FRAME];
};

static bool open_socket(struct serve *self, const struct keypair *own, const char *bind,
                        int port, int *bound, struct error *error)
{
    char address[300], number[12] = "*";
    self->socket = zsock_new(ZMQ_ROUTER);
    if (!self->socket)
        return error_set(error, "no socket: %s", zmq_strerror(errno));
    zsock_set_sndhwm(self->socket, HIGH_WATER);
    zsock_set_rcvhwm(self->socket, HIGH_WATER);
    zsock_set_ipv6(self->socket, strchr(bind, '[') != NULL);
    if (!gate_guard(self->socket, own, WIRE_BULK_LIMIT, error))
        return false;
    if (port)
        snprintf(number, sizeof number, "%d", port);
    snprintf(address, sizeof address, "%s:%s", bind, number);
    if (zmq_bind(zsock_resolve(self->socket), address) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "%s cannot be listened on for other workers: %s; see "
                              "--peer-bind and --peer-port",
                              address, zmq_strerror(errno));
    char *last = zsock_last_endpoint(self->socket);
    const char *colon = last ? strrchr(last, ':') : NULL;
    *bound = colon ? atoi(colon + 1) : 0;
    zstr_free(&last);
    return true;
}

struct serve *serve_new(const struct keypair *own, const char *bind, int port,
                        struct pieces *pieces, struct checkpoints *checkpoints,
                        int *bound, struct error *error)
{
    struct serve *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->pieces = pieces;
    self->checkpoints = checkpoints;
    self->gate = gate_new(NULL, 0, error);
    if (!self->gate || !open_socket(self, own, bind, port, bound, error))
        serve_destroy(&self);
    return self;
}

static void drop_grant(struct serve *self, size_t index)
{
    manifest_destroy(&self->grant[index].manifest);
    self->grant[index] = self->grant[--self->grants];
}

static void drop_waiting(struct serve *self, size_t index)
{
    zframe_destroy(&self->waiting[index].peer);
    memmove(&self->waiting[index], &self->waiting[index + 1],
            (--self->waits - index) * sizeof *self->waiting);
}

void serve_destroy(struct serve **self)
{
    if (!*self)
        return;
    while ((*self)->grants)
        drop_grant(*self, 0);
    while ((*self)->waits)
        drop_waiting(*self, (*self)->waits - 1);
    zsock_destroy(&(*self)->socket);
    gate_destroy(&(*self)->gate);
    free(*self);
    *self = NULL;
}

bool serve_grant(struct serve *self, const uint8_t key[KEY_SIZE],
                 const uint8_t model[BLOB_ID], int64_t until_ms, struct error *error)
{
    for (size_t g = 0; g < self->grants; g++)
        if (memcmp(self->grant[g].key, key, KEY_SIZE) == 0 &&
            memcmp(self->grant[g].model, model, BLOB_ID) == 0) {
            self->grant[g].until_ms = until_ms;
            return true;
        }
    if (self->grants == GRANTS_MOST)
        return error_set_kind(error, ERROR_BUSY, "%d grants are open here",
                              GRANTS_MOST);
    struct grant grant = {.until_ms = until_ms};
    grant.manifest = pieces_known(self->pieces, model);
    if (!grant.manifest && !checkpoints_size(self->checkpoints, model))
        return error_set_kind(error, ERROR_NOT_FOUND, "this model is not here");
    memcpy(grant.key, key, KEY_SIZE);
    memcpy(grant.model, model, BLOB_ID);
    self->grant[self->grants++] = grant;
    gate_admit(self->gate, key);
    return true;
}

static bool has_grant(const struct serve *self, const uint8_t key[KEY_SIZE])
{
    for (size_t g = 0; g < self->grants; g++)
        if (memcmp(self->grant[g].key, key, KEY_SIZE) == 0)
            return true;
    return false;
}

void serve_end(struct serve *self, const uint8_t key[KEY_SIZE])
{
    gate_forget(self->gate, key);
    for (size_t g = self->grants; g-- > 0;)
        if (memcmp(self->grant[g].key, key, KEY_SIZE) == 0)
            drop_grant(self, g);
    for (size_t w = self->waits; w-- > 0;)
        if (memcmp(self->waiting[w].key, key, KEY_SIZE) == 0)
            drop_waiting(self, w);
}

static void expire(struct serve *self, int64_t now)
{
    for (size_t g = self->grants; g-- > 0;) {
        uint8_t key[KEY_SIZE];
        if (self->grant[g].until_ms > now)
            continue;
        memcpy(key, self->grant[g].key, KEY_SIZE);
        drop_grant(self, g);
        if (!has_grant(self, key))
            gate_forget(self->gate, key);
    }
}

zsock_t *serve_socket(struct serve *self)
{
    return self->socket;
}

bool serve_is_waiting(const struct serve *self)
{
    return self->waits > 0;
}

/* Whether it is this key's turn: a few at a time get what the link carries, so that whole
 * pieces are given on soon. */
static bool has_time(struct serve *self, const uint8_t key[KEY_SIZE],
                     struct error *error)
{
    struct client *free_place = NULL;
    for (size_t c = 0; c < CLIENTS_MOST; c++) {
        struct client *client = &self->client[c];
        if (memcmp(client->key, key, KEY_SIZE) == 0) {
            client->asked_ms = self->now_ms;
            return true;
        }
        if (!client->asked_ms || self->now_ms - client->asked_ms > CLIENT_MS)
            free_place = client;
    }
    if (!free_place)
        return error_set_kind(error, ERROR_BUSY, "%d others are served here now",
                              CLIENTS_MOST);
    memcpy(free_place->key, key, KEY_SIZE);
    free_place->asked_ms = self->now_ms;
    return true;
}

/* Whether a grant lets this key have that file. */
static bool may_have(const struct serve *self, const uint8_t key[KEY_SIZE],
                     const uint8_t blob[BLOB_ID], struct error *error)
{
    for (size_t g = 0; g < self->grants; g++) {
        const Farm__Manifest *manifest = self->grant[g].manifest;
        if (memcmp(self->grant[g].key, key, KEY_SIZE) != 0)
            continue;
        if (!manifest && memcmp(self->grant[g].model, blob, BLOB_ID) == 0)
            return true;
        for (size_t f = 0; manifest && f < manifest->n_files; f++)
            if (memcmp(manifest->files[f]->blob.data, blob, BLOB_ID) == 0)
                return true;
    }
    return error_set_kind(error, ERROR_DENIED,
                          "no grant is for this file and this key");
}

static void refuse(struct serve *self, zframe_t *peer, uint64_t request,
                   const struct error *why)
{
    Farm__Refused refused = FARM__REFUSED__INIT;
    refused.kind = why->kind;
    refused.text = wire_text(why->text);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = request;
    envelope.body_case = FARM__ENVELOPE__BODY_REFUSED;
    envelope.refused = &refused;
    wire_send(self->socket, peer, &envelope, NULL, 0, NULL);
}

/* A wrong piece on purpose, so that tests can see what others make of it. */
static void spoil(struct serve *self)
{
    if (fault_wanted("worker-serves-wrong-piece"))
        self->range[0] ^= 1;
}

static bool read_range(struct serve *self, const struct waiting *want,
                       struct error *error)
{
    return checkpoints_size(self->checkpoints, want->blob)
               ? checkpoints_read(self->checkpoints, want->blob, want->offset,
                                  self->range, want->length, error)
               : pieces_read(self->pieces, want->blob, want->offset, self->range,
                             want->length, error);
}

/* False when the asker's queue has no room now. */
static bool answer(struct serve *self, zframe_t *peer, const struct waiting *want)
{
    struct error error = {0};
    if (!may_have(self, want->key, want->blob, &error) ||
        !has_time(self, want->key, &error) || !read_range(self, want, &error)) {
        refuse(self, peer, want->request, &error);
        return true;
    }
    spoil(self);
    Farm__Chunk chunk = FARM__CHUNK__INIT;
    chunk.blob = wire_bytes(want->blob, BLOB_ID);
    chunk.offset = want->offset;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = want->request;
    envelope.body_case = FARM__ENVELOPE__BODY_CHUNK;
    envelope.chunk = &chunk;
    return wire_send(self->socket, peer, &envelope, self->range, want->length,
                     &error) ||
           error.kind != ERROR_BUSY;
}

static void answer_waiting(struct serve *self)
{
    for (size_t w = 0; w < self->waits;)
        if (answer(self, self->waiting[w].peer, &self->waiting[w]))
            drop_waiting(self, w);
        else
            w++;
}

static void take(struct serve *self, struct message *message)
{
    const Farm__Envelope *envelope = message->envelope;
    struct error error = {0};
    if (envelope->body_case != FARM__ENVELOPE__BODY_WANT ||
        envelope->want->length > TRANSFER_FRAME) {
        error_set_kind(&error, ERROR_DENIED, "only ranges of files are given here");
        refuse(self, message->peer, envelope->request, &error);
        return;
    }
    struct waiting want = {.request = envelope->request,
                           .offset = envelope->want->offset,
                           .length = envelope->want->length};
    memcpy(want.blob, envelope->want->blob.data, BLOB_ID);
    memcpy(want.key, message->key, KEY_SIZE);
    if (answer(self, message->peer, &want) || self->waits == WAITING_MOST)
        return;
    want.peer = message->peer;
    message->peer = NULL;
    self->waiting[self->waits++] = want;
}

void serve_step(struct serve *self, int64_t now_ms)
{
    self->now_ms = now_ms;
    expire(self, now_ms);
    answer_waiting(self);
    for (int m = 0; m < BURST; m++) {
        struct message message;
        struct error error = {0};
        bool ok = wire_receive(self->socket, WIRE_BULK_LIMIT, &message, &error);
        if (ok)
            take(self, &message);
        else if (error.kind != ERROR_INPUT)
            m = BURST;
        else if (message.peer)
            refuse(self, message.peer, 0, &error);
        message_clear(&message);
    }
}
