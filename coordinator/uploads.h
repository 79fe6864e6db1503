/* Files on their way in: what was offered, what is asked for, what it may cost.
 *
 *   Offer -> room? quota? -> Want, Chunk, Want, Chunk ... -> hashed in slices -> Stored
 *
 * Belongs to the depot's carrier, which calls uploads_work between its polls.
 */
#ifndef FARM_UPLOADS_H
#define FARM_UPLOADS_H

#include "coordinator/depot_carrier.h"
#include "coordinator/holdings.h"
#include "coordinator/landing.h"
#include "proto/files/blob.h"
#include "proto/wire.h"

enum { UPLOADS_MOST = 4096 };

struct upload;

struct uploads {
    zsock_t *bulk,
        *pipe; /* the carrier's; a blob's id goes up the pipe when it is on disk */
    struct landing *landing;
    struct blob_store *blobs;
    const struct depot_limits *limits;
    const char *folder;
    zhashx_t *expected; /* blob -> struct carrier_expected */
    struct holdings holdings;
    struct upload *upload[UPLOADS_MOST];
    size_t count;
    bool full;    /* was told */
    bool stalled; /* one has to wait for room in its sender's queue */
    bool works;   /* one is being hashed */
    int64_t measured;
    uint64_t free_space;
};

void uploads_init(struct uploads *self);
void uploads_clear(struct uploads *self);

/* Answers an Offer or a Chunk of a key with that role; false with the error that is the
 * answer. */
bool uploads_offer(struct uploads *self, struct message *message, Farm__Role role,
                   struct error *error);
bool uploads_chunk(struct uploads *self, struct message *message, struct error *error);

/* A blob whose pieces are known will be offered. */
void uploads_expect(struct uploads *self, const struct carrier_expected *expected,
                    size_t size);

/* Asks for what could not be asked for. */
void uploads_try_again(struct uploads *self);

/* Tells of what is on disk now. */
void uploads_landed(struct uploads *self);

/* A slice of the hashing that is due. */
void uploads_work(struct uploads *self);

/* What the key was sending is forgotten. */
void uploads_forget(struct uploads *self, const uint8_t key[32]);

/* Those whose senders are silent are. */
void uploads_sweep(struct uploads *self, int64_t now);

#endif
