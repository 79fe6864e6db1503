#include "worker/pieces_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/wire.h"

enum {
    MANIFEST_LIMIT = 8 << 20,
    SLICE = 8 << 20, /* hashed or copied at a time: some ten milliseconds */
};

struct pieces *pieces_open(const char *folder, const char *depot, uint64_t limit,
                           struct error *error)
{
    struct pieces *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->lock = -1;
    self->limit = limit;
    for (size_t i = 0; i < PIECES_PINNED; i++)
        self->pin[i] = -1;
    for (size_t i = 0; i < PIECES_INPUTS_PINNED; i++)
        self->input_pin[i] = -1;
    self->folder = path_format("%s", folder);
    self->depot = depot && depot[0] ? path_format("%s", depot) : NULL;
    char *blobs = path_format("%s/blobs", folder);
    char *manifests = path_format("%s/manifests", folder);
    if (path_make_folders(manifests, 0700, error))
        self->blobs = blob_store_open(blobs, error);
    if (!self->blobs)
        pieces_close(&self);
    free(manifests);
    free(blobs);
    return self;
}

void pieces_close(struct pieces **self)
{
    struct pieces *pieces = *self;
    if (!pieces)
        return;
    pieces_stop(pieces);
    for (size_t i = 0; i < PIECES_PINNED; i++)
        if (pieces->pin[i] >= 0)
            close(pieces->pin[i]);
    for (size_t i = 0; i < PIECES_INPUTS_PINNED; i++)
        if (pieces->input_pin[i] >= 0)
            close(pieces->input_pin[i]);
    blob_store_close(&pieces->blobs);
    free(pieces->depot);
    free(pieces->folder);
    free(pieces);
    *self = NULL;
}

void pieces_stop(struct pieces *self)
{
    gather_destroy(&self->gather);
    intake_destroy(&self->intake);
    manifest_destroy(&self->manifest);
    self->near = 0;
    self->more = false;
    if (self->lock >= 0)
        close(self->lock);
    self->lock = -1;
}

char *pieces_manifest_path(const struct pieces *self, const uint8_t id[BLOB_ID])
{
    char hex[BLOB_TEXT];
    blob_format(id, hex);
    return path_format("%s/manifests/%s", self->folder, hex);
}

/* NULL when it is not here or no longer what its name says. */
Farm__Manifest *pieces_read_manifest(const struct pieces *self,
                                     const uint8_t id[BLOB_ID])
{
    char *path = pieces_manifest_path(self, id);
    struct buffer packed = {0};
    Farm__Manifest *manifest = NULL;
    if (path_read(path, MANIFEST_LIMIT, &packed, NULL))
        manifest = farm__manifest__unpack(NULL, packed.size, packed.data);
    uint8_t found[BLOB_ID] = {0};
    if (manifest && manifest_check(manifest, NULL))
        manifest_id(manifest, found);
    if (manifest && memcmp(found, id, BLOB_ID) != 0)
        manifest_destroy(&manifest);
    buffer_clear(&packed);
    free(path);
    return manifest;
}

bool pieces_file_here(const struct pieces *self, const Farm__ModelFile *file)
{
    uint64_t size;
    return blob_has(self->blobs, file->blob.data, &size) && size == file->size;
}

bool pieces_all_here(const struct pieces *self, const Farm__Manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_files; i++)
        if (!pieces_file_here(self, manifest->files[i]))
            return false;
    return true;
}

/* What the manifest names stays while this process may load it; it was used now. */
static int lock_manifest(const struct pieces *self, const uint8_t id[BLOB_ID])
{
    char *path = pieces_manifest_path(self, id);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (file >= 0) {
        flock(file, LOCK_SH | LOCK_NB);
        futimens(file, NULL);
    }
    return file;
}

static void pin(int *list, size_t most, int file)
{
    if (list[most - 1] >= 0)
        close(list[most - 1]);
    memmove(&list[1], &list[0], (most - 1) * sizeof *list);
    list[0] = file;
}

/* ---- fetching */

/* Begins to take the file in from the machine's own depot, where there is one and it has
 * it. */
static void link_file(struct pieces *self, const Farm__ModelFile *file)
{
    if (!self->depot)
        return;
    char hex[BLOB_TEXT];
    blob_format(file->blob.data, hex);
    char *path = path_format("%s/%.2s/%s", self->depot, hex, hex);
    if (access(path, R_OK) == 0)
        self->intake = intake_new(self->blobs, path, file->blob.data);
    free(path);
}

/* The next file, if it needs no fetching: an empty one, or one of the machine's own depot.
 * *left: bytes that may be hashed or copied yet. */
static bool take_what_is_near(struct pieces *self, size_t *left, struct error *error)
{
    const Farm__ModelFile *file = self->manifest->files[self->near];
    uint8_t id[BLOB_ID];
    struct error why = {0};
    if (!self->intake && !pieces_file_here(self, file)) {
        if (file->size == 0 && !blob_put(self->blobs, "", 0, false, id, error))
            return false;
        if (file->size)
            link_file(self, file);
    }
    enum intake_state state = INTAKE_DONE;
    if (self->intake) {
        state = intake_step(self->intake, *left, &why);
        *left -= file->size < *left ? (size_t)file->size : *left;
    }
    if (state == INTAKE_MORE)
        return true;
    if (state == INTAKE_FAILED)
        log_warn("%s; fetching it instead", why.text);
    intake_destroy(&self->intake);
    self->near++;
    return true;
}

/* 1 all files are here, 0 some are on their way, -1. */
static int advance(struct pieces *self, struct error *error)
{
    size_t left = SLICE;
    self->more = true;
    while (left && self->near < self->manifest->n_files)
        if (!take_what_is_near(self, &left, error))
            return -1;
    if (!left)
        return 0;
    if (!self->gather &&
        !(self->gather = gather_new(self->blobs, self->manifest, error)))
        return -1;
    if (!gather_work(self->gather, SLICE, &self->more, error)) {
        pieces_name(self, NULL, error);
        return -1;
    }
    if (self->more || !gather_is_done(self->gather))
        return 0;
    return blob_store_sync(self->blobs, error) ? 1 : -1;
}

enum pieces_state pieces_want(struct pieces *self, const uint8_t id[BLOB_ID],
                              struct error *error)
{
    if (self->manifest && memcmp(self->id, id, BLOB_ID) != 0)
        return PIECES_BUSY;
    if (!self->manifest) {
        Farm__Manifest *manifest = pieces_read_manifest(self, id);
        if (!manifest)
            return PIECES_NO_MANIFEST;
        if (pieces_all_here(self, manifest)) {
            manifest_destroy(&manifest);
            return PIECES_HERE;
        }
        char *lock = path_format("%s/fetch.lock", self->folder);
        struct error busy = {0};
        self->lock = path_lock(lock, false, &busy);
        free(lock);
        if (self->lock < 0) {
            manifest_destroy(&manifest);
            if (busy.kind == ERROR_BUSY)
                return PIECES_BUSY;
            error_set_kind(error, busy.kind, "%s", busy.text);
            return PIECES_FAILED;
        }
        pieces_make_room(self, id, manifest);
        self->manifest = manifest;
        memcpy(self->id, id, BLOB_ID);
    }
    int done = advance(self, error);
    if (done)
        pieces_stop(self);
    return done > 0 ? PIECES_HERE : done < 0 ? PIECES_FAILED : PIECES_FETCHING;
}

bool pieces_manifest(struct pieces *self, const uint8_t id[BLOB_ID],
                     const Farm__Manifest *manifest, struct error *error)
{
    uint8_t found[BLOB_ID];
    if (!manifest_check(manifest, error))
        return false;
    manifest_id(manifest, found);
    if (memcmp(found, id, BLOB_ID) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "the manifest that came is not the model asked for");
    size_t size;
    uint8_t *packed = wire_pack(&manifest->base, &size);
    char *path = pieces_manifest_path(self, id);
    bool ok = path_write(path, packed, size, 0600, error);
    free(path);
    free(packed);
    return ok;
}

bool pieces_works(const struct pieces *self)
{
    return self->manifest && self->more;
}

bool pieces_source(struct pieces *self, size_t source, const uint8_t *bits, size_t size,
                   struct error *error)
{
    return !self->gather || gather_source(self->gather, source, bits, size, error);
}

void pieces_release(struct pieces *self, size_t source)
{
    if (self->gather)
        gather_release(self->gather, source);
}

void pieces_drop(struct pieces *self, size_t source)
{
    if (self->gather)
        gather_drop(self->gather, source);
}

bool pieces_next(struct pieces *self, size_t source, uint8_t blob[BLOB_ID],
                 uint64_t *offset, uint32_t *length, struct error *error)
{
    return self->gather &&
           gather_next(self->gather, source, blob, offset, length, error);
}

size_t pieces_outstanding(const struct pieces *self, size_t source)
{
    return self->gather ? gather_outstanding(self->gather, source) : 0;
}

size_t pieces_awaited(const struct pieces *self, size_t source)
{
    return self->gather ? gather_awaited(self->gather, source) : 0;
}

bool pieces_name(const struct pieces *self, const uint8_t *blob, struct error *error)
{
    if (!self->gather)
        return false;
    const Farm__ModelFile *file = blob ? gather_file(self->gather, blob) : NULL;
    return error_prefix(error, "model %.*s%s%.*s", (int)self->manifest->name.len,
                        (char *)self->manifest->name.data, file ? ": " : "",
                        file ? (int)file->path.len : 0,
                        file ? (char *)file->path.data : "");
}

bool pieces_take(struct pieces *self, size_t source, const uint8_t blob[BLOB_ID],
                 uint64_t offset, const void *data, size_t size, bool *piece,
                 struct error *error)
{
    *piece = false;
    if (!self->gather ||
        gather_take(self->gather, source, blob, offset, data, size, piece, error))
        return true;
    if (error->kind == ERROR_BUSY)
        return error_set_kind(error, ERROR_BUSY,
                              "the disk with the model cache %s is full: make room "
                              "there, or give farm-worker another --cache",
                              self->folder);
    pieces_name(self, blob, error);
    return false;
}

void pieces_restart(struct pieces *self, size_t source)
{
    if (self->gather)
        gather_restart(self->gather, source);
}

bool pieces_bits(struct pieces *self, const uint8_t id[BLOB_ID], struct buffer *into)
{
    bool fetching = self->gather && memcmp(self->id, id, BLOB_ID) == 0;
    Farm__Manifest *manifest = fetching ? NULL : pieces_read_manifest(self, id);
    size_t pieces = fetching ? gather_pieces(self->gather) : 0;
    bool whole = manifest && pieces_all_here(self, manifest);
    for (size_t i = 0; whole && i < manifest->n_files; i++)
        pieces += manifest->files[i]->n_pieces;
    uint8_t *bits = buffer_room(into, (pieces + 7) / 8, NULL);
    if (bits && fetching)
        gather_bits(self->gather, bits);
    else if (bits)
        for (size_t p = 0; p < pieces; p++)
            bits[p / 8] = (uint8_t)(p % 8 ? bits[p / 8] | 1u << p % 8 : 1);
    into->size += bits ? (pieces + 7) / 8 : 0;
    manifest_destroy(&manifest);
    return fetching || whole;
}

Farm__Manifest *pieces_known(const struct pieces *self, const uint8_t id[BLOB_ID])
{
    return pieces_read_manifest(self, id);
}

bool pieces_read(const struct pieces *self, const uint8_t blob[BLOB_ID],
                 uint64_t offset, void *into, size_t size, struct error *error)
{
    if (blob_has(self->blobs, blob, NULL))
        return blob_read(self->blobs, blob, offset, into, size, error);
    if (self->gather)
        return gather_read(self->gather, blob, offset, into, size, error);
    return error_set_kind(error, ERROR_NOT_FOUND, "this file is not here");
}

static bool list_files(const struct pieces *self, const Farm__Manifest *manifest,
                       struct model_files *files, struct error *error)
{
    files->file = calloc(manifest->n_files + 1, sizeof *files->file);
    if (!files->file)
        return error_set_kind(error, ERROR_MEMORY, "out of memory for a list of files");
    for (size_t i = 0; i < manifest->n_files; i++) {
        files->file[i].name = wire_string(manifest->files[i]->path);
        files->file[i].path = blob_path(self->blobs, manifest->files[i]->blob.data);
        files->count++;
    }
    return true;
}

bool pieces_files(struct pieces *self, const uint8_t id[BLOB_ID],
                  struct model_files *files, Farm__Manifest **manifest,
                  struct error *error)
{
    *files = (struct model_files){0};
    int lock = lock_manifest(self, id); /* first: what is found here then stays */
    *manifest = pieces_read_manifest(self, id);
    if (!*manifest || !pieces_all_here(self, *manifest)) {
        if (lock >= 0)
            close(lock);
        manifest_destroy(manifest);
        return error_set_kind(error, ERROR_NOT_FOUND,
                              "the model's files are not all in %s", self->folder);
    }
    if (manifest_is_input(*manifest))
        pin(self->input_pin, PIECES_INPUTS_PINNED, lock);
    else
        pin(self->pin, PIECES_PINNED, lock);
    if (list_files(self, *manifest, files, error))
        return true;
    manifest_destroy(manifest);
    return false;
}
