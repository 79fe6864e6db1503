/* A blob appears under its name only by rename from new/, after its bytes were verified:
 * whoever finds the name may trust the content. Two processes that store the same blob
 * write two files and the second rename replaces equal bytes by equal bytes.
 *
 * FOLDER/lock is held shared by everybody who has the store open; only who gets it alone
 * may take unfinished files for leftovers of a crash.
 */
#include "proto/files/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/path.h"

enum { PARTIAL_KEPT_S = 7 * 24 * 3600 };

struct blob_store {
    char *folder;
    int handle; /* of the folder, for syncfs */
    int lock;
};

void blob_id(const void *data, size_t size, uint8_t id[BLOB_ID])
{
    crypto_generichash(id, BLOB_ID, data, size, NULL, 0);
}

void blob_format(const uint8_t id[BLOB_ID], char text[BLOB_TEXT])
{
    sodium_bin2hex(text, BLOB_TEXT, id, BLOB_ID);
}

bool blob_parse(const char *text, uint8_t id[BLOB_ID], struct error *error)
{
    size_t size = 0;
    if (strlen(text) != BLOB_TEXT - 1 ||
        sodium_hex2bin(id, BLOB_ID, text, BLOB_TEXT - 1, NULL, &size, NULL) != 0 ||
        size != BLOB_ID)
        return error_set_kind(error, ERROR_INPUT,
                              "\"%.70s\" is no blob id: %d hexadecimal digits", text,
                              BLOB_TEXT - 1);
    return true;
}

static bool is_resumable(const char *name)
{
    size_t length = strlen(name);
    return length == BLOB_TEXT - 1 + 5 && strcmp(name + BLOB_TEXT - 1, ".part") == 0;
}

static void empty_new(const char *folder)
{
    char *path = path_format("%s/new", folder);
    DIR *entries = opendir(path);
    struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        struct stat found;
        int at = dirfd(entries);
        if (fstatat(at, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(found.st_mode))
            continue;
        if (is_resumable(entry->d_name) && time(NULL) - found.st_mtime < PARTIAL_KEPT_S)
            continue;
        unlinkat(at, entry->d_name, 0);
    }
    if (entries)
        closedir(entries);
    free(path);
}

struct blob_store *blob_store_open(const char *folder, struct error *error)
{
    struct blob_store *self = calloc(1, sizeof *self);
    char *new_folder = path_format("%s/new", folder);
    char *lock = path_format("%s/lock", folder);
    bool ok = false;
    if (!self)
        abort();
    *self = (struct blob_store){path_format("%s", folder), -1, -1};
    if (sodium_init() < 0) {
        error_set(error, "libsodium does not start");
        goto out;
    }
    if (!path_make_folders(new_folder, 0700, error))
        goto out;
    self->handle = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    self->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->handle < 0 || self->lock < 0) {
        path_failed(folder, error);
        goto out;
    }
    if (flock(self->lock, LOCK_EX | LOCK_NB) == 0)
        empty_new(folder);
    if (flock(self->lock, LOCK_SH) != 0) {
        path_failed(lock, error);
        goto out;
    }
    ok = true;
out:
    free(new_folder);
    free(lock);
    if (!ok)
        blob_store_close(&self);
    return self;
}

void blob_store_close(struct blob_store **self_p)
{
    struct blob_store *self = *self_p;
    if (!self)
        return;
    if (self->handle >= 0)
        close(self->handle);
    if (self->lock >= 0)
        close(self->lock);
    free(self->folder);
    free(self);
    *self_p = NULL;
}

char *blob_path(const struct blob_store *self, const uint8_t id[BLOB_ID])
{
    char text[BLOB_TEXT];
    blob_format(id, text);
    return path_format("%s/%.2s/%s", self->folder, text, text);
}

char *blob_new_path(const struct blob_store *self, const char *name)
{
    return path_format("%s/new/%s", self->folder, name);
}

bool blob_has(const struct blob_store *self, const uint8_t id[BLOB_ID], uint64_t *size)
{
    char *path = blob_path(self, id);
    struct stat found;
    bool has = stat(path, &found) == 0 && S_ISREG(found.st_mode);
    if (has && size)
        *size = (uint64_t)found.st_size;
    free(path);
    return has;
}

bool blob_adopt(struct blob_store *self, const char *temporary,
                const uint8_t id[BLOB_ID], struct error *error)
{
    char text[BLOB_TEXT];
    blob_format(id, text);
    char *folder = path_format("%s/%.2s", self->folder, text);
    char *path = path_format("%s/%s", folder, text);
    bool ok = true;
    if (!blob_has(self, id, NULL))
        ok = ((mkdir(folder, 0700) == 0 || errno == EEXIST) &&
              rename(temporary, path) == 0) ||
             path_failed(path, error);
    /* rename() leaves the old name when both are links to one file. */
    unlink(temporary);
    free(path);
    free(folder);
    return ok;
}

/* An empty new file under a name nobody has. */
static int make_temporary(const struct blob_store *self, char **path,
                          struct error *error)
{
    *path = blob_new_path(self, "blob-XXXXXX");
    int file = mkostemp(*path, O_CLOEXEC);
    if (file < 0)
        path_failed(*path, error);
    return file;
}

bool blob_put(struct blob_store *self, const void *data, size_t size, bool sync,
              uint8_t id[BLOB_ID], struct error *error)
{
    char *temporary = NULL, *path = NULL;
    int file = -1;
    bool ok = false;
    blob_id(data, size, id);
    if (!blob_has(self, id, NULL)) {
        file = make_temporary(self, &temporary, error);
        if (file < 0)
            goto out;
        if (!path_write_all(file, data, size)) {
            path_failed(temporary, error);
            goto out;
        }
        if (sync && fsync(file) != 0) {
            path_failed(temporary, error);
            goto out;
        }
        if (!blob_adopt(self, temporary, id, error))
            goto out;
    }
    ok = true;
    if (sync) { /* one that was here may have been left unsynced by whoever wrote it */
        path = blob_path(self, id);
        int stored = open(path, O_RDONLY | O_CLOEXEC);
        ok = (stored >= 0 && fsync(stored) == 0) || path_failed(path, error);
        if (stored >= 0)
            close(stored);
        *strrchr(path, '/') = 0;
        ok = ok && path_sync_folder(path, error) &&
             path_sync_folder(self->folder, error);
    }
out:
    if (file >= 0)
        close(file);
    if (temporary && !ok)
        unlink(temporary);
    free(temporary);
    free(path);
    return ok;
}

bool blob_read(const struct blob_store *self, const uint8_t id[BLOB_ID],
               uint64_t offset, void *into, size_t size, struct error *error)
{
    char *path = blob_path(self, id);
    bool ok = false;
    struct stat found;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &found) != 0) {
        path_failed(path, error);
        goto out;
    }
    uint64_t end;
    if (__builtin_add_overflow(offset, size, &end) || end > (uint64_t)found.st_size) {
        error_set_kind(
            error, ERROR_INPUT, "%s: bytes %llu to +%zu lie beyond its end at %llu",
            path, (unsigned long long)offset, size, (unsigned long long)found.st_size);
        goto out;
    }
    for (size_t done = 0; done < size;) {
        ssize_t got =
            pread(file, (uint8_t *)into + done, size - done, (off_t)(offset + done));
        if (got <= 0) {
            error_set(error, "%s: %s", path, got ? strerror(errno) : "ends early");
            goto out;
        }
        done += (size_t)got;
    }
    ok = true;
out:
    if (file >= 0)
        close(file);
    free(path);
    return ok;
}

void blob_touch(const struct blob_store *self, const uint8_t id[BLOB_ID])
{
    char *path = blob_path(self, id);
    utimensat(AT_FDCWD, path, NULL, 0);
    free(path);
}

bool blob_remove(struct blob_store *self, const uint8_t id[BLOB_ID],
                 struct error *error)
{
    char *path = blob_path(self, id);
    bool ok = unlink(path) == 0 || errno == ENOENT || path_failed(path, error);
    free(path);
    return ok;
}

bool blob_store_sync(struct blob_store *self, struct error *error)
{
    return syncfs(self->handle) == 0 || path_failed(self->folder, error);
}
