#include "worker/pieces.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/files/transfer.h"
#include "proto/wire.h"

enum { MANIFEST_LIMIT = 8 << 20 };

struct pieces {
    char *folder, *depot;
    uint64_t limit;
    struct blob_store *blobs;
    /* manifests with a shared lock, last first; -1: none */
    int pin[PIECES_PINNED], input_pin[PIECES_INPUTS_PINNED];
    /* the present fetch; manifest NULL: none */
    uint8_t id[BLOB_ID];
    Farm__Manifest *manifest;
    size_t next; /* first file not known to be here */
    struct transfer *transfer;
    int lock;
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

/* Every model a manifest lies here of, in no order; heap. */
struct known {
    uint8_t id[BLOB_ID];
    Farm__Manifest *manifest;
    struct timespec used;
};

static size_t list_known(const struct pieces *self, struct known **known)
{
    size_t count = 0;
    char *folder = path_format("%s/manifests", self->folder);
    struct dirent **list = NULL;
    int found = scandir(folder, &list, NULL, alphasort);
    *known = calloc(found > 0 ? (size_t)found : 1, sizeof **known);
    if (!*known)
        abort();
    for (int i = 0; i < found; i++) {
        struct known *one = &(*known)[count];
        struct stat stat;
        char *path = path_format("%s/%s", folder, list[i]->d_name);
        if (blob_parse(list[i]->d_name, one->id, NULL) &&
            (one->manifest = read_manifest(self, one->id)) && lstat(path, &stat) == 0) {
            one->used = stat.st_mtim;
            count++;
        }
        free(path);
        free(list[i]);
    }
    free(list);
    free(folder);
    return count;
}

static void free_known(struct known *known, size_t count)
{
    for (size_t i = 0; i < count; i++)
        manifest_destroy(&known[i].manifest);
    free(known);
}

size_t pieces_complete(const struct pieces *self, uint8_t (**ids)[BLOB_ID])
{
    struct known *known;
    size_t count = list_known(self, &known), complete = 0;
    *ids = calloc(count + 1, sizeof **ids);
    if (!*ids)
        abort();
    for (size_t i = 0; i < count; i++)
        if (!manifest_is_input(known[i].manifest) && all_here(self, known[i].manifest))
            memcpy((*ids)[complete++], known[i].id, BLOB_ID);
    free_known(known, count);
    return complete;
}

/* ---- making room */

static bool names_blob(const Farm__Manifest *manifest, const uint8_t id[BLOB_ID])
{
    for (size_t i = 0; i < manifest->n_files; i++)
        if (memcmp(manifest->files[i]->blob.data, id, BLOB_ID) == 0)
            return true;
    return false;
}

/* Bytes of the model's files: those here, or those still to come. */
static uint64_t bytes_of(const struct pieces *self, const Farm__Manifest *manifest,
                         bool here)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < manifest->n_files; i++)
        if (file_is_here(self, manifest->files[i]) == here)
            bytes += manifest->files[i]->size;
    return bytes;
}

/* Removes one model's manifest and the files no other needs; false when it is in use. */
static bool forget_model(struct pieces *self, const struct known *known, size_t count,
                         size_t which)
{
    const struct known *model = &known[which];
    char *path = manifest_path(self, model->id);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool ours = file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0;
    for (size_t i = 0; ours && i < model->manifest->n_files; i++) {
        const uint8_t *blob = model->manifest->files[i]->blob.data;
        bool shared = false;
        for (size_t j = 0; j < count && !shared; j++)
            shared =
                j != which && known[j].manifest && names_blob(known[j].manifest, blob);
        if (!shared && blob_has(self->blobs, blob, NULL))
            blob_remove(self->blobs, blob, NULL);
    }
    if (ours) {
        unlink(path);
        log_info("model %.*s made room in the cache", (int)model->manifest->name.len,
                 (const char *)model->manifest->name.data);
    }
    if (file >= 0)
        close(file);
    free(path);
    return ours;
}

static bool is_older(const struct known *a, const struct known *b)
{
    return a->used.tv_sec != b->used.tv_sec ? a->used.tv_sec < b->used.tv_sec
                                            : a->used.tv_nsec < b->used.tv_nsec;
}

/* Called with the fetch lock held. Files that models share count for each of them, so that
 * the limit is kept rather than used up. */
static void make_room(struct pieces *self, const uint8_t id[BLOB_ID],
                      const Farm__Manifest *coming)
{
    struct known *known;
    size_t count = list_known(self, &known);
    uint64_t used = bytes_of(self, coming, false);
    for (size_t i = 0; i < count; i++)
        used += bytes_of(self, known[i].manifest, true);
    while (self->limit && used > self->limit) {
        size_t oldest = count;
        for (size_t i = 0; i < count; i++)
            if (known[i].manifest && memcmp(known[i].id, id, BLOB_ID) != 0 &&
                (oldest == count || is_older(&known[i], &known[oldest])))
                oldest = i;
        if (oldest == count)
            break;
        uint64_t bytes = bytes_of(self, known[oldest].manifest, true);
        if (forget_model(self, known, count, oldest))
            used -= bytes;
        manifest_destroy(&known[oldest].manifest); /* gone, or not to be tried again */
    }
    free_known(known, count);
}

/* What the manifest names stays while this process may load it; it was used now. */
static int lock_manifest(const struct pieces *self, const uint8_t id[BLOB_ID])
{
    char *path = manifest_path(self, id);
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
        make_room(self, id, manifest);
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
    size_t size;
    uint8_t *packed = wire_pack(&manifest->base, &size);
    char *path = manifest_path(self, id);
    bool ok = path_write(path, packed, size, 0600, error);
    free(path);
    free(packed);
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

bool pieces_name(const struct pieces *self, struct error *error)
{
    if (!self->manifest || self->next >= self->manifest->n_files)
        return false;
    const Farm__ModelFile *file = self->manifest->files[self->next];
    return error_prefix(error, "model %.*s: %.*s", (int)self->manifest->name.len,
                        (char *)self->manifest->name.data, (int)file->path.len,
                        (char *)file->path.data);
}

bool pieces_take(struct pieces *self, const uint8_t blob[BLOB_ID], uint64_t offset,
                 const void *data, size_t size, struct error *error)
{
    if (!self->transfer || memcmp(transfer_id(self->transfer), blob, BLOB_ID) != 0)
        return true;
    if (!transfer_take(self->transfer, offset, data, size, error)) {
        if (error->kind == ERROR_BUSY)
            error_set_kind(error, ERROR_BUSY,
                           "the disk with the model cache %s is full: make room there, "
                           "or give farm-worker another --cache",
                           self->folder);
        else
            pieces_name(self, error);
        return false;
    }
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

bool pieces_files(struct pieces *self, const uint8_t id[BLOB_ID],
                  struct model_files *files, Farm__Manifest **manifest,
                  struct error *error)
{
    *files = (struct model_files){0};
    int lock = lock_manifest(self, id); /* first: what is found here then stays */
    *manifest = read_manifest(self, id);
    if (!*manifest || !all_here(self, *manifest)) {
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
