/* Loaded before libc (LD_PRELOAD): writes down what a process does to files below one folder,
 * so that tests/system/power.py can rebuild that folder as a power cut would have left it.
 *
 *     POWER_FOLDER=/state POWER_JOURNAL=/elsewhere/journal LD_PRELOAD=libpowershim.so program
 *
 * A record is written before the call returns, in one write to a file opened for appending:
 *
 *     struct record | first path | second path or the bytes written
 *
 * Files are told by inode, folders by path. What is not called here is not seen: programs
 * that map files for writing or use io_uring are not for this. (SQLite maps only its
 * shared-memory file, which no power cut needs to keep.)
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    CREATED,
    WROTE,
    CUT,
    SYNCED,
    SYNCED_FOLDER,
    SYNCED_ALL,
    RENAMED,
    LINKED,
    REMOVED,
    MADE_FOLDER
};

struct record {
    uint32_t kind, first, second;
    uint32_t unused;
    uint64_t inode, offset;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char folder[4096];

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(void)
{
    const char *where = getenv("POWER_FOLDER"), *into = getenv("POWER_JOURNAL");
    if (!where || !into)
        return;
    snprintf(folder, sizeof folder, "%s", where);
    journal = REAL(open)(into, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_ours(const char *path)
{
    size_t size = strlen(folder);
    return size && strncmp(path, folder, size) == 0 &&
           (path[size] == '/' || !path[size]);
}

/* The path of a descriptor; empty when it is none of ours. */
static void path_of(int file, char path[4096])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, 4095);
    path[size > 0 ? size : 0] = 0;
    char *gone = strstr(path, " (deleted)");
    if (gone)
        *gone = 0;
    if (!is_ours(path))
        path[0] = 0;
}

static void note_locked(enum kind kind, uint64_t inode, uint64_t offset,
                        const void *first, size_t first_size, const void *second,
                        size_t second_size)
{
    struct record record = {
        kind, (uint32_t)first_size, (uint32_t)second_size, 0, inode, offset};
    struct iovec parts[] = {{&record, sizeof record},
                            {(void *)(uintptr_t)first, first_size},
                            {(void *)(uintptr_t)second, second_size}};
    if (journal >= 0 && REAL(writev)(journal, parts, 3) < 0)
        abort();
}

static void note(enum kind kind, uint64_t inode, uint64_t offset, const void *first,
                 size_t first_size, const void *second, size_t second_size)
{
    int before = errno;
    pthread_mutex_lock(&lock);
    note_locked(kind, inode, offset, first, first_size, second, second_size);
    pthread_mutex_unlock(&lock);
    errno = before;
}

static void note_paths(enum kind kind, uint64_t inode, const char *first,
                       const char *second)
{
    note(kind, inode, 0, first, strlen(first), second, strlen(second));
}

static uint64_t inode_of(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 ? found.st_ino : 0;
}

/* A file that was opened: told when this made it, or emptied it. */
static int opened(int file, const char *given, int flags, int existed)
{
    char path[4096];
    struct stat found;
    (void)given;
    if (file < 0)
        return file;
    int before = errno;
    path_of(file, path);
    if (path[0] && fstat(file, &found) == 0 && S_ISREG(found.st_mode)) {
        if (!existed)
            note_paths(CREATED, found.st_ino, path, "");
        else if (flags & O_TRUNC)
            note(CUT, found.st_ino, 0, "", 0, "", 0);
    }
    errno = before;
    return file;
}

static int exists(const char *path)
{
    int before = errno, here = access(path, F_OK) == 0;
    errno = before;
    return here;
}

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...)                                         \
    {                                                                                  \
        va_list arguments;                                                             \
        va_start(arguments, flags);                                                    \
        mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;                 \
        va_end(arguments);                                                             \
        int existed = exists(path);                                                    \
        return opened(REAL(name)(path, flags, mode), path, flags, existed);            \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                   \
    int name(int at, const char *path, int flags, ...)                                 \
    {                                                                                  \
        va_list arguments;                                                             \
        va_start(arguments, flags);                                                    \
        mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;                 \
        va_end(arguments);                                                             \
        int existed = faccessat(at, path, F_OK, 0) == 0;                               \
        return opened(REAL(name)(at, path, flags, mode), path, flags, existed);        \
    }
OPENAT(openat)
OPENAT(openat64)

#define TEMPORARY(name)                                                                \
    int name(char *path, int flags)                                                    \
    {                                                                                  \
        return opened(REAL(name)(path, flags), path, flags, 0);                        \
    }
TEMPORARY(mkostemp)
TEMPORARY(mkostemp64)

static void wrote(int file, const void *data, ssize_t size, off_t offset)
{
    char path[4096];
    struct stat found;
    if (size <= 0)
        return;
    int before = errno;
    path_of(file, path);
    if (path[0] && fstat(file, &found) == 0 && S_ISREG(found.st_mode)) {
        if (offset < 0) /* the file's own position is behind what was written */
            offset = lseek(file, 0, SEEK_CUR) - size;
        note(WROTE, found.st_ino, (uint64_t)offset, "", 0, data, (size_t)size);
    }
    errno = before;
}

ssize_t write(int file, const void *data, size_t size)
{
    ssize_t done = REAL(write)(file, data, size);
    wrote(file, data, done, -1);
    return done;
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset)
{
    ssize_t done = REAL(pwrite)(file, data, size, offset);
    wrote(file, data, done, offset);
    return done;
}

ssize_t pwrite64(int file, const void *data, size_t size, off_t offset)
{
    ssize_t done = REAL(pwrite64)(file, data, size, offset);
    wrote(file, data, done, offset);
    return done;
}

#define TRUNCATE(name)                                                                 \
    int name(int file, off_t size)                                                     \
    {                                                                                  \
        char path[4096];                                                               \
        struct stat found;                                                             \
        int done = REAL(name)(file, size);                                             \
        path_of(file, path);                                                           \
        if (done == 0 && path[0] && fstat(file, &found) == 0)                          \
            note(CUT, found.st_ino, (uint64_t)size, "", 0, "", 0);                     \
        return done;                                                                   \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* The lock is held meanwhile: what another thread writes during a sync is not covered. */
static int synced(int file, int (*sync)(int), int everything)
{
    char path[4096];
    struct stat found;
    path_of(file, path);
    if (!path[0] || fstat(file, &found) != 0)
        return sync(file);
    pthread_mutex_lock(&lock);
    int done = sync(file), before = errno;
    if (done == 0 && everything)
        note_locked(SYNCED_ALL, 0, 0, "", 0, "", 0);
    else if (done == 0 && S_ISDIR(found.st_mode))
        note_locked(SYNCED_FOLDER, 0, 0, path, strlen(path), "", 0);
    else if (done == 0)
        note_locked(SYNCED, found.st_ino, 0, "", 0, "", 0);
    pthread_mutex_unlock(&lock);
    errno = before;
    return done;
}

#define SYNC(name, everything)                                                         \
    int name(int file)                                                                 \
    {                                                                                  \
        return synced(file, REAL(name), everything);                                   \
    }
SYNC(fsync, 0)
SYNC(fdatasync, 0)
SYNC(syncfs, 1)

int rename(const char *from, const char *to)
{
    int done = REAL(rename)(from, to);
    if (done == 0 && (is_ours(from) || is_ours(to)))
        note_paths(RENAMED, inode_of(to), from, to);
    return done;
}

int link(const char *from, const char *to)
{
    int done = REAL(link)(from, to);
    if (done == 0 && is_ours(to))
        note_paths(LINKED, inode_of(to), from, to);
    return done;
}

int unlink(const char *path)
{
    int done = REAL(unlink)(path);
    if (done == 0 && is_ours(path))
        note_paths(REMOVED, 0, path, "");
    return done;
}

int mkdir(const char *path, mode_t mode)
{
    int done = REAL(mkdir)(path, mode);
    if (done == 0 && is_ours(path))
        note_paths(MADE_FOLDER, 0, path, "");
    return done;
}
