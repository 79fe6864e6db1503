#include "coordinator/recent.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "coordinator/table.h"

struct entry {
    struct result_row result;
    uint64_t change;
};

struct name {
    uint8_t id[BLOB_ID];
    uint64_t change;
};

void recent_init(struct recent *self)
{
    self->named = zlistx_new();
    self->by_key = table_new(32);
    self->order = zlistx_new();
}

static void entry_destroy(struct entry *entry)
{
    result_row_clear(&entry->result);
    free(entry);
}

void recent_clear(struct recent *self)
{
    recent_durable(self, UINT64_MAX);
    zlistx_destroy(&self->order);
    zlistx_destroy(&self->named);
    zhashx_destroy(&self->by_key);
}

void recent_add(struct recent *self, const struct result_row *result, uint64_t change)
{
    struct entry *entry = malloc(sizeof *entry);
    if (!entry)
        abort();
    *entry = (struct entry){*result, change};
    result_row_own(&entry->result);
    zhashx_delete(self->by_key, entry->result.key);
    zhashx_insert(self->by_key, entry->result.key, entry);
    zlistx_add_end(self->order, entry);
}

void recent_name(struct recent *self, const uint8_t id[BLOB_ID], uint64_t change)
{
    struct name *name = malloc(sizeof *name);
    if (!name)
        abort();
    memcpy(name->id, id, BLOB_ID);
    name->change = change;
    zlistx_add_end(self->named, name);
}

bool recent_names(const struct recent *self, const uint8_t id[BLOB_ID])
{
    const struct name *name = zlistx_first(self->named);
    while (name && memcmp(name->id, id, BLOB_ID) != 0)
        name = zlistx_next(self->named);
    return name != NULL;
}

void recent_durable(struct recent *self, uint64_t change)
{
    struct name *name;
    while ((name = zlistx_first(self->named)) && name->change <= change)
        free(zlistx_detach(self->named, NULL));
    struct entry *entry;
    while ((entry = zlistx_first(self->order)) && entry->change <= change) {
        zlistx_detach(self->order, NULL);
        if (zhashx_lookup(self->by_key, entry->result.key) == entry)
            zhashx_delete(self->by_key, entry->result.key);
        entry_destroy(entry);
    }
}

bool recent_find(const struct recent *self, struct store *store, const uint8_t key[32],
                 bool latents, struct result_row *into)
{
    const struct entry *entry = zhashx_lookup(self->by_key, key);
    if (entry && (entry->result.has_latents || !latents)) {
        *into = entry->result;
        result_row_own(into);
        return true;
    }
    struct error error = {0};
    if (store_result(store, key, latents, into, &error))
        return true;
    if (error.kind != ERROR_NOT_FOUND)
        log_error("%s", error.text);
    return false;
}
