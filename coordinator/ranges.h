/* Ranges of blobs on their way out: sent at once, or when the asker's queue has room. */
#ifndef FARM_RANGES_H
#define FARM_RANGES_H

#include "proto/files/blob.h"
#include "proto/wire.h"

enum {
    RANGES_MOST = 4096,
    RANGES_A_KEY = 64, /* of these; who asks for more asks again */
};

/* One that its asker's queue had no room for. */
struct waiting_range {
    zframe_t *peer;
    uint8_t key[32], blob[BLOB_ID];
    uint64_t request, offset;
    uint32_t length;
};

struct ranges {
    zsock_t *bulk;
    struct blob_store *blobs;
    struct waiting_range waiting[RANGES_MOST];
    size_t waits;
};

/* Answers a Want; false with the error that is the answer. Takes the peer's frame when the
 * range has to wait. */
bool ranges_take(struct ranges *self, struct message *message, struct error *error);

void ranges_try_again(struct ranges *self);
void ranges_clear(struct ranges *self);

#endif
