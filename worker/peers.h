/* Other workers that give pieces of the model being fetched: a link to each.
 *
 * Who they are and what they have the coordinator says (Peers). One that sends a wrong
 * piece is left and not spoken to again; one that fails or falls silent, not for a while.
 */
#ifndef FARM_PEERS_H
#define FARM_PEERS_H

#include "proto/link.h"
#include "worker/gather.h"
#include "worker/patience.h"
#include "worker/pieces.h"

enum { PEERS_MOST = GATHER_SOURCES - 1, PEERS_ITEMS = 2 * PEERS_MOST };

struct peers;

/* Borrows both. */
struct peers *peers_new(const struct keypair *own, struct pieces *pieces);
void peers_destroy(struct peers **self);

/* The present list: links to new ones are opened, to those gone closed. */
void peers_list(struct peers *self, const Farm__Peers *list,
                const struct patience *like, int64_t now_ms);

/* The fetch ended: all links are closed. */
void peers_clear(struct peers *self);

/* Takes what came and asks for more. *pieces: how many became whole. False when the disk is
 * full. */
bool peers_step(struct peers *self, int64_t now_ms, size_t *pieces,
                struct error *error);

/* Ranges asked for and not answered, over all of them. */
size_t peers_outstanding(const struct peers *self);

/* Keys that sent wrong pieces since the last call, at most PEERS_MOST. */
size_t peers_take_bad(struct peers *self, uint8_t bad[PEERS_MOST][KEY_SIZE]);

/* What a poller waits for; gives their number. */
size_t peers_poll(struct peers *self, zmq_pollitem_t items[PEERS_ITEMS]);

/* What the poll found on those items: only links with something on them are looked at. */
void peers_polled(struct peers *self, const zmq_pollitem_t *items);

#endif
