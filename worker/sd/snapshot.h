/* One image half way: all that another node needs to go on with it, bit for bit.
 *
 * What follows from the request (the schedule, pictures, the first noise) is not in it; the
 * generator's position is the number of its draws, which are drawn again. As bytes:
 *
 *     "clfarm half\n"  version  c h w  step steps  draws  seed  tag[32]  latents  history[4]
 *
 * with numbers as 8 bytes and floats as 4, little-endian.
 */
#ifndef FARM_SNAPSHOT_H
#define FARM_SNAPSHOT_H

#include <stdint.h>

#include "base/buffer.h"

enum { SNAPSHOT_VERSION = 1, SNAPSHOT_HISTORY = 4, SNAPSHOT_TAG = 32 };

struct snapshot {
    size_t c, h, w;
    size_t step, steps; /* steps done, of so many */
    uint64_t draws; /* the generator's, each of one image's shape, after the start's */
    uint64_t seed;
    uint8_t tag[SNAPSHOT_TAG]; /* the owner's: what it is a snapshot of */
    float *values; /* [1 + SNAPSHOT_HISTORY, h, w, c]: latents, then history */
};

size_t snapshot_values(const struct snapshot *self); /* of one tensor: c h w */

/* Allocates the values for c, h and w. */
bool snapshot_make(struct snapshot *self, struct error *error);
void snapshot_clear(struct snapshot *self);

bool snapshot_write(const struct snapshot *self, struct buffer *into,
                    struct error *error);

/* ERROR_INPUT for bytes that are no snapshot, of another version, of a size beyond 4096
 * pixels, cut short or longer than they say, or with a value that is not finite. */
bool snapshot_read(struct snapshot *self, const void *data, size_t size,
                   struct error *error);

#endif
