/* The files in the coordinator's folder: names and sizes. Workers' caches are real. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

bool __wrap_blob_has(const struct blob_store *self, const uint8_t id[32],
                     uint64_t *size);
bool __real_blob_has(const struct blob_store *self, const uint8_t id[32],
                     uint64_t *size);
bool __wrap_blob_remove(struct blob_store *self, const uint8_t id[32],
                        struct error *error);
bool __real_blob_remove(struct blob_store *self, const uint8_t id[32],
                        struct error *error);

bool blob_upload(const uint8_t id[32], uint64_t size)
{
    if (world->disk_full || !world->coordinator)
        return false;
    struct blob *blob = zhashx_lookup(world->blobs, id);
    if (blob)
        return true;
    blob = calloc(1, sizeof *blob);
    if (!blob)
        abort();
    memcpy(blob->id, id, 32);
    blob->size = size;
    zhashx_insert(world->blobs, blob->id, blob);
    blob->durable = !world->plan.plain && chance_percent(50); /* the depot was quick */
    zlistx_add_end(blob->durable ? world->stored : world->unsynced, blob);
    return true;
}

bool __wrap_blob_has(const struct blob_store *self, const uint8_t id[32],
                     uint64_t *size)
{
    if (self) /* a worker's cache */
        return __real_blob_has(self, id, size);
    const struct blob *blob = zhashx_lookup(world->blobs, id);
    if (blob && size)
        *size = blob->size;
    return blob != NULL;
}

static void leave(zlistx_t *list, struct blob *blob)
{
    void *place = zlistx_find(list, blob);
    if (place)
        zlistx_delete(list, place);
}

bool __wrap_blob_remove(struct blob_store *self, const uint8_t id[32],
                        struct error *error)
{
    if (self) /* likewise */
        return __real_blob_remove(self, id, error);
    struct blob *blob = zhashx_lookup(world->blobs, id);
    bool there = blob != NULL;
    if (there) {
        leave(world->stored, blob);
        leave(world->unsynced, blob);
    }
    zhashx_delete(world->blobs, id);
    free(blob);
    return there;
}

bool blob_is_there(const uint8_t id[32])
{
    return zhashx_lookup(world->blobs, id) != NULL;
}
