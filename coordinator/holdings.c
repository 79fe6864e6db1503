#include "coordinator/holdings.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/table.h"

struct holder {
    uint8_t key[32];
    uint64_t bytes;
};

struct held {
    uint8_t blob[32], key[32];
    uint64_t size;
};

void holdings_init(struct holdings *self)
{
    self->by_key = table_new(32);
    self->by_blob = table_new(32);
}

static void clear(zhashx_t **table)
{
    for (void *item = zhashx_first(*table); item; item = zhashx_next(*table))
        free(item);
    zhashx_destroy(table);
}

void holdings_clear(struct holdings *self)
{
    clear(&self->by_key);
    clear(&self->by_blob);
}

static uint64_t weight(uint64_t size)
{
    return size < HOLDINGS_LEAST ? HOLDINGS_LEAST : size;
}

uint64_t holdings_of(const struct holdings *self, const uint8_t key[32])
{
    const struct holder *holder = zhashx_lookup(self->by_key, key);
    return holder ? holder->bytes : 0;
}

bool holdings_begin(struct holdings *self, const uint8_t key[32], uint64_t size,
                    uint64_t most, struct error *error)
{
    uint64_t has = holdings_of(self, key), sum;
    if (__builtin_add_overflow(has, weight(size), &sum) || (most && sum > most))
        return error_set_kind(
            error, ERROR_BUSY,
            "%llu MiB of files this key sent belong to no result and no "
            "complete model, %llu MiB are allowed; commit them, or wait "
            "until they are removed",
            (unsigned long long)(has >> 20), (unsigned long long)(most >> 20));
    struct holder *holder = zhashx_lookup(self->by_key, key);
    if (!holder) {
        holder = calloc(1, sizeof *holder);
        if (!holder)
            abort();
        memcpy(holder->key, key, sizeof holder->key);
        zhashx_insert(self->by_key, holder->key, holder);
    }
    holder->bytes = sum;
    return true;
}

void holdings_end(struct holdings *self, const uint8_t key[32], uint64_t size)
{
    struct holder *holder = zhashx_lookup(self->by_key, key);
    if (!holder)
        return;
    uint64_t less = weight(size);
    holder->bytes -= less < holder->bytes ? less : holder->bytes;
    if (holder->bytes)
        return;
    zhashx_delete(self->by_key, key);
    free(holder);
}

void holdings_store(struct holdings *self, const uint8_t key[32],
                    const uint8_t blob[32], uint64_t size)
{
    if (zhashx_lookup(self->by_blob, blob)) { /* somebody else sent it, too */
        holdings_end(self, key, size);
        return;
    }
    struct held *held = calloc(1, sizeof *held);
    if (!held)
        abort();
    memcpy(held->blob, blob, sizeof held->blob);
    memcpy(held->key, key, sizeof held->key);
    held->size = size;
    zhashx_insert(self->by_blob, held->blob, held);
}

void holdings_release(struct holdings *self, const uint8_t blob[32])
{
    struct held *held = zhashx_lookup(self->by_blob, blob);
    if (!held)
        return;
    zhashx_delete(self->by_blob, blob);
    holdings_end(self, held->key, held->size);
    free(held);
}
