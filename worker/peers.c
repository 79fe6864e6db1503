#include "worker/peers.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
    SILENCE_MS = 60000, /* of a quick link: something was asked and nothing came */
    SILENCE_MOST_MS = 640000,
    LEFT_MS = 30000, /* then not spoken to for so long */
    SHUNNED_MOST = 32,
    BUSY_MS = 250, /* until one without time is asked again, and as much by chance */
    STEP_MS =
        100, /* between looks at a link the poll found nothing on: each is a call */
    ASKED_MOST = 3, /* at a time: a piece in one go is given on earlier than in many */
    HIGH_WATER = 32,
};

struct peer {
    uint8_t key[KEY_SIZE];
    struct link *link; /* NULL: this place is free */
    struct patience patience;
    int64_t not_before_ms;
    bool ready;         /* the poll found something */
    int64_t stepped_ms; /* when it was last looked at */
};

/* Somebody not to be spoken to until then. */
struct shunned {
    uint8_t key[KEY_SIZE];
    int64_t until_ms;
};

struct peers {
    const struct keypair *own;
    struct pieces *pieces;
    int64_t silence_ms; /* of one who gave nothing yet: twice as long after each that
                           was left, as it may be our own line that is slow */
    struct peer peer[GATHER_SOURCES]; /* by number of source; the first is unused */
    struct shunned shunned[SHUNNED_MOST];
    size_t shunning;
    uint8_t bad[PEERS_MOST][KEY_SIZE];
    size_t bads;
};

struct peers *peers_new(const struct keypair *own, struct pieces *pieces)
{
    struct peers *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->own = own;
    self->pieces = pieces;
    self->silence_ms = SILENCE_MS;
    return self;
}

static void leave(struct peers *self, size_t source)
{
    pieces_drop(self->pieces, source);
    link_close(&self->peer[source].link);
}

void peers_clear(struct peers *self)
{
    for (size_t s = 1; s < GATHER_SOURCES; s++)
        if (self->peer[s].link)
            leave(self, s);
}

void peers_destroy(struct peers **self)
{
    if (!*self)
        return;
    peers_clear(*self);
    free(*self);
    *self = NULL;
}

static void shun(struct peers *self, const uint8_t key[KEY_SIZE], int64_t until)
{
    if (self->shunning == SHUNNED_MOST)
        memmove(&self->shunned[0], &self->shunned[1],
                --self->shunning * sizeof *self->shunned);
    struct shunned *one = &self->shunned[self->shunning++];
    memcpy(one->key, key, KEY_SIZE);
    one->until_ms = until;
}

static bool is_shunned(const struct peers *self, const uint8_t key[KEY_SIZE],
                       int64_t now)
{
    for (size_t s = 0; s < self->shunning; s++)
        if (self->shunned[s].until_ms > now &&
            memcmp(self->shunned[s].key, key, KEY_SIZE) == 0)
            return true;
    return false;
}

static size_t find(const struct peers *self, const uint8_t key[KEY_SIZE])
{
    for (size_t s = 1; s < GATHER_SOURCES; s++)
        if (self->peer[s].link && memcmp(self->peer[s].key, key, KEY_SIZE) == 0)
            return s;
    return 0;
}

static size_t meet(struct peers *self, const Farm__Source *source,
                   const struct patience *like, int64_t now)
{
    size_t s = 1;
    while (s < GATHER_SOURCES && self->peer[s].link)
        s++;
    if (s == GATHER_SOURCES)
        return 0;
    struct error error = {0};
    char *address = wire_string(source->address);
    struct link_options options = {
        .address = address,
        .server_key = source->key.data,
        .own = self->own,
        .limit = WIRE_BULK_LIMIT,
        .send_high_water = HIGH_WATER,
    };
    self->peer[s].link = link_open(&options, &error);
    if (!self->peer[s].link)
        log_warn("another worker: %s", error.text);
    free(address);
    memcpy(self->peer[s].key, source->key.data, KEY_SIZE);
    patience_init(&self->peer[s].patience, SILENCE_MS, now);
    patience_expect(&self->peer[s].patience, like);
    self->peer[s].patience.limit_ms = self->silence_ms;
    self->peer[s].ready = true;
    return self->peer[s].link ? s : 0;
}

void peers_list(struct peers *self, const Farm__Peers *list,
                const struct patience *like, int64_t now_ms)
{
    bool listed[GATHER_SOURCES] = {false};
    for (size_t i = 0; i < list->n_sources; i++) {
        const Farm__Source *source = list->sources[i];
        size_t known = find(self, source->key.data);
        if (known)
            listed[known] = true;
    }
    for (size_t s = 1; s < GATHER_SOURCES; s++)
        if (self->peer[s].link && !listed[s])
            leave(self, s);
    for (size_t i = 0; i < list->n_sources; i++) {
        const Farm__Source *source = list->sources[i];
        size_t known = find(self, source->key.data);
        if (is_shunned(self, source->key.data, now_ms))
            continue;
        struct error error = {0};
        size_t s = known ? known : meet(self, source, like, now_ms);
        if (s && !pieces_source(self->pieces, s,
                                source->pieces.len ? source->pieces.data : NULL,
                                source->pieces.len, &error))
            leave(self, s);
    }
}

static void take_chunk(struct peers *self, size_t source, const struct message *message,
                       size_t *pieces, struct error *error)
{
    const Farm__Chunk *chunk = message->envelope->chunk;
    bool whole;
    if (!message->payload)
        return;
    if (pieces_take(self->pieces, source, chunk->blob.data, chunk->offset,
                    zframe_data(message->payload), zframe_size(message->payload),
                    &whole, error)) {
        *pieces += whole;
        if (whole && self->silence_ms > SILENCE_MS)
            self->silence_ms /= 2;
        return;
    }
    if (error->kind != ERROR_INPUT)
        return;
    char key[KEY_TEXT];
    key_format(self->peer[source].key, key);
    log_warn("worker %s sent a wrong piece and is left: %s", key, error->text);
    if (self->bads < PEERS_MOST)
        memcpy(self->bad[self->bads++], self->peer[source].key, KEY_SIZE);
    shun(self, self->peer[source].key, INT64_MAX);
    *error = (struct error){0};
    leave(self, source);
}

/* A piece it does not have after all, or a grant that ended: whatever it says, the rest is
 * asked of others. */
static void take_refusal(struct peers *self, size_t source,
                         const Farm__Refused *refused, int64_t now)
{
    if (refused->kind == ERROR_BUSY) {
        self->peer[source].not_before_ms = now + BUSY_MS + randombytes_uniform(BUSY_MS);
        pieces_release(self->pieces, source);
        return;
    }
    char *text = wire_string(refused->text);
    log_info("another worker refuses: %s", text);
    free(text);
    shun(self, self->peer[source].key, now + LEFT_MS);
    leave(self, source);
}

static void receive(struct peers *self, size_t source, int64_t now, size_t *pieces,
                    struct error *error)
{
    struct peer *peer = &self->peer[source];
    peer->ready = false;
    peer->stepped_ms = now;
    enum link_event event;
    struct message message = {0};
    while (peer->link && (event = link_step(peer->link, now, &message))) {
        patience_heard(&peer->patience,
                       message.payload ? zframe_size(message.payload) : 0, now);
        if (event != LINK_MESSAGE)
            pieces_restart(self->pieces, source);
        else if (message.envelope->body_case == FARM__ENVELOPE__BODY_CHUNK)
            take_chunk(self, source, &message, pieces, error);
        else if (message.envelope->body_case == FARM__ENVELOPE__BODY_REFUSED)
            take_refusal(self, source, message.envelope->refused, now);
        message_clear(&message);
    }
}

static void ask(struct peers *self, size_t source, struct error *error)
{
    Farm__Want want = FARM__WANT__INIT;
    uint8_t blob[BLOB_ID];
    while (pieces_next(self->pieces, source, blob, &want.offset, &want.length, error)) {
        want.blob = wire_bytes(blob, BLOB_ID);
        Farm__Envelope envelope = FARM__ENVELOPE__INIT;
        envelope.body_case = FARM__ENVELOPE__BODY_WANT;
        envelope.want = &want;
        if (!link_send(self->peer[source].link, &envelope, NULL, 0, NULL)) {
            pieces_restart(self->pieces, source);
            return;
        }
    }
}

bool peers_step(struct peers *self, int64_t now_ms, size_t *pieces, struct error *error)
{
    struct error why = {0};
    size_t first = randombytes_uniform(PEERS_MOST), asked = 0;
    *pieces = 0;
    for (size_t s = 1; s < GATHER_SOURCES; s++)
        asked += pieces_outstanding(self->pieces, s) > 0;
    for (size_t i = 0; i < PEERS_MOST && !why.text[0]; i++) {
        size_t s = 1 + (first + i) % PEERS_MOST; /* nobody is everybody's first */
        struct peer *peer = &self->peer[s];
        struct error trouble = {0};
        if (peer->ready || now_ms - peer->stepped_ms >= STEP_MS)
            receive(self, s, now_ms, pieces, &why);
        if (!peer->link)
            continue;
        size_t awaited = pieces_awaited(self->pieces, s);
        bool silent = awaited && patience_ends(&peer->patience, awaited, now_ms);
        if (silent || link_trouble(peer->link, &trouble)) {
            log_info("another worker is left: %s",
                     silent ? "it does not answer" : trouble.text);
            if (silent && self->silence_ms < SILENCE_MOST_MS)
                self->silence_ms *= 2;
            shun(self, peer->key, now_ms + LEFT_MS);
            leave(self, s);
            continue;
        }
        if (!pieces_outstanding(self->pieces, s)) {
            patience_rest(&peer->patience, now_ms);
            if (asked >= ASKED_MOST || now_ms < peer->not_before_ms)
                continue;
        }
        asked -= pieces_outstanding(self->pieces, s) > 0;
        ask(self, s, &why);
        asked += pieces_outstanding(self->pieces, s) > 0;
    }
    if (why.text[0] && error)
        *error = why;
    return !why.text[0];
}

size_t peers_outstanding(const struct peers *self)
{
    size_t sum = 0;
    for (size_t s = 1; s < GATHER_SOURCES; s++)
        sum += pieces_outstanding(self->pieces, s);
    return sum;
}

size_t peers_take_bad(struct peers *self, uint8_t bad[PEERS_MOST][KEY_SIZE])
{
    size_t count = self->bads;
    memcpy(bad, self->bad, count * sizeof *bad);
    self->bads = 0;
    return count;
}

size_t peers_poll(struct peers *self, zmq_pollitem_t items[PEERS_ITEMS])
{
    size_t count = 0;
    for (size_t s = 1; s < GATHER_SOURCES; s++) {
        struct link *link = self->peer[s].link;
        if (!link)
            continue;
        items[count++] =
            (zmq_pollitem_t){zsock_resolve(link_socket(link)), 0, ZMQ_POLLIN, 0};
        items[count++] =
            (zmq_pollitem_t){zsock_resolve(link_monitor(link)), 0, ZMQ_POLLIN, 0};
    }
    return count;
}

void peers_polled(struct peers *self, const zmq_pollitem_t *items)
{
    for (size_t s = 1; s < GATHER_SOURCES; s++)
        if (self->peer[s].link) {
            self->peer[s].ready =
                self->peer[s].ready || items[0].revents || items[1].revents;
            items += 2;
        }
}
