/* Blobs that came and have their name, until they are on disk: then their senders are
 * told. A commit that names one needs no sync of its own, so what else the loop decides,
 * who gets which task above all, never waits for the bytes of pictures.
 */
#ifndef FARM_LANDING_H
#define FARM_LANDING_H

#include <czmq.h>

#include "coordinator/registry.h"
#include "proto/files/blob.h"

struct landed {
    uint8_t peer[PEER_ID];
    uint64_t request;
    uint8_t id[BLOB_ID];
};

struct landing;

/* Starts the actor that syncs; the store is shared. */
struct landing *landing_new(struct blob_store *blobs);
void landing_destroy(struct landing **self);

/* Readable when a group is on disk. */
zsock_t *landing_socket(const struct landing *self);

void landing_add(struct landing *self, const uint8_t peer[PEER_ID], uint64_t request,
                 const uint8_t id[BLOB_ID]);

/* The next one that is on disk; false when there is none. Does not block. */
bool landing_take(struct landing *self, struct landed *blob);

#endif
