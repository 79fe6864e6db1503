#include "worker/spool.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/path.h"
#include "proto/wire.h"

enum { RECORD_LIMIT = 64 << 10 };

struct spool {
    char *folder;
    int lock;
    struct blob_store *blobs;
    struct spool_entry *entry;
    size_t count, capacity;
};

static char *record_path(const struct spool *self, const Farm__AttemptId *id)
{
    return path_format("%s/%" PRIu64 "-%" PRIu64 ".commit", self->folder, id->epoch,
                       id->counter);
}

/* Takes *commit over. */
static void add_entry(struct spool *self, Farm__Commit *commit)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity ? 2 * self->capacity : 16;
        self->entry = realloc(self->entry, self->capacity * sizeof *self->entry);
        if (!self->entry)
            abort();
    }
    struct spool_entry *entry = &self->entry[self->count++];
    *entry = (struct spool_entry){.commit = commit};
    const Farm__Result *result = commit->result;
    memcpy(entry->blob[0].id, result->png.data, BLOB_ID);
    entry->blob[0].size = result->png_size;
    if (result->latents.len == BLOB_ID) {
        memcpy(entry->blob[1].id, result->latents.data, BLOB_ID);
        entry->blob[1].size = result->latents_size;
    }
}

static void drop_entry(struct spool *self, size_t i)
{
    farm__commit__free_unpacked(self->entry[i].commit, NULL);
    memmove(&self->entry[i], &self->entry[i + 1],
            (self->count - i - 1) * sizeof *self->entry);
    self->count--;
}

static bool is_whole(const struct spool *self, const Farm__Commit *commit)
{
    uint64_t size;
    const Farm__Result *result = commit->result;
    if (!commit->attempt || !result || result->png.len != BLOB_ID ||
        !blob_has(self->blobs, result->png.data, &size) || size != result->png_size)
        return false;
    return !result->latents.len ||
           (result->latents.len == BLOB_ID &&
            blob_has(self->blobs, result->latents.data, &size) &&
            size == result->latents_size);
}

static void load_record(struct spool *self, const char *name)
{
    char *path = path_format("%s/%s", self->folder, name);
    struct buffer packed = {0};
    struct error error = {0};
    Farm__Commit *commit = NULL;
    if (!path_read(path, RECORD_LIMIT, &packed, &error))
        log_warn("spool: %s", error.text);
    else
        commit = farm__commit__unpack(NULL, packed.size, packed.data);
    if (commit && is_whole(self, commit)) {
        add_entry(self, commit);
    } else {
        log_warn("spool: %s is no whole result and is dropped", path);
        if (commit)
            farm__commit__free_unpacked(commit, NULL);
        unlink(path);
    }
    buffer_clear(&packed);
    free(path);
}

static int is_record(const struct dirent *item)
{
    size_t length = strlen(item->d_name);
    return length > 7 && strcmp(item->d_name + length - 7, ".commit") == 0;
}

static bool load_records(struct spool *self, struct error *error)
{
    struct dirent **list = NULL;
    int count = scandir(self->folder, &list, is_record, versionsort);
    if (count < 0)
        return error_set(error, "%s: cannot list the spool", self->folder);
    for (int i = 0; i < count; i++) {
        load_record(self, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return true;
}

static const struct spool_blob *find_blob(const struct spool *self,
                                          const uint8_t id[BLOB_ID])
{
    for (size_t i = 0; i < self->count; i++)
        for (size_t b = 0; b < SPOOL_BLOBS; b++) {
            const struct spool_blob *blob = &self->entry[i].blob[b];
            if (blob->size && memcmp(blob->id, id, BLOB_ID) == 0)
                return blob;
        }
    return NULL;
}

/* Removes blobs that no record names: their process died between the two. */
static void sweep_folder(struct spool *self, const char *folder)
{
    struct dirent **list = NULL;
    int count = scandir(folder, &list, NULL, NULL);
    for (int i = 0; i < count; i++) {
        uint8_t id[BLOB_ID];
        if (blob_parse(list[i]->d_name, id, NULL) && !find_blob(self, id))
            blob_remove(self->blobs, id, NULL);
        free(list[i]);
    }
    free(list);
}

static void sweep(struct spool *self)
{
    for (unsigned first = 0; first < 256; first++) {
        char *folder = path_format("%s/blobs/%02x", self->folder, first);
        sweep_folder(self, folder);
        free(folder);
    }
}

struct spool *spool_open(const char *folder, struct error *error)
{
    struct spool *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->folder = path_format("%s", folder);
    self->lock = -1;
    char *lock = path_format("%s/lock", folder);
    char *blobs = path_format("%s/blobs", folder);
    if (path_make_folders(folder, 0700, error) &&
        (self->lock = path_lock(lock, false, error)) >= 0)
        self->blobs = blob_store_open(blobs, error);
    if (!self->blobs || !load_records(self, error))
        spool_close(&self);
    if (self)
        sweep(self);
    free(blobs);
    free(lock);
    return self;
}

void spool_close(struct spool **self)
{
    struct spool *spool = *self;
    if (!spool)
        return;
    while (spool->count)
        drop_entry(spool, spool->count - 1);
    free(spool->entry);
    blob_store_close(&spool->blobs);
    if (spool->lock >= 0)
        close(spool->lock);
    free(spool->folder);
    free(spool);
    *self = NULL;
}

static bool put_blob(struct spool *self, const struct buffer *bytes,
                     ProtobufCBinaryData *id, uint64_t *size, struct error *error)
{
    *size = bytes->size;
    return blob_put(self->blobs, bytes->data, bytes->size, true, id->data, error);
}

static bool put_record(struct spool *self, const Farm__Commit *commit,
                       struct error *error)
{
    size_t size;
    uint8_t *packed = wire_pack(&commit->base, &size);
    char *path = record_path(self, commit->attempt);
    bool ok = path_write(path, packed, size, 0600, error);
    if (ok)
        add_entry(self, wire_copy(&commit->base));
    free(path);
    free(packed);
    return ok;
}

bool spool_put(struct spool *self, Farm__Commit *commit, const struct buffer *png,
               const struct buffer *latents, struct error *error)
{
    uint8_t png_id[BLOB_ID] = {0}, latents_id[BLOB_ID] = {0};
    Farm__Result *result = commit->result;
    result->png = wire_bytes(png_id, BLOB_ID);
    result->latents = wire_bytes(latents_id, latents->size ? BLOB_ID : 0);
    result->latents_size = 0;
    bool ok = put_blob(self, png, &result->png, &result->png_size, error) &&
              (!latents->size ||
               put_blob(self, latents, &result->latents, &result->latents_size, error));
    if (ok)
        fault_point("worker-between-blobs-and-record");
    ok = ok && put_record(self, commit, error);
    /* the ids lie on this function's stack */
    result->png = result->latents = (ProtobufCBinaryData){0};
    if (!ok && error->kind == ERROR_BUSY)
        return error_set_kind(error, ERROR_BUSY,
                              "the disk with the spool %s is full: make room there, or "
                              "give farm-worker another --state",
                              self->folder);
    return ok || error_prefix(error, "keeping a result");
}

size_t spool_count(const struct spool *self)
{
    return self->count;
}

struct spool_entry *spool_at(struct spool *self, size_t i)
{
    return &self->entry[i];
}

struct spool_entry *spool_find(struct spool *self, uint64_t epoch, uint64_t counter)
{
    for (size_t i = 0; i < self->count; i++) {
        const Farm__AttemptId *id = self->entry[i].commit->attempt;
        if (id->epoch == epoch && id->counter == counter)
            return &self->entry[i];
    }
    return NULL;
}

void spool_forget(struct spool *self, uint64_t epoch, uint64_t counter)
{
    struct spool_entry *entry = spool_find(self, epoch, counter);
    if (!entry)
        return;
    struct spool_blob blob[SPOOL_BLOBS];
    memcpy(blob, entry->blob, sizeof blob);
    char *path = record_path(self, entry->commit->attempt);
    if (unlink(path) != 0)
        log_warn("spool: cannot remove %s", path);
    free(path);
    drop_entry(self, (size_t)(entry - self->entry));
    for (size_t b = 0; b < SPOOL_BLOBS; b++) {
        struct error error = {0};
        if (blob[b].size && !find_blob(self, blob[b].id) &&
            !blob_remove(self->blobs, blob[b].id, &error))
            log_warn("spool: %s", error.text);
    }
}

uint64_t spool_size(const struct spool *self, const uint8_t id[BLOB_ID])
{
    const struct spool_blob *blob = find_blob(self, id);
    return blob ? blob->size : 0;
}

bool spool_read(struct spool *self, const uint8_t id[BLOB_ID], uint64_t offset,
                void *into, size_t size, struct error *error)
{
    if (!find_blob(self, id))
        return error_set_kind(error, ERROR_NOT_FOUND, "spool: no such file");
    return blob_read(self->blobs, id, offset, into, size, error);
}
