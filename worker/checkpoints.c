/* Up, an attempt has at most two: one that the farm may be taking, and a newer one that waits
 * for it and is replaced by still newer ones, so that a slow link carries fewer rather than
 * older ones.
 *
 * Down, one range is asked for at a time: a snapshot is a few of them. Whoever made it is asked
 * under a grant, which Have{fetching} brings about (handlers_swarm.c); the coordinator when it
 * says that nobody else has it, when no grant comes in time, or when the other one fails.
 */
#include "worker/checkpoints.h"

#include <stdlib.h>
#include <string.h>

#include "proto/files/transfer.h"

enum {
    SILENCE_MS = 10000, /* without an answer, after which a range is asked for again */
    ASKED_MOST = 3,     /* times, after which there is none */
    HAVE_MS = 300,      /* between two questions who has it */
    GRANT_MS = 2000,    /* after which the coordinator is asked */
    PEER_MS = 3000,     /* another worker's silence, after which likewise */
    HIGH_WATER = 32,
    HERE_MOST = 64 << 20, /* bytes kept for others */
};
#define REQUESTS (UINT64_C(1) << 63) /* ours; models' begin at 1 */

struct up {
    uint64_t epoch, counter;
    uint32_t step;
    struct spool_blob file;
    struct buffer bytes;
    bool told; /* it is there, and stays here for others */
};

struct down {
    uint64_t epoch, counter;
    uint8_t blob[BLOB_ID];
    uint64_t size;
};

struct checkpoints {
    const struct keypair *own;
    struct up *up;
    size_t ups, up_room;
    struct down *down; /* the first is being fetched */
    size_t downs, down_room;
    uint64_t request;            /* of the first */
    struct buffer bytes;         /* of the first, so far */
    int64_t began_ms, next_have; /* 0: not yet */
    struct link *peer;           /* the worker that is asked; NULL: none */
    uint8_t peer_key[KEY_SIZE];
    bool direct;      /* the coordinator is asked */
    bool bad;         /* peer_key sent what is wrong, which is to be told */
    int64_t asked_ms; /* 0: no range is outstanding */
    unsigned asked;   /* how often for this range */
    bool failed;
    struct error why;
};

struct checkpoints *checkpoints_new(const struct keypair *own)
{
    struct checkpoints *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->own = own;
    self->request = REQUESTS;
    return self;
}

static void up_remove(struct checkpoints *self, size_t i)
{
    buffer_clear(&self->up[i].bytes);
    memmove(&self->up[i], &self->up[i + 1], (--self->ups - i) * sizeof *self->up);
}

void checkpoints_destroy(struct checkpoints **self)
{
    struct checkpoints *own = *self;
    if (!own)
        return;
    while (own->ups)
        up_remove(own, own->ups - 1);
    free(own->up);
    free(own->down);
    buffer_clear(&own->bytes);
    link_close(&own->peer);
    free(own);
    *self = NULL;
}

/* Room for one more of `size` bytes each. */
static void *grown(void *list, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return list;
    *room = *room ? 2 * *room : 8;
    list = realloc(list, *room * size);
    if (!list)
        abort();
    return list;
}

void checkpoints_offer(struct checkpoints *self, uint64_t epoch, uint64_t counter,
                       uint32_t step, struct buffer *bytes)
{
    for (size_t i = self->ups; i-- > 0;)
        if (self->up[i].epoch == epoch && self->up[i].counter == counter &&
            !self->up[i].file.offered_ms)
            up_remove(self, i);
    self->up = grown(self->up, self->ups, &self->up_room, sizeof *self->up);
    struct up *up = &self->up[self->ups++];
    *up =
        (struct up){.epoch = epoch, .counter = counter, .step = step, .bytes = *bytes};
    *bytes = (struct buffer){0};
    blob_id(up->bytes.data, up->bytes.size, up->file.id);
    up->file.size = up->bytes.size;
}

void checkpoints_forget(struct checkpoints *self, uint64_t epoch, uint64_t counter)
{
    for (size_t i = self->ups; i-- > 0;)
        if (self->up[i].epoch == epoch && self->up[i].counter == counter)
            up_remove(self, i);
}

size_t checkpoints_count(const struct checkpoints *self)
{
    return self->ups;
}

struct spool_blob *checkpoints_at(struct checkpoints *self, size_t i)
{
    return &self->up[i].file;
}

static const struct up *find(const struct checkpoints *self, const uint8_t id[BLOB_ID])
{
    for (size_t i = 0; i < self->ups; i++)
        if (memcmp(self->up[i].file.id, id, BLOB_ID) == 0)
            return &self->up[i];
    return NULL;
}

bool checkpoints_read(const struct checkpoints *self, const uint8_t id[BLOB_ID],
                      uint64_t offset, void *into, size_t size, struct error *error)
{
    const struct up *up = find(self, id);
    if (!up)
        return error_set_kind(error, ERROR_NOT_FOUND, "there is no such snapshot");
    if (offset > up->bytes.size || size > up->bytes.size - offset)
        return error_set_kind(error, ERROR_INPUT, "a range beyond a snapshot's end");
    memcpy(into, up->bytes.data + offset, size);
    return true;
}

uint64_t checkpoints_size(const struct checkpoints *self, const uint8_t id[BLOB_ID])
{
    const struct up *up = find(self, id);
    return up ? up->bytes.size : 0;
}

void checkpoints_want(struct checkpoints *self, uint64_t epoch, uint64_t counter,
                      const uint8_t blob[BLOB_ID], uint64_t size)
{
    self->down = grown(self->down, self->downs, &self->down_room, sizeof *self->down);
    struct down *down = &self->down[self->downs++];
    *down = (struct down){.epoch = epoch, .counter = counter, .size = size};
    memcpy(down->blob, blob, BLOB_ID);
}

static void fail(struct checkpoints *self, const char *why)
{
    self->failed = true;
    error_set_kind(&self->why, ERROR_INPUT, "%s", why);
}

static uint32_t next_length(const struct checkpoints *self)
{
    uint64_t left = self->down[0].size - self->bytes.size;
    return left < TRANSFER_FRAME ? (uint32_t)left : TRANSFER_FRAME;
}

static void take_range(struct checkpoints *self, const struct message *message)
{
    const Farm__Chunk *chunk = message->envelope->chunk;
    size_t size = message->payload ? zframe_size(message->payload) : 0;
    bool wanted = self->downs && message->envelope->request == self->request &&
                  self->asked_ms && wire_is(chunk->blob, self->down[0].blob, BLOB_ID) &&
                  chunk->offset == self->bytes.size && size == next_length(self);
    if (!wanted)
        return;
    if (!buffer_append(&self->bytes, zframe_data(message->payload), size, NULL))
        fail(self, "no memory for it");
    self->asked_ms = 0;
    self->asked = 0;
}

bool checkpoints_chunk(struct checkpoints *self, const struct message *message)
{
    if (message->envelope->request < REQUESTS)
        return false;
    if (self->direct)
        take_range(self, message);
    return true;
}

/* From the beginning, by the coordinator alone. */
static void ask_the_farm(struct checkpoints *self)
{
    link_close(&self->peer);
    self->direct = true;
    self->bytes.size = 0;
    self->asked_ms = 0;
    self->asked = 0;
}

void checkpoints_peers(struct checkpoints *self, const Farm__Peers *list)
{
    if (!self->downs || self->direct || self->peer ||
        !wire_is(list->model, self->down[0].blob, BLOB_ID))
        return;
    if (!list->n_sources) {
        if (list->seeds.len && list->seeds.data[0] & 1)
            ask_the_farm(self);
        return;
    }
    const Farm__Source *source = list->sources[0];
    char *address = wire_string(source->address);
    struct link_options options = {
        .address = address,
        .server_key = source->key.data,
        .own = self->own,
        .limit = WIRE_BULK_LIMIT,
        .send_high_water = HIGH_WATER,
    };
    self->peer = link_open(&options, NULL);
    memcpy(self->peer_key, source->key.data, KEY_SIZE);
    free(address);
    if (!self->peer)
        ask_the_farm(self);
}

/* What the other worker says. */
static void step_peer(struct checkpoints *self, int64_t now)
{
    struct message message = {0};
    enum link_event event;
    struct error trouble;
    while (self->peer && (event = link_step(self->peer, now, &message))) {
        bool refused = event == LINK_MESSAGE &&
                       message.envelope->body_case == FARM__ENVELOPE__BODY_REFUSED;
        if (refused)
            ask_the_farm(self);
        else if (event == LINK_MESSAGE &&
                 message.envelope->body_case == FARM__ENVELOPE__BODY_CHUNK)
            take_range(self, &message);
        else if (event != LINK_MESSAGE)
            self->asked_ms = 0;
        message_clear(&message);
    }
    bool late = self->peer && !link_is_up(self->peer) &&
                now - self->began_ms > GRANT_MS + PEER_MS;
    if (self->peer && (late || link_trouble(self->peer, &trouble) ||
                       (self->asked_ms && now - self->asked_ms > PEER_MS)))
        ask_the_farm(self);
}

bool checkpoints_is_fetching(const struct checkpoints *self)
{
    return self->downs > 0;
}

size_t checkpoints_poll(struct checkpoints *self, zmq_pollitem_t items[2])
{
    if (!self->peer)
        return 0;
    items[0] =
        (zmq_pollitem_t){zsock_resolve(link_socket(self->peer)), 0, ZMQ_POLLIN, 0};
    items[1] =
        (zmq_pollitem_t){zsock_resolve(link_monitor(self->peer)), 0, ZMQ_POLLIN, 0};
    return 2;
}

bool checkpoints_refused(struct checkpoints *self, const Farm__Envelope *envelope)
{
    if (envelope->request < REQUESTS)
        return false;
    if (self->downs && envelope->request == self->request) {
        char *text = wire_string(envelope->refused->text);
        fail(self, text);
        free(text);
    }
    return true;
}

void checkpoints_restart(struct checkpoints *self)
{
    for (size_t i = 0; i < self->ups; i++) {
        self->up[i].file.stored = self->up[i].told = false;
        self->up[i].file.offered_ms = 0;
    }
    if (self->direct)
        self->asked_ms = 0;
    self->next_have = 0;
}

static void ask(struct checkpoints *self, struct link *link, int64_t now)
{
    Farm__Want want = FARM__WANT__INIT;
    want.blob = wire_bytes(self->down[0].blob, BLOB_ID);
    want.offset = self->bytes.size;
    want.length = next_length(self);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = self->request;
    envelope.body_case = FARM__ENVELOPE__BODY_WANT;
    envelope.want = &want;
    if (self->asked == ASKED_MOST)
        fail(self, "it does not come");
    else if (link_send(link, &envelope, NULL, 0, NULL)) {
        self->asked_ms = now;
        self->asked++;
    }
}

/* The first of those wanted is here, or will not be. */
static void report(struct checkpoints *self, struct io_event *news)
{
    const struct down *down = &self->down[0];
    *news = (struct io_event){.kind = self->failed ? IO_NO_CHECKPOINT : IO_CHECKPOINT,
                              .epoch = down->epoch,
                              .counter = down->counter,
                              .error = self->why};
    if (!self->failed) {
        news->bits = self->bytes;
        self->bytes = (struct buffer){0};
    }
    buffer_clear(&self->bytes);
    memmove(self->down, self->down + 1, --self->downs * sizeof *self->down);
    link_close(&self->peer);
    self->request++;
    self->direct = false;
    self->began_ms = self->next_have = 0;
    self->asked_ms = 0;
    self->asked = 0;
    self->failed = false;
    self->why = (struct error){0};
}

/* One that is there stays here for others; those of its attempt before it, and the oldest
 * of all beyond HERE_MOST, go. */
static void drop_older(struct checkpoints *self, size_t newest)
{
    size_t here = 0;
    for (size_t i = self->ups; i-- > 0;) {
        const struct up *up = &self->up[i], *than = &self->up[newest];
        bool older =
            i < newest && up->epoch == than->epoch && up->counter == than->counter;
        here += up->told ? up->bytes.size : 0;
        if (!older && (!up->told || i == newest || here <= HERE_MOST))
            continue;
        up_remove(self, i);
        newest -= i < newest;
    }
}

/* Who has it, and whom may this one ask? */
static bool ask_who(struct checkpoints *self, int64_t now, struct io_event *news)
{
    if (!self->bad &&
        (!self->own || self->direct || self->peer || now < self->next_have))
        return false;
    self->next_have = now + HAVE_MS;
    *news = (struct io_event){.kind = IO_HAVE, .fetching = !self->bad};
    memcpy(news->model, self->down[0].blob, BLOB_ID);
    news->bads = self->bad;
    memcpy(news->bad[0], self->peer_key, KEY_SIZE);
    self->bad = false;
    return buffer_append(&news->bits, "", 1, NULL); /* one piece, not here */
}

/* All of it came: true when it is to be reported. */
static bool is_whole(struct checkpoints *self)
{
    uint8_t id[BLOB_ID];
    blob_id(self->bytes.data, self->bytes.size, id);
    if (memcmp(id, self->down[0].blob, BLOB_ID) == 0)
        return true;
    if (self->direct) {
        fail(self, "what came is not what its name says");
        return true;
    }
    self->bad = true;
    ask_the_farm(self);
    return false;
}

static bool report_stored(struct checkpoints *self, struct io_event *news)
{
    for (size_t i = 0; i < self->ups; i++) {
        const struct up *up = &self->up[i];
        if (!up->file.stored || up->told)
            continue;
        *news = (struct io_event){.kind = IO_CHECKPOINTED,
                                  .epoch = up->epoch,
                                  .counter = up->counter,
                                  .step = up->step,
                                  .size = up->file.size};
        memcpy(news->blob, up->file.id, BLOB_ID);
        self->up[i].told = true;
        drop_older(self, i);
        return true;
    }
    return false;
}

bool checkpoints_next(struct checkpoints *self, struct link *link, int64_t now_ms,
                      struct io_event *news)
{
    if (report_stored(self, news))
        return true;
    if (!self->downs)
        return false;
    if (!self->began_ms)
        self->began_ms = now_ms;
    if (!self->own || (!self->peer && now_ms - self->began_ms >= GRANT_MS))
        self->direct = true;
    step_peer(self, now_ms);
    uint64_t size = self->down[0].size;
    if (self->failed || (self->bytes.size == size && is_whole(self))) {
        report(self, news);
        return true;
    }
    bool due = !self->asked_ms || now_ms - self->asked_ms >= SILENCE_MS;
    struct link *from = self->direct ? link : self->peer;
    if (from && due && (self->direct || link_is_up(from)))
        ask(self, from, now_ms);
    return ask_who(self, now_ms, news);
}
