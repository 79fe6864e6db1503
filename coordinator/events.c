#include "coordinator/events.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/table.h"
#include "proto/wire.h"

struct entry {
    uint8_t job[16], owner[32];
    uint8_t *packed; /* Farm__Event with seq 0 */
    size_t size;
};

struct watch {
    uint8_t peer[PEER_ID];
    uint64_t request;
    bool all, owned;
    uint8_t job[16], owner[32];
    uint32_t credit;
    bool shown;        /* it wants previews */
    uint32_t previews; /* that may still be sent */
    uint64_t preview;  /* number of the last one looked at */
    uint64_t position; /* of the next entry to look at */
    uint64_t seq;      /* of the last event sent */
    bool lost;
};

struct events {
    events_send_fn *send;
    events_snapshot_fn *snapshot;
    void *context;
    struct entry ring[EVENTS_RING]; /* entry e lies at e % EVENTS_RING */
    uint64_t next;                  /* number of the next entry */
    struct previews previews;
    zhashx_t *watches; /* peer -> struct watch */
};

struct events *events_new(events_send_fn *send, events_snapshot_fn *snapshot,
                          void *context)
{
    struct events *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->send = send;
    self->snapshot = snapshot;
    self->context = context;
    self->watches = table_new(PEER_ID);
    return self;
}

void events_destroy(struct events **self)
{
    if (!*self)
        return;
    for (void *w = zhashx_first((*self)->watches); w; w = zhashx_next((*self)->watches))
        free(w);
    zhashx_destroy(&(*self)->watches);
    previews_clear(&(*self)->previews);
    for (size_t e = 0; e < EVENTS_RING; e++)
        free((*self)->ring[e].packed);
    free(*self);
    *self = NULL;
}

static void send_snapshot(struct events *self, struct watch *watch)
{
    watch->position = self->next;
    watch->lost = false;
    self->snapshot(self->context, watch->peer, watch->request, watch->seq,
                   watch->all ? NULL : watch->job, watch->owned ? watch->owner : NULL);
}

void events_watch(struct events *self, const uint8_t peer[PEER_ID], uint64_t request,
                  const uint8_t *job, const uint8_t *owner, uint32_t credit)
{
    events_unwatch(self, peer);
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        abort();
    memcpy(watch->peer, peer, PEER_ID);
    watch->request = request;
    watch->all = !job;
    watch->owned = owner != NULL;
    if (job)
        memcpy(watch->job, job, sizeof watch->job);
    if (owner)
        memcpy(watch->owner, owner, sizeof watch->owner);
    watch->credit = credit;
    zhashx_insert(self->watches, watch->peer, watch);
    send_snapshot(self, watch);
}

void events_unwatch(struct events *self, const uint8_t peer[PEER_ID])
{
    struct watch *watch = zhashx_lookup(self->watches, peer);
    if (watch)
        zhashx_delete(self->watches, peer);
    free(watch);
}

bool events_watched(const struct events *self)
{
    return zhashx_size(self->watches) > 0;
}

void events_stalled(struct events *self, const uint8_t peer[PEER_ID])
{
    struct watch *watch = zhashx_lookup(self->watches, peer);
    if (!watch)
        return;
    watch->lost = true;
    watch->credit = watch->previews = 0;
}

void events_push(struct events *self, const Farm__Event *event, const uint8_t job[16],
                 const uint8_t owner[32])
{
    struct entry *entry = &self->ring[self->next++ % EVENTS_RING];
    free(entry->packed);
    entry->packed = wire_pack(&event->base, &entry->size);
    memcpy(entry->job, job, sizeof entry->job);
    memcpy(entry->owner, owner, sizeof entry->owner);
}

static bool concerns(const struct watch *watch, const uint8_t job[16],
                     const uint8_t owner[32])
{
    return (watch->all || memcmp(watch->job, job, sizeof watch->job) == 0) &&
           (!watch->owned || memcmp(watch->owner, owner, sizeof watch->owner) == 0);
}

static void send_one(struct events *self, const struct watch *watch, Farm__Event *event)
{
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = watch->request;
    envelope.body_case = FARM__ENVELOPE__BODY_EVENT;
    envelope.event = event;
    self->send(self->context, watch->peer, &envelope);
}

static void send_event(struct events *self, struct watch *watch, Farm__Event *event)
{
    watch->credit--;
    send_one(self, watch, event);
}

static void deliver_previews(struct events *self, struct watch *watch)
{
    const struct preview *preview;
    while (watch->previews && !watch->lost &&
           (preview = previews_after(&self->previews, watch->preview))) {
        watch->preview = preview->number;
        if (!concerns(watch, preview->job, preview->owner))
            continue;
        watch->previews--;
        send_one(self, watch, preview->event);
    }
}

/* Says how much is missing (at most: not all of it need have concerned the watch). */
static void send_lost(struct events *self, struct watch *watch)
{
    uint64_t missed = self->next - watch->position;
    Farm__Lost lost = FARM__LOST__INIT;
    lost.from = watch->seq + 1;
    lost.to = watch->seq + (missed ? missed : 1);
    watch->seq = lost.to;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = watch->request;
    envelope.body_case = FARM__ENVELOPE__BODY_LOST;
    envelope.lost = &lost;
    self->send(self->context, watch->peer, &envelope);
    send_snapshot(self, watch);
}

static void deliver(struct events *self, struct watch *watch)
{
    if (watch->credit && (watch->lost || self->next - watch->position > EVENTS_RING))
        send_lost(self, watch);
    for (; watch->credit && watch->position < self->next; watch->position++) {
        const struct entry *entry = &self->ring[watch->position % EVENTS_RING];
        if (!concerns(watch, entry->job, entry->owner))
            continue;
        Farm__Event *event = farm__event__unpack(NULL, entry->size, entry->packed);
        if (!event)
            abort();
        event->seq = ++watch->seq;
        send_event(self, watch, event);
        farm__event__free_unpacked(event, NULL);
    }
    deliver_previews(self, watch);
}

void events_previews(struct events *self, const uint8_t peer[PEER_ID], uint32_t more)
{
    struct watch *watch = zhashx_lookup(self->watches, peer);
    if (!watch || !more)
        return;
    uint32_t room = EVENTS_PREVIEWS - watch->previews;
    watch->shown = true;
    watch->previews += more < room ? more : room;
    deliver_previews(self, watch);
}

bool events_want_previews(const struct events *self, const uint8_t job[16],
                          const uint8_t owner[32])
{
    for (const struct watch *w = zhashx_first(self->watches); w;
         w = zhashx_next(self->watches))
        if (w->shown && concerns(w, job, owner))
            return true;
    return false;
}

void events_preview(struct events *self, const Farm__Event *event,
                    const uint8_t owner[32], int64_t now)
{
    previews_put(&self->previews, event, owner, now);
}

void events_credit(struct events *self, const uint8_t peer[PEER_ID], uint32_t more)
{
    struct watch *watch = zhashx_lookup(self->watches, peer);
    if (!watch)
        return;
    watch->credit =
        more > UINT32_MAX - watch->credit ? UINT32_MAX : watch->credit + more;
    deliver(self, watch);
}

void events_deliver(struct events *self)
{
    for (struct watch *w = zhashx_first(self->watches); w;
         w = zhashx_next(self->watches))
        deliver(self, w);
}

void events_node(struct events *self, const struct node *node, events_node_fn *show,
                 void (*clear)(Farm__Node *))
{
    for (struct watch *w = zhashx_first(self->watches); w;
         w = zhashx_next(self->watches)) {
        Farm__Node message = FARM__NODE__INIT;
        if (!w->credit || w->lost)
            continue;
        if (show(self->context, node, w->all ? NULL : w->job, &message)) {
            Farm__Event event = FARM__EVENT__INIT;
            event.node = &message;
            send_event(self, w, &event);
        }
        clear(&message);
    }
}
