/* Messages that wait until what caused them is durable.
 *
 * What handlers send in one turn of the loop is staged; the turn's end stamps it with the
 * number of the last change handed to the store; it goes out when that one is durable, in
 * the order in which it was sent. Nothing is ever told that a crash could take back, but for
 * what rests on nothing else the turn decided: that names the change it needs, and goes
 * ahead of what waits.
 */
#ifndef FARM_OUTBOX_H
#define FARM_OUTBOX_H

#include "coordinator/registry.h"

struct outbox;

struct outbox *outbox_new(void);
void outbox_destroy(struct outbox **self);

/* Stages a copy of the envelope for the peer. */
void outbox_push(struct outbox *self, const uint8_t peer[PEER_ID],
                 const Farm__Envelope *envelope);

/* The same for what needs no later change than `after` to be durable: it goes out ahead of
 * what waits for others. Its sender wants to know how long it took since `since_us`. */
void outbox_push_ahead(struct outbox *self, const uint8_t peer[PEER_ID],
                       const Farm__Envelope *envelope, uint64_t after,
                       int64_t since_us);

/* Ends a turn: what was staged waits for that change, or for the one it named. */
void outbox_stamp(struct outbox *self, uint64_t change);

/* Drops what waits for the peer. */
void outbox_forget(struct outbox *self, const uint8_t peer[PEER_ID]);

/* Hands out what waited for changes up to `durable`; `since_us` is 0 for what is not
 * timed. */
typedef void(outbox_send_fn)(void *context, const uint8_t peer[PEER_ID],
                             const uint8_t *packed, size_t size, int64_t since_us);
void outbox_release(struct outbox *self, uint64_t durable, outbox_send_fn *send,
                    void *context);

#endif
