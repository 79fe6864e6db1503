#include "coordinator/outbox.h"

#include <stdlib.h>
#include <string.h>

struct letter {
    uint8_t peer[PEER_ID];
    bool forgotten;
    int64_t since_us;
    uint64_t change;
    size_t size;
    STAILQ_ENTRY(letter) next;
    uint8_t packed[];
};
STAILQ_HEAD(letters, letter);

struct outbox {
    struct letters staged, waiting;
    struct letters fresh, ahead; /* the same of what goes ahead */
};

struct outbox *outbox_new(void)
{
    struct outbox *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    STAILQ_INIT(&self->staged);
    STAILQ_INIT(&self->waiting);
    STAILQ_INIT(&self->fresh);
    STAILQ_INIT(&self->ahead);
    return self;
}

static void drop_all(struct letters *letters)
{
    struct letter *letter;
    while ((letter = STAILQ_FIRST(letters))) {
        STAILQ_REMOVE_HEAD(letters, next);
        free(letter);
    }
}

void outbox_destroy(struct outbox **self)
{
    if (!*self)
        return;
    drop_all(&(*self)->staged);
    drop_all(&(*self)->waiting);
    drop_all(&(*self)->fresh);
    drop_all(&(*self)->ahead);
    free(*self);
    *self = NULL;
}

static struct letter *letter_new(const uint8_t peer[PEER_ID],
                                 const Farm__Envelope *envelope)
{
    size_t size = farm__envelope__get_packed_size(envelope);
    struct letter *letter = malloc(sizeof *letter + size);
    if (!letter)
        abort();
    memcpy(letter->peer, peer, PEER_ID);
    letter->forgotten = false;
    letter->change = 0;
    letter->since_us = 0;
    letter->size = size;
    farm__envelope__pack(envelope, letter->packed);
    return letter;
}

void outbox_push(struct outbox *self, const uint8_t peer[PEER_ID],
                 const Farm__Envelope *envelope)
{
    struct letter *letter = letter_new(peer, envelope);
    STAILQ_INSERT_TAIL(&self->staged, letter, next);
}

void outbox_push_ahead(struct outbox *self, const uint8_t peer[PEER_ID],
                       const Farm__Envelope *envelope, uint64_t after, int64_t since_us)
{
    struct letter *letter = letter_new(peer, envelope);
    letter->change = after;
    letter->since_us = since_us;
    STAILQ_INSERT_TAIL(&self->fresh, letter, next);
}

void outbox_stamp(struct outbox *self, uint64_t change)
{
    struct letter *letter;
    for (letter = STAILQ_FIRST(&self->staged); letter;
         letter = STAILQ_NEXT(letter, next)) {
        letter->change = change;
    }
    STAILQ_CONCAT(&self->waiting, &self->staged);
    STAILQ_CONCAT(&self->ahead, &self->fresh);
}

static void forget_in(struct letters *letters, const uint8_t peer[PEER_ID])
{
    struct letter *letter;
    for (letter = STAILQ_FIRST(letters); letter; letter = STAILQ_NEXT(letter, next)) {
        if (memcmp(letter->peer, peer, PEER_ID) == 0)
            letter->forgotten = true;
    }
}

void outbox_forget(struct outbox *self, const uint8_t peer[PEER_ID])
{
    forget_in(&self->staged, peer);
    forget_in(&self->waiting, peer);
    forget_in(&self->fresh, peer);
    forget_in(&self->ahead, peer);
}

/* Sending may find that a peer is gone, which marks what is left for it. */
static void release_ahead(struct outbox *self, uint64_t durable, outbox_send_fn *send,
                          void *context)
{
    struct letter *letter;
    struct letters later = STAILQ_HEAD_INITIALIZER(later);
    for (letter = STAILQ_FIRST(&self->ahead); letter;
         letter = STAILQ_NEXT(letter, next)) {
        if (letter->change > durable || letter->forgotten)
            continue;
        letter->forgotten = true;
        send(context, letter->peer, letter->packed, letter->size, letter->since_us);
    }
    while ((letter = STAILQ_FIRST(&self->ahead))) {
        STAILQ_REMOVE_HEAD(&self->ahead, next);
        if (letter->forgotten)
            free(letter);
        else
            STAILQ_INSERT_TAIL(&later, letter, next);
    }
    STAILQ_CONCAT(&self->ahead, &later);
}

void outbox_release(struct outbox *self, uint64_t durable, outbox_send_fn *send,
                    void *context)
{
    struct letter *letter;
    release_ahead(self, durable, send, context);
    while ((letter = STAILQ_FIRST(&self->waiting)) && letter->change <= durable) {
        STAILQ_REMOVE_HEAD(&self->waiting, next);
        if (!letter->forgotten)
            send(context, letter->peer, letter->packed, letter->size, letter->since_us);
        free(letter);
    }
}
