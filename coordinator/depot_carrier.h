/* The depot's actor for the bulk socket; only depot.c starts it. */
#ifndef FARM_DEPOT_CARRIER_H
#define FARM_DEPOT_CARRIER_H

#include <czmq.h>

#include "coordinator/depot.h"
#include "coordinator/door.h"
#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"

/* What the loop sends: one frame of these bytes; one byte to open the socket anew; an expected
 * blob with the hashes of its pieces behind it; or the id of a blob that something names now
 * or that is gone. Back come the ids of blobs that were stored. */
struct carrier_order {
    uint8_t key[32];
    Farm__Role role;
};
struct carrier_expected {
    uint8_t blob[BLOB_ID];
    uint64_t size;
    uint64_t pieces;
    uint8_t piece[][BLOB_ID];
};

struct carrier;

/* Takes the bound socket over; the actor frees it all. */
struct carrier *carrier_new(zsock_t **bulk, const struct door_options *door,
                            const struct keypair *server, int port,
                            struct blob_store *blobs, const char *folder,
                            const struct depot_limits *limits);
void carrier_actor(zsock_t *pipe, void *argument);

/* Sends without a payload; false when the peer's queue has no room now. One that is gone
 * needs nothing. */
bool carrier_answer(zsock_t *bulk, zframe_t *peer, const Farm__Envelope *envelope);
void carrier_refuse(zsock_t *bulk, zframe_t *peer, uint64_t request,
                    const struct error *error);

#endif
