#include "proto/files/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/path.h"

enum { BLOCK = 1 << 20 };

/* ---- hashing */

struct file_hash {
    crypto_generichash_state state;
    uint8_t id[BLOB_ID];
    char *path;
    int file;
    uint64_t size;
    uint8_t block[BLOCK];
};

struct file_hash *file_hash_open(const char *path, struct error *error)
{
    /* The hash state wants more than malloc's alignment; sizeof is a multiple of it. */
    struct file_hash *self = aligned_alloc(_Alignof(struct file_hash), sizeof *self);
    if (!self)
        abort();
    self->size = 0;
    self->path = path_format("%s", path);
    crypto_generichash_init(&self->state, NULL, 0, BLOB_ID);
    self->file = open(path, O_RDONLY | O_CLOEXEC);
    if (self->file < 0) {
        path_failed(path, error);
        file_hash_close(&self);
    }
    return self;
}

void file_hash_close(struct file_hash **self)
{
    if (!*self)
        return;
    if ((*self)->file >= 0)
        close((*self)->file);
    free((*self)->path);
    free(*self);
    *self = NULL;
}

enum intake_state file_hash_step(struct file_hash *self, size_t most,
                                 struct error *error)
{
    for (size_t done = 0; done < most;) {
        ssize_t got = read(self->file, self->block, BLOCK);
        if (got < 0) {
            path_failed(self->path, error);
            return INTAKE_FAILED;
        }
        if (got == 0) {
            crypto_generichash_final(&self->state, self->id, BLOB_ID);
            return INTAKE_DONE;
        }
        crypto_generichash_update(&self->state, self->block, (size_t)got);
        self->size += (uint64_t)got;
        done += (size_t)got;
    }
    return INTAKE_MORE;
}

const uint8_t *file_hash_id(const struct file_hash *self, uint64_t *size)
{
    if (size)
        *size = self->size;
    return self->id;
}

bool blob_id_of_file(const char *path, uint8_t id[BLOB_ID], uint64_t *size,
                     struct error *error)
{
    struct file_hash *hash = file_hash_open(path, error);
    bool ok = hash && file_hash_step(hash, SIZE_MAX, error) == INTAKE_DONE;
    if (ok)
        memcpy(id, file_hash_id(hash, size), BLOB_ID);
    file_hash_close(&hash);
    return ok;
}

/* ---- taking in */

struct intake {
    struct blob_store *store;
    uint8_t id[BLOB_ID];
    char *path, *temporary;
    int from, to; /* of a copy under way */
    bool brought;
    struct file_hash *hash;
    uint8_t block[BLOCK];
};

struct intake *intake_new(struct blob_store *store, const char *path,
                          const uint8_t id[BLOB_ID])
{
    struct intake *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->store = store;
    self->path = path_format("%s", path);
    self->from = self->to = -1;
    memcpy(self->id, id, BLOB_ID);
    return self;
}

static void shut(int *file)
{
    if (*file >= 0)
        close(*file);
    *file = -1;
}

void intake_destroy(struct intake **self)
{
    if (!*self)
        return;
    shut(&(*self)->from);
    shut(&(*self)->to);
    file_hash_close(&(*self)->hash);
    if ((*self)->temporary)
        unlink((*self)->temporary);
    free((*self)->temporary);
    free((*self)->path);
    free(*self);
    *self = NULL;
}

/* An empty new file under a name nobody has. */
static bool make_temporary(struct intake *self, struct error *error)
{
    free(self->temporary);
    self->temporary = blob_new_path(self->store, "blob-XXXXXX");
    self->to = mkostemp(self->temporary, O_CLOEXEC);
    return self->to >= 0 || path_failed(self->temporary, error);
}

/* The file under a temporary name of the store's, by reflink or hard link, or an empty one
 * to copy into. AT_SYMLINK_FOLLOW: a link to a symbolic link would be a link to a name, not
 * to the bytes. */
static bool bring_in(struct intake *self, struct error *error)
{
    self->from = open(self->path, O_RDONLY | O_CLOEXEC);
    if (self->from < 0)
        return path_failed(self->path, error);
    if (!make_temporary(self, error))
        return false;
    self->brought = ioctl(self->to, FICLONE, self->from) == 0;
    if (self->brought)
        return true;
    unlink(self->temporary);
    self->brought =
        linkat(AT_FDCWD, self->path, AT_FDCWD, self->temporary, AT_SYMLINK_FOLLOW) == 0;
    if (self->brought)
        return true;
    shut(&self->to);
    return make_temporary(self, error);
}

static bool copy(struct intake *self, size_t most, struct error *error)
{
    for (size_t done = 0; done < most && !self->brought;) {
        ssize_t got = read(self->from, self->block, BLOCK);
        if (got < 0)
            return path_failed(self->path, error);
        if (got && !path_write_all(self->to, self->block, (size_t)got))
            return path_failed(self->temporary, error);
        self->brought = got == 0;
        done += (size_t)got;
    }
    return true;
}

static bool adopt(struct intake *self, struct error *error)
{
    if (memcmp(file_hash_id(self->hash, NULL), self->id, BLOB_ID) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: its content is not what was announced", self->path);
    return blob_adopt(self->store, self->temporary, self->id, error);
}

enum intake_state intake_step(struct intake *self, size_t most, struct error *error)
{
    if (blob_has(self->store, self->id, NULL))
        return INTAKE_DONE;
    if (!self->brought &&
        !((self->from >= 0 || bring_in(self, error)) && copy(self, most, error)))
        return INTAKE_FAILED;
    if (!self->brought)
        return INTAKE_MORE;
    if (!self->hash && !(self->hash = file_hash_open(self->temporary, error)))
        return INTAKE_FAILED;
    enum intake_state state = file_hash_step(self->hash, most, error);
    return state == INTAKE_DONE && !adopt(self, error) ? INTAKE_FAILED : state;
}

bool blob_import(struct blob_store *store, const char *path, const uint8_t id[BLOB_ID],
                 struct error *error)
{
    struct intake *intake = intake_new(store, path, id);
    enum intake_state state = INTAKE_MORE;
    while (state == INTAKE_MORE)
        state = intake_step(intake, SIZE_MAX, error);
    intake_destroy(&intake);
    return state == INTAKE_DONE;
}
