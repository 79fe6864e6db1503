/* What workers have between them, and to the depot: lines of so many bytes a second each way,
 * ranges that wait their turn on them, and a made-up gate. The functions stand in place of
 * link.c's and gate.c's, which peers.c, download.c and serve.c call.
 *
 * A link breaks with the process at its other end; what was queued for it is gone, and the end
 * that asks hears so, but for machines that vanish without a word. */
#include <stdlib.h>
#include <string.h>

#include "proto/files/transfer.h"
#include "proto/gate.h"
#include "proto/link.h"
#include "tests/sim/spread.h"

enum { LATENCY_MS = 5, QUEUE_MOST = 2 * TRANSFER_WINDOW };

/* A message on its way: an envelope, packed, and what it carries. */
struct parcel {
    size_t size, payload;
    uint8_t bytes[];
};

struct link {
    uint32_t number, from, to;
    bool closed;
    bool reopened;   /* the depot's end was gone in between: to be told */
    unsigned coming; /* ranges that were sent and did not arrive */
    uint64_t life;   /* of the worker at the other end */
    zlistx_t *inbox; /* struct parcel: to the one who opened it */
};

/* Where an end of a link is: a worker, or the depot. */
struct place {
    int64_t up_us, down_us; /* when its line is free again */
    bool busy;              /* a range is on its line */
    zlistx_t *inbox;        /* struct asked: Wants to who serves there */
    zlistx_t *outbox;       /* struct asked: ranges that wait for its line */
};

struct asked {
    uint32_t link;
    struct parcel *parcel;
};

static struct link **links;
static uint32_t count;
static struct place place[WORKERS_MOST + 1];
static zsock_t *nothing; /* what a poller is given */

struct link *__wrap_link_open(const struct link_options *options, struct error *error);
void __wrap_link_close(struct link **self);
zsock_t *__wrap_link_socket(struct link *self);
zsock_t *__wrap_link_monitor(struct link *self);
enum link_event __wrap_link_step(struct link *self, int64_t now_ms,
                                 struct message *into);
bool __wrap_link_send(struct link *self, const Farm__Envelope *envelope,
                      const void *payload, size_t size, struct error *error);
bool __wrap_link_trouble(const struct link *self, struct error *error);
struct gate *__wrap_gate_new(const uint8_t (*keys)[GATE_KEY], size_t count,
                             struct error *error);
void __wrap_gate_destroy(struct gate **self);
void __wrap_gate_admit(struct gate *self, const uint8_t key[GATE_KEY]);
void __wrap_gate_forget(struct gate *self, const uint8_t key[GATE_KEY]);
bool __wrap_gate_guard(zsock_t *socket, const struct keypair *server, size_t limit,
                       struct error *error);

static struct parcel *parcel_new(const Farm__Envelope *envelope, const void *payload,
                                 size_t payload_size)
{
    size_t size;
    uint8_t *packed = wire_pack(&envelope->base, &size);
    struct parcel *self = malloc(sizeof *self + size + payload_size);
    if (!self)
        abort();
    self->size = size;
    self->payload = payload_size;
    memcpy(self->bytes, packed, size);
    if (payload_size)
        memcpy(self->bytes + size, payload, payload_size);
    free(packed);
    return self;
}

static void open_parcel(struct parcel *self, struct message *into)
{
    struct error error = {0};
    *into = (struct message){.envelope = wire_unpack(self->bytes, self->size, &error)};
    if (!into->envelope)
        broken("a worker sent what is no message: %s", error.text);
    if (self->payload)
        into->payload = zframe_new(self->bytes + self->size, self->payload);
    free(self);
}

/* ---- lines */

static void put(zlistx_t **list, uint32_t link, struct parcel *parcel)
{
    struct asked *asked = malloc(sizeof *asked);
    *list = *list ? *list : zlistx_new();
    if (!asked || !*list)
        abort();
    *asked = (struct asked){link, parcel};
    zlistx_add_end(*list, asked);
}

/* The next that waits, but for what links that are closed wait for; its parcel: the
 * caller's. */
static struct parcel *take_next(zlistx_t *list, uint32_t *number)
{
    struct asked *asked;
    while (list && (asked = zlistx_detach(list, NULL))) {
        struct parcel *parcel = asked->parcel;
        *number = asked->link;
        free(asked);
        if (!links[*number]->closed)
            return parcel;
        free(parcel);
    }
    return NULL;
}

/* A line begins to carry what waits for it longest, behind what the other end gets already.
 * Its own end counts in microseconds: events do in milliseconds. */
static void go_on(uint32_t from)
{
    struct place *one = &place[from];
    uint32_t number;
    struct parcel *parcel = take_next(one->outbox, &number);
    one->busy = parcel != NULL;
    if (!parcel)
        return;
    struct place *other = &place[links[number]->from];
    size_t size = parcel->size + parcel->payload;
    int64_t takes = (int64_t)((double)size * 1e6 / world->plan.line);
    int64_t now = world->now * 1000;
    int64_t begins = now - one->up_us < 1000 ? one->up_us : now;
    one->up_us = begins + takes;
    other->down_us = (other->down_us > begins ? other->down_us : begins) + takes;
    if (from == WORKERS_MOST)
        world->depot_sent += parcel->payload;
    happen_with(other->down_us / 1000 + LATENCY_MS, EVENT_RANGE, number,
                (uint8_t *)parcel, sizeof *parcel);
    happen((one->up_us + 999) / 1000 - world->now, EVENT_LINE, from, 0);
}

void links_line(const struct event *event)
{
    go_on(event->who);
}

static void send_back(struct link *self, const Farm__Envelope *envelope,
                      const void *payload, size_t size)
{
    self->coming++;
    put(&place[self->to].outbox, self->number, parcel_new(envelope, payload, size));
    if (!place[self->to].busy)
        go_on(self->to);
}

/* ---- the end that asks */

struct link *__wrap_link_open(const struct link_options *how, struct error *error)
{
    (void)error;
    const char *colon = strrchr(how->address, ':');
    struct link *self = calloc(1, sizeof *self);
    links = realloc(links, (count + 1) * sizeof(struct link *));
    if (!self || !links || !colon)
        abort();
    self->number = count;
    memcpy(&self->from, how->own->public_key + 1, sizeof self->from);
    self->to = (uint32_t)strtoul(colon + 1, NULL, 10) - SPREAD_PORT;
    self->life = self->to < WORKERS_MOST ? world->worker[self->to].life : 0;
    self->inbox = zlistx_new();
    links[count++] = self;
    return self;
}

void __wrap_link_close(struct link **self)
{
    if (*self)
        (*self)->closed = true;
    *self = NULL;
}

zsock_t *__wrap_link_socket(struct link *self)
{
    (void)self;
    return nothing = nothing ? nothing : zsock_new(ZMQ_PAIR);
}

zsock_t *__wrap_link_monitor(struct link *self)
{
    return __wrap_link_socket(self);
}

enum link_event __wrap_link_step(struct link *self, int64_t now_ms,
                                 struct message *into)
{
    (void)now_ms;
    *into = (struct message){0};
    if (self->reopened) {
        self->reopened = false;
        return LINK_REOPENED;
    }
    struct parcel *parcel = zlistx_detach(self->inbox, NULL);
    if (parcel)
        open_parcel(parcel, into);
    return parcel ? LINK_MESSAGE : LINK_NOTHING;
}

bool __wrap_link_send(struct link *self, const Farm__Envelope *envelope,
                      const void *payload, size_t size, struct error *error)
{
    (void)error;
    struct parcel *parcel = parcel_new(envelope, payload, size);
    happen_with(world->now + LATENCY_MS, EVENT_WANT, self->number, (uint8_t *)parcel,
                sizeof *parcel);
    return true;
}

bool __wrap_link_trouble(const struct link *self, struct error *error)
{
    const struct worker *worker = &world->worker[self->to % WORKERS_MOST];
    bool lost = self->to < WORKERS_MOST && worker->life != self->life &&
                (worker->alive || !worker->vanished);
    return lost && !error_set_kind(error, ERROR_UNREACHABLE, "the connection was lost");
}

/* ---- the end that gives */

void links_want(struct event *event)
{
    struct link *link = links[event->who];
    struct parcel *parcel = (struct parcel *)(void *)event->data;
    event->data = NULL;
    if (link->to < world->plan.workers) {
        if (world->worker[link->to].life == link->life)
            put(&place[link->to].inbox, link->number, parcel);
        else
            free(parcel);
        spread_turn(link->to);
        return;
    }
    struct message message;
    uint8_t range[TRANSFER_FRAME];
    open_parcel(parcel, &message);
    const Farm__Want *want = message.envelope->want;
    if (world->coordinator && !link->closed && want->length <= sizeof range &&
        spread_truth(want->blob.data, want->offset, range, want->length)) {
        Farm__Chunk chunk = FARM__CHUNK__INIT;
        chunk.blob = want->blob;
        chunk.offset = want->offset;
        Farm__Envelope envelope = FARM__ENVELOPE__INIT;
        envelope.body_case = FARM__ENVELOPE__BODY_CHUNK;
        envelope.chunk = &chunk;
        send_back(link, &envelope, range, want->length);
    }
    message_clear(&message);
}

void links_range(struct event *event)
{
    struct link *link = links[event->who];
    link->coming--;
    if (!link->closed) {
        zlistx_add_end(link->inbox, event->data);
        event->data = NULL;
        spread_turn(link->from);
    }
}

bool links_receive(uint32_t worker, struct message *into)
{
    uint32_t number;
    struct parcel *parcel = take_next(place[worker].inbox, &number);
    if (!parcel)
        return false;
    uint8_t peer[PEER_ID] = {0};
    memcpy(peer + 1, &number, sizeof number);
    open_parcel(parcel, into);
    into->peer = zframe_new(peer, PEER_ID);
    memcpy(into->key, world->worker[links[number]->from].key, 32);
    return true;
}

bool links_answer(uint32_t worker, zframe_t *peer, const Farm__Envelope *envelope,
                  const void *payload, size_t size, struct error *error)
{
    uint32_t number;
    memcpy(&number, zframe_data(peer) + 1, sizeof number);
    struct link *link = links[number];
    if (link->closed)
        return error_set_kind(error, ERROR_UNREACHABLE, "it hung up");
    if (link->coming >= QUEUE_MOST)
        return error_set_kind(error, ERROR_BUSY, "its queue is full");
    uint8_t range[TRANSFER_FRAME];
    if (envelope->body_case == FARM__ENVELOPE__BODY_CHUNK) {
        memcpy(range, payload, size);
        spread_gives(worker, link->from, envelope->chunk, range, size);
        payload = range;
    }
    send_back(link, envelope, payload, size);
    return true;
}

/* ---- the gate lets everybody in: each range is looked at alone */

struct gate *__wrap_gate_new(const uint8_t (*keys)[GATE_KEY], size_t size,
                             struct error *error)
{
    (void)keys;
    (void)size;
    (void)error;
    return (struct gate *)(void *)place;
}

void __wrap_gate_destroy(struct gate **self)
{
    *self = NULL;
}

void __wrap_gate_admit(struct gate *self, const uint8_t key[GATE_KEY])
{
    (void)self;
    (void)key;
}

void __wrap_gate_forget(struct gate *self, const uint8_t key[GATE_KEY])
{
    (void)self;
    (void)key;
}

bool __wrap_gate_guard(zsock_t *socket, const struct keypair *server, size_t limit,
                       struct error *error)
{
    (void)socket;
    (void)server;
    (void)limit;
    (void)error;
    return true;
}

static void drop_all(zlistx_t *list)
{
    struct asked *asked;
    while (list && (asked = zlistx_detach(list, NULL))) {
        free(asked->parcel);
        free(asked);
    }
}

void links_drop(uint32_t worker)
{
    drop_all(place[worker].inbox);
    drop_all(place[worker].outbox);
}

void links_lose_depot(void)
{
    links_drop(WORKERS_MOST);
    for (uint32_t l = 0; l < count; l++)
        if (links[l]->to == WORKERS_MOST)
            links[l]->reopened = true;
}

void links_clear(void)
{
    for (uint32_t w = 0; w <= WORKERS_MOST; w++) {
        links_drop(w);
        zlistx_destroy(&place[w].inbox);
        zlistx_destroy(&place[w].outbox);
        place[w] = (struct place){0};
    }
    for (uint32_t l = 0; l < count; l++) {
        for (void *p = zlistx_detach(links[l]->inbox, NULL); p;
             p = zlistx_detach(links[l]->inbox, NULL))
            free(p);
        zlistx_destroy(&links[l]->inbox);
        free(links[l]);
    }
    free(links);
    links = NULL;
    count = 0;
    zsock_destroy(&nothing);
}
