/* A model that all workers of a farm want, and give each other: the real fetching and serving
 * of worker/ over made-up lines (links.c), its files in a folder of their own. */
#ifndef FARM_SPREAD_H
#define FARM_SPREAD_H

#include "tests/sim/world.h"

enum {
    SPREAD_PORT = 1000
}; /* worker n serves at the port that is n higher; the depot
                                at that of WORKERS_MOST */

/* spread.c: the model's row; a worker's process begins, ends, greeted; a message from the
 * coordinator: true when it was about this; its loop, again soon. */
void spread_furnish(struct change *change);
void spread_start(uint32_t worker);
void spread_stop(uint32_t worker);
void spread_greeted(uint32_t worker);
bool spread_hears(uint32_t worker, const Farm__Envelope *envelope);
void spread_turn(uint32_t worker);
void spread_close(void);

/* Misfortunes: somebody asks without a grant; somebody's grants are taken back. */
void spread_lie(uint32_t worker, uint32_t of);
void spread_revoke(uint32_t worker);

/* Whether every worker that is there has the model. */
bool spread_ended(void);

/* The range as it must be; false when there is none. */
bool spread_truth(const uint8_t blob[32], uint64_t offset, void *into, size_t size);

/* A worker gives another a range: promises are checked, a poisoner's bytes changed. */
void spread_gives(uint32_t from, uint32_t to, const Farm__Chunk *chunk, uint8_t *range,
                  size_t size);

/* The worker that serves on the socket; WORKERS_MOST: none. */
uint32_t spread_server(const zsock_t *socket);

/* links.c */
void links_want(struct event *event);
void links_range(struct event *event);
bool links_receive(uint32_t worker, struct message *into);
bool links_answer(uint32_t worker, zframe_t *peer, const Farm__Envelope *envelope,
                  const void *payload, size_t size, struct error *error);
void links_line(const struct event *event);
void links_drop(uint32_t worker);
void links_lose_depot(void);
void links_clear(void);

#endif
