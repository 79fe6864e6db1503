#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

char *path_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *path = NULL;
    if (vasprintf(&path, format, arguments) < 0)
        abort();
    va_end(arguments);
    return path;
}

static char *xdg_folder(const char *variable, const char *below_home)
{
    const char *base = getenv(variable);
    if (base && base[0] == '/')
        return path_format("%s/clfarm", base);
    const char *home = getenv("HOME");
    return path_format("%s/%s/clfarm", home && home[0] ? home : "/", below_home);
}

char *path_state(void)
{
    return xdg_folder("XDG_STATE_HOME", ".local/state");
}

char *path_config(void)
{
    return xdg_folder("XDG_CONFIG_HOME", ".config");
}

char *path_cache(void)
{
    return xdg_folder("XDG_CACHE_HOME", ".cache");
}

/* A folder's own name is in the one above. */
static bool sync_above(const char *path, struct error *error)
{
    const char *slash = strrchr(path, '/');
    char *above = slash == path ? path_format("/")
                  : slash       ? path_format("%.*s", (int)(slash - path), path)
                                : path_format(".");
    bool ok = path_sync_folder(above, error);
    free(above);
    return ok;
}

bool path_make_folders(const char *path, unsigned mode, struct error *error)
{
    if (!path[0])
        return error_set(error, "a folder without a name cannot be made");
    char *copy = path_format("%s", path);
    bool ok = true;
    for (char *slash = copy + 1; ok && slash; slash++) {
        slash = strchr(slash, '/');
        if (slash)
            *slash = 0;
        if (mkdir(copy, mode) == 0)
            ok = sync_above(copy, error);
        else if (errno != EEXIST)
            ok = error_set(error, "%s: cannot make the folder: %s", copy,
                           strerror(errno));
        if (!slash)
            break;
        *slash = '/';
    }
    struct stat made;
    if (ok && (stat(path, &made) != 0 || !S_ISDIR(made.st_mode)))
        ok = error_set(error, "%s: is not a folder", path);
    free(copy);
    return ok;
}

bool path_read(const char *path, size_t limit, struct buffer *into, struct error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return error_set_kind(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_FAILED,
                              "%s: %s", path, strerror(errno));
    size_t start = into->size;
    for (;;) {
        uint8_t *room = buffer_room(into, 65536, error);
        ssize_t got = room ? read(file, room, 65536) : -1;
        if (got < 0 && room)
            error_set(error, "%s: %s", path, strerror(errno));
        if (got > 0)
            into->size += (size_t)got;
        if (into->size - start > limit) {
            error_set_kind(error, ERROR_INPUT, "%s: larger than %zu bytes", path,
                           limit);
            got = -1;
        }
        if (got <= 0) {
            close(file);
            return got == 0;
        }
    }
}

static int remove_entry(const char *path, const struct stat *status, int type,
                        struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    remove(path);
    return 0;
}

void path_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

bool path_sync_folder(const char *path, struct error *error)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = folder >= 0 && fsync(folder) == 0;
    if (!ok)
        error_set(error, "%s: cannot sync the folder: %s", path, strerror(errno));
    if (folder >= 0)
        close(folder);
    return ok;
}

unsigned path_shared_mode(void)
{
    mode_t forbidden = umask(077);
    umask(forbidden);
    return 0666 & ~(unsigned)forbidden;
}

bool path_write_all(int file, const void *data, size_t size)
{
    const uint8_t *from = data;
    while (size) {
        ssize_t written = write(file, from, size);
        if (written < 0)
            return false;
        from += written;
        size -= (size_t)written;
    }
    return true;
}

bool path_write(const char *path, const void *data, size_t size, unsigned mode,
                struct error *error)
{
    char *temporary = path_format("%s.XXXXXX", path);
    char *copy = path_format("%s", path);
    int file = mkostemp(temporary, O_CLOEXEC);
    bool ok = file >= 0 && fchmod(file, mode) == 0 &&
              path_write_all(file, data, size) && fsync(file) == 0;
    if (file >= 0 && close(file) != 0)
        ok = false;
    ok = ok && rename(temporary, path) == 0;
    if (!ok) {
        error_set_kind(error, errno == ENOSPC ? ERROR_BUSY : ERROR_FAILED, "%s: %s",
                       path, strerror(errno));
        if (file >= 0)
            unlink(temporary);
    }
    ok = ok && path_sync_folder(dirname(copy), error);
    free(copy);
    free(temporary);
    return ok;
}

bool path_failed(const char *path, struct error *error)
{
    int why = errno;
    return error_set_kind(error,
                          why == ENOENT                    ? ERROR_NOT_FOUND
                          : why == ENOSPC || why == EDQUOT ? ERROR_BUSY
                                                           : ERROR_FAILED,
                          "%s: %s", path, strerror(why));
}

int path_lock(const char *path, bool wait, struct error *error)
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) {
        error_set(error, "%s: %s", path, strerror(errno));
        return -1;
    }
    if (flock(file, LOCK_EX | (wait ? 0 : LOCK_NB)) != 0) {
        error_set_kind(
            error, errno == EWOULDBLOCK ? ERROR_BUSY : ERROR_FAILED, "%s: %s", path,
            errno == EWOULDBLOCK ? "another process holds the lock" : strerror(errno));
        close(file);
        return -1;
    }
    return file;
}
