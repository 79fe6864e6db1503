/* Blobs that the depot synced since the start: a row may name one without syncing again.
 * That one is not here says nothing; the oldest are forgotten. */
#ifndef FARM_SYNCED_H
#define FARM_SYNCED_H

#include <czmq.h>

enum { SYNCED_MOST = 16384 }; /* at least so many are known */

struct synced {
    zhashx_t *young, *old;
};

void synced_init(struct synced *self);
void synced_clear(struct synced *self);

void synced_add(struct synced *self, const uint8_t id[32]);
bool synced_has(const struct synced *self, const uint8_t id[32]);

/* Its file is removed: one that comes later is another. */
void synced_forget(struct synced *self, const uint8_t id[32]);

#endif
