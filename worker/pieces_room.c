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
#include "worker/pieces_private.h"

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
            (one->manifest = pieces_read_manifest(self, one->id)) &&
            lstat(path, &stat) == 0) {
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
        if (!manifest_is_input(known[i].manifest) &&
            pieces_all_here(self, known[i].manifest))
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
        if (pieces_file_here(self, manifest->files[i]) == here)
            bytes += manifest->files[i]->size;
    return bytes;
}

/* Removes one model's manifest and the files no other needs; false when it is in use. */
static bool forget_model(struct pieces *self, const struct known *known, size_t count,
                         size_t which)
{
    const struct known *model = &known[which];
    char *path = pieces_manifest_path(self, model->id);
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
void pieces_make_room(struct pieces *self, const uint8_t id[BLOB_ID],
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
