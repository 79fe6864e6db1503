#include "worker/pieces.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/files/transfer.h"
#include "proto/wire.h"

enum { MANIFEST_LIMIT = 8 << 20 };

struct pieces {
    char *folder, *depot;
    struct blob_store *blobs;
    /* the present fetch; manifest NULL: none */
    uint8_t id[BLOB_ID];
    Farm__Manifest *manifest;
    size_t next; /* first file not known to be here */
    struct transfer *transfer;
    int lock;
};

struct pieces *pieces_open(const char *folder, const char *depot, struct error *error)
{
    struct pieces *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->lock = -1;
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
    blob_store_close(&pieces->blobs);
    free(pieces->depot);
    free(pieces->folder);
    free(pieces);
    *self = NULL;
}

void pieces_stop(struct pieces *self)
{
    transfer_destroy(&self->transfer);
    manifest_destroy(&self->manifest);
    if (self->lock >= 0)
        close(self->lock);
    self->lock = -1;
}

static char *manifest_path(const struct pieces *self, const uint8_t id[BLOB_ID])
{
    char hex[BLOB_TEXT];
    blob_format(id, hex);
    return path_format("%s/manifests/%s", self->folder, hex);
}

/* NULL when it is not here or no longer what its name says. */
static Farm__Manifest *read_manifest(const struct pieces *self,
                                     const uint8_t id[BLOB_ID])
{
    char *path = manifest_path(self, id);
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

static bool file_is_here(const struct pieces *self, const Farm__ModelFile *file)
{
    uint64_t size;
    return blob_has(self->blobs, file->blob.data, &size) && size == file->size;
}

static bool all_here(const struct pieces *self, const Farm__Manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_files; i++)
        if (!file_is_here(self, manifest->files[i]))
            return false;
    return true;
}

size_t pieces_complete(const struct pieces *self, uint8_t (**ids)[BLOB_ID])
{
    *ids = NULL;
    size_t count = 0;
    char *folder = path_format("%s/manifests", self->folder);
    struct dirent **list = NULL;
    int found = scandir(folder, &list, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        uint8_t id[BLOB_ID];
        Farm__Manifest *manifest = NULL;
        if (blob_parse(list[i]->d_name, id, NULL))
            manifest = read_manifest(self, id);
        if (manifest && all_here(self, manifest)) {
            *ids = realloc(*ids, (count + 1) * sizeof **ids);
            if (!*ids)
                abort();
            memcpy((*ids)[count++], id, BLOB_ID);
        }
        manifest_destroy(&manifest);
        free(list[i]);
    }
    free(list);
    free(folder);
    return count;
}

/* Takes the file in from the machine's own depot, where there is one and it has it. */
static bool link_file(struct pieces *self, const Farm__ModelFile *file)
{
    if (!self->depot)
        return false;
    char hex[BLOB_TEXT];
    blob_format(file->blob.data, hex);
    char *path = path_format("%s/%.2s/%s", self->depot, hex, hex);
    struct error error = {0};
    bool ok = access(path, R_OK) == 0 &&
              blob_import(self->blobs, path, file->blob.data, &error);
    if (error.text[0])
        log_warn("%s; fetching it instead", error.text);
    free(path);
    return ok;
}

static bool begin_transfer(struct pieces *self, const Farm__ModelFile *file,
                           struct error *error)
{
    uint8_t(*hashes)[BLOB_ID] = calloc(file->n_pieces + 1, sizeof *hashes);
    if (!hashes)
        return error_set_kind(error, ERROR_MEMORY, "out of memory for piece hashes");
    for (size_t i = 0; i < file->n_pieces; i++)
        memcpy(hashes[i], file->pieces[i].data, BLOB_ID);
    self->transfer = transfer_new(self->blobs, file->blob.data, file->size, hashes,
                                  file->n_pieces, true, error);
    free(hashes);
    return self->transfer != NULL;
}

/* Goes on to the next file that is not here: 1 all are, 0 one is being fetched, -1. */
static int advance(struct pieces *self, struct error *error)
{
    for (; self->next < self->manifest->n_files; self->next++) {
        const Farm__ModelFile *file = self->manifest->files[self->next];
        if (self->transfer || file_is_here(self, file)) {
            if (self->transfer)
                return 0;
            continue;
        }
        uint8_t id[BLOB_ID];
        if (file->size == 0) {
            if (!blob_put(self->blobs, "", 0, false, id, error))
                return -1;
        } else if (!link_file(self, file)) {
            return begin_transfer(self, file, error) ? 0 : -1;
        }
    }
    return blob_store_sync(self->blobs, error) ? 1 : -1;
}

enum pieces_state pieces_want(struct pieces *self, const uint8_t id[BLOB_ID],
                              struct error *error)
{
    if (self->manifest && memcmp(self->id, id, BLOB_ID) != 0)
        return PIECES_BUSY;
    if (!self->manifest) {
        Farm__Manifest *manifest = read_manifest(self, id);
        if (!manifest)
            return PIECES_NO_MANIFEST;
        if (all_here(self, manifest)) {
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
        self->manifest = manifest;
        memcpy(self->id, id, BLOB_ID);
        self->next = 0;
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
    struct buffer packed = {0};
    uint8_t *room =
        buffer_room(&packed, farm__manifest__get_packed_size(manifest), error);
    char *path = manifest_path(self, id);
    bool ok = room != NULL;
    if (ok) {
        packed.size = farm__manifest__pack(manifest, room);
        ok = path_write(path, packed.data, packed.size, 0600, error);
    }
    free(path);
    buffer_clear(&packed);
    return ok;
}

bool pieces_next(struct pieces *self, uint8_t blob[BLOB_ID], uint64_t *offset,
                 uint32_t *length)
{
    if (!self->transfer || !transfer_next(self->transfer, offset, length))
        return false;
    memcpy(blob, transfer_id(self->transfer), BLOB_ID);
    return true;
}

bool pieces_take(struct pieces *self, const uint8_t blob[BLOB_ID], uint64_t offset,
                 const void *data, size_t size, struct error *error)
{
    if (!self->transfer || memcmp(transfer_id(self->transfer), blob, BLOB_ID) != 0)
        return true;
    if (!transfer_take(self->transfer, offset, data, size, error))
        return false;
    if (!transfer_is_complete(self->transfer))
        return true;
    bool ok = transfer_finish(self->transfer, error);
    transfer_destroy(&self->transfer);
    return ok;
}

void pieces_restart(struct pieces *self)
{
    if (self->transfer)
        transfer_restart(self->transfer);
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

bool pieces_files(const struct pieces *self, const uint8_t id[BLOB_ID],
                  struct model_files *files, Farm__Manifest **manifest,
                  struct error *error)
{
    *files = (struct model_files){0};
    *manifest = read_manifest(self, id);
    if (!*manifest || !all_here(self, *manifest)) {
        manifest_destroy(manifest);
        return error_set_kind(error, ERROR_NOT_FOUND,
                              "the model's files are not all in %s", self->folder);
    }
    if (list_files(self, *manifest, files, error))
        return true;
    manifest_destroy(manifest);
    return false;
}
