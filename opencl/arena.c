/* How blocks are placed
 *
 * Blocks are taken in some order; each goes to the lowest offset at which it overlaps no
 * block placed before that lives at the same time. Which order wastes least depends on the
 * graph, so several are tried and the smallest result is kept:
 *
 *     by size       large ones first, small ones fill the gaps
 *     by area       size x lifetime: long-lived large ones at the bottom
 *     by lifetime   skip connections first, short-lived scratch above them
 *     by start      as a stack would
 *
 * A model has a few thousand blocks, of which few live together, so the search over all
 * blocks placed before costs some milliseconds.
 */
#include "opencl/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t lifetime(const struct arena_block *block)
{
    return block->until - block->from;
}

static int compare(size_t a, size_t b)
{
    return a > b ? -1 : a < b;
}

static int earlier(const struct arena_block *a, const struct arena_block *b)
{
    return a->from < b->from ? -1 : a->from > b->from;
}

static int by_size(const void *a, const void *b)
{
    const struct arena_block *x = *(struct arena_block *const *)a;
    const struct arena_block *y = *(struct arena_block *const *)b;
    int order = compare(x->bytes, y->bytes);
    return order ? order : earlier(x, y);
}

static int by_area(const void *a, const void *b)
{
    const struct arena_block *x = *(struct arena_block *const *)a;
    const struct arena_block *y = *(struct arena_block *const *)b;
    double p = (double)x->bytes * (double)lifetime(x);
    double q = (double)y->bytes * (double)lifetime(y);
    return p > q ? -1 : p < q ? 1 : earlier(x, y);
}

static int by_lifetime(const void *a, const void *b)
{
    const struct arena_block *x = *(struct arena_block *const *)a;
    const struct arena_block *y = *(struct arena_block *const *)b;
    int order = compare(lifetime(x), lifetime(y));
    return order ? order : earlier(x, y);
}

static int by_start(const void *a, const void *b)
{
    return earlier(*(struct arena_block *const *)a, *(struct arena_block *const *)b);
}

static int by_place(const void *a, const void *b)
{
    const struct arena_block *x = *(struct arena_block *const *)a;
    const struct arena_block *y = *(struct arena_block *const *)b;
    int order = -compare(x->buffer, y->buffer);
    return order ? order : -compare(x->offset, y->offset);
}

static size_t most_alive(struct arena_block *const *by_start_order, size_t count)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        size_t alive = 0;
        for (size_t j = 0; j <= i; j++)
            if (by_start_order[j]->until > by_start_order[i]->from)
                alive += by_start_order[j]->bytes;
        if (alive > most)
            most = alive;
    }
    return most;
}

/* Puts `block` into the first buffer with a gap for it. others: blocks placed before that
 * live at the same time, in order of place. */
static void place(struct arena_block *block, struct arena_block *const *others,
                  size_t count, size_t most)
{
    block->buffer = 0;
    block->offset = 0;
    for (size_t i = 0; i < count; i++) {
        const struct arena_block *other = others[i];
        if (other->buffer > block->buffer) {
            if (most - block->offset >= block->bytes)
                return;
            block->buffer = other->buffer;
            block->offset = 0;
        }
        if (other->offset >= block->offset + block->bytes)
            continue;
        if (other->offset + other->bytes > block->offset)
            block->offset = other->offset + other->bytes;
        if (most - block->offset < block->bytes) {
            block->buffer++;
            block->offset = 0;
        }
    }
}

/* Places all in the given order and returns the bytes of all buffers, whose sizes go into
 * layout. */
static size_t place_all(struct arena_block **order, size_t count, size_t most,
                        struct arena_block **scratch, size_t *buffers, size_t *used)
{
    *used = 0;
    for (size_t i = 0; i < count; i++) {
        size_t alive = 0;
        for (size_t j = 0; j < i; j++)
            if (order[j]->from < order[i]->until && order[i]->from < order[j]->until)
                scratch[alive++] = order[j];
        qsort(scratch, alive, sizeof *scratch, by_place);
        place(order[i], scratch, alive, most);
        while (*used <= order[i]->buffer)
            buffers[(*used)++] = 0;
        size_t end = order[i]->offset + order[i]->bytes;
        if (end > buffers[order[i]->buffer])
            buffers[order[i]->buffer] = end;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < *used; i++)
        bytes += buffers[i];
    return bytes;
}

bool arena_lay_out(struct arena_block *blocks, size_t count, size_t alignment,
                   size_t most, struct arena_layout *layout, struct error *error)
{
    static int (*const orders[])(const void *, const void *) = {by_size, by_area,
                                                                by_lifetime, by_start};
    enum { ORDERS = sizeof orders / sizeof *orders };
    *layout = (struct arena_layout){0};
    most -= most % alignment;
    for (size_t i = 0; i < count; i++) {
        blocks[i].bytes = (blocks[i].bytes + alignment - 1) / alignment * alignment;
        if (blocks[i].bytes > most)
            return error_set_kind(
                error, ERROR_MEMORY,
                "one tensor needs %zu MiB and the device gives at most "
                "%zu MiB at once: a smaller size or batch would fit",
                blocks[i].bytes >> 20, most >> 20);
    }
    struct arena_block **order = calloc(count + 1, sizeof *order);
    struct arena_block **scratch = calloc(count + 1, sizeof *scratch);
    layout->buffer_bytes = calloc(count + 1, sizeof *layout->buffer_bytes);
    bool ok = order && scratch && layout->buffer_bytes;
    if (!ok) {
        error_set_kind(error, ERROR_MEMORY, "no memory to lay out %zu tensors", count);
        goto out;
    }
    for (size_t i = 0; i < count; i++)
        order[i] = &blocks[i];

    size_t best = 0, best_bytes = SIZE_MAX;
    for (size_t i = 0; i <= ORDERS; i++) { /* once more: the best */
        size_t which = i < ORDERS ? i : best;
        qsort(order, count, sizeof *order, orders[which]);
        if (orders[which] == by_start && i < ORDERS)
            layout->live = most_alive(order, count);
        layout->bytes = place_all(order, count, most, scratch, layout->buffer_bytes,
                                  &layout->buffer_count);
        if (layout->bytes < best_bytes) {
            best = which;
            best_bytes = layout->bytes;
        }
    }
out:
    free(order);
    free(scratch);
    if (!ok)
        arena_layout_clear(layout);
    return ok;
}

void arena_layout_clear(struct arena_layout *self)
{
    free(self->buffer_bytes);
    *self = (struct arena_layout){0};
}
