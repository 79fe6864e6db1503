/* Results by task key: those decided but not yet durable, and through the store all
 * others. And which files they name. */
#ifndef FARM_RECENT_H
#define FARM_RECENT_H

#include <czmq.h>

#include "coordinator/store.h"
#include "proto/files/blob.h"

struct recent {
    zhashx_t *by_key; /* newest of each key */
    zlistx_t *order;
    zlistx_t *named; /* files that rows on their way to the disk name */
};

void recent_init(struct recent *self);
void recent_clear(struct recent *self);

/* A copy is kept until recent_durable names that change. */
void recent_add(struct recent *self, const struct result_row *result, uint64_t change);
void recent_durable(struct recent *self, uint64_t change);

/* A row of that change names the file; whether one that is not durable yet does. */
void recent_name(struct recent *self, const uint8_t id[BLOB_ID], uint64_t change);
bool recent_names(const struct recent *self, const uint8_t id[BLOB_ID]);

/* The newest result for the key, with latents when asked. False when there is none. The
 * caller clears the row. An error of the database is logged, and is none. */
bool recent_find(const struct recent *self, struct store *store, const uint8_t key[32],
                 bool latents, struct result_row *into);

#endif
