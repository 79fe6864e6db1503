/* Where tensors lie whose sizes and lifetimes are known before.
 *
 * Pure: no device. Blocks that live at the same time never overlap; all lie in buffers of at
 * most a given size.
 */
#ifndef FARM_ARENA_H
#define FARM_ARENA_H

#include <stddef.h>

#include "base/error.h"

struct arena_block {
    size_t bytes;
    size_t from, until;    /* lives at times from .. until - 1 */
    size_t buffer, offset; /* the answer */
};

struct arena_layout {
    size_t *buffer_bytes; /* heap; arena_layout_clear */
    size_t buffer_count;
    size_t bytes; /* of all buffers */
    size_t live;  /* the most bytes alive at one time: no layout can take less */
};

/* Sizes are rounded up to `alignment`. ERROR_MEMORY when a block is larger than `most`. */
bool arena_lay_out(struct arena_block *blocks, size_t count, size_t alignment,
                   size_t most, struct arena_layout *layout, struct error *error);
void arena_layout_clear(struct arena_layout *self);

#endif
