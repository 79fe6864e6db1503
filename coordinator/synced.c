#include "coordinator/synced.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/table.h"

void synced_init(struct synced *self)
{
    self->young = table_new(32);
    self->old = table_new(32);
}

static void table_destroy(zhashx_t **table)
{
    for (void *id = zhashx_first(*table); id; id = zhashx_next(*table))
        free(id);
    zhashx_destroy(table);
}

void synced_clear(struct synced *self)
{
    table_destroy(&self->young);
    table_destroy(&self->old);
}

void synced_add(struct synced *self, const uint8_t id[32])
{
    if (zhashx_size(self->young) >= SYNCED_MOST) {
        table_destroy(&self->old);
        self->old = self->young;
        self->young = table_new(32);
    }
    uint8_t *copy = malloc(32);
    if (!copy)
        abort();
    memcpy(copy, id, 32);
    if (zhashx_insert(self->young, copy, copy) != 0)
        free(copy);
}

bool synced_has(const struct synced *self, const uint8_t id[32])
{
    return zhashx_lookup(self->young, id) || zhashx_lookup(self->old, id);
}

static void forget_in(zhashx_t *table, const uint8_t id[32])
{
    void *copy = zhashx_lookup(table, id);
    zhashx_delete(table, id);
    free(copy);
}

void synced_forget(struct synced *self, const uint8_t id[32])
{
    forget_in(self->young, id);
    forget_in(self->old, id);
}
