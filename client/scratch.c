/* Who lives holds a lock on its folder, so that a folder which can be locked is nobody's.
 * Between making one and locking it another process may take it for such: what was locked
 * must still be what the name means. Where folders cannot be locked (NFS) none is removed
 * but one's own.
 */
#include "client/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"

static const char prefix[] = ".clfarm-";

static bool is_still(const char *path, int folder)
{
    struct stat held, named;
    return fstat(folder, &held) == 0 && lstat(path, &named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static void remove_leftovers(const char *folder)
{
    DIR *entries = opendir(folder);
    struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0)
            continue;
        char *path = path_format("%s/%s", folder, entry->d_name);
        int left = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (left >= 0 && flock(left, LOCK_EX | LOCK_NB) == 0 && is_still(path, left))
            path_remove_tree(path);
        if (left >= 0)
            close(left);
        free(path);
    }
    if (entries)
        closedir(entries);
}

/* OURS, or another process takes it for a leftover; UNLOCKED where that cannot be told. */
enum claim { OURS, LOST, UNLOCKED };

static enum claim claim(struct scratch *self)
{
    self->lock = open(self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->lock < 0)
        return errno == ENOENT ? LOST : UNLOCKED;
    if (flock(self->lock, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? LOST : UNLOCKED;
    return is_still(self->path, self->lock) ? OURS : LOST;
}

bool scratch_open(struct scratch *self, const char *folder, struct error *error)
{
    remove_leftovers(folder);
    do {
        scratch_close(self);
        self->path = path_format("%s/%sXXXXXX", folder, prefix);
        self->lock = -1;
        if (!mkdtemp(self->path)) {
            error_set_kind(error, ERROR_INPUT, "%s: cannot be written to: %s", folder,
                           strerror(errno));
            free(self->path);
            self->path = NULL;
            return false;
        }
    } while (claim(self) == LOST);
    return true;
}

void scratch_close(struct scratch *self)
{
    if (!self->path)
        return;
    path_remove_tree(self->path);
    if (self->lock >= 0)
        close(self->lock);
    free(self->path);
    *self = (struct scratch){NULL, -1};
}
