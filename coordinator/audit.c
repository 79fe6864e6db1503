#include "coordinator/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/path.h"

enum { LINE_MOST = 2000 };

struct audit {
    int file;
    char *path;
    bool unsynced; /* lines were written since audit_take_unsynced */
    struct audit_chain chain;
};

/* Walks the lines. `cut`: the last one has no end. */
static bool walk(FILE *file, const char *path, struct audit_chain *into, bool *cut,
                 struct error *error)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t got;
    bool ok = true;
    *cut = false;
    while ((got = getline(&line, &room, file)) > 0) {
        *cut = line[got - 1] != '\n';
        size_t size = (size_t)got - !*cut;
        /* The first that does not follow is the one told. */
        ok = audit_chain_follow(into, line, size, ok ? error : NULL) && ok;
    }
    free(line);
    return ok || error_prefix(error, "%s", path);
}

struct audit *audit_open(const char *path, struct error *error)
{
    struct audit *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    bool cut = false;
    struct error broken = {0};
    self->path = path_format("%s", path);
    self->file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    FILE *old = self->file < 0 ? NULL : fopen(path, "re");
    if (!old) {
        error_set(error, "%s: %s", path, strerror(errno));
        audit_close(&self);
        return NULL;
    }
    if (!walk(old, path, &self->chain, &cut, &broken))
        log_error("%s", broken.text);
    fclose(old);
    if (cut && write(self->file, "\n", 1) != 1)
        log_error("%s: %s", path, strerror(errno));
    return self;
}

void audit_close(struct audit **self)
{
    if (!*self)
        return;
    if ((*self)->file >= 0)
        close((*self)->file);
    free((*self)->path);
    free(*self);
    *self = NULL;
}

void audit_write(struct audit *self, const char *format, ...)
{
    char line[LINE_MOST + AUDIT_HASH + 2];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    size_t size = strftime(line, LINE_MOST, "%Y-%m-%dT%H:%M:%SZ ", &utc);

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + size, LINE_MOST - size - 3, format, arguments);
    va_end(arguments);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    strcat(line, " #");
    size = strlen(line);
    audit_chain_add(&self->chain, line, size, line + size);
    size += AUDIT_HASH - 1;
    line[size++] = '\n';
    if (write(self->file, line, size) != (ssize_t)size)
        log_error("%s: %s; the line was: %.*s", self->path, strerror(errno),
                  (int)size - 1, line);
    self->unsynced = true;
}

int audit_take_unsynced(struct audit *self)
{
    bool unsynced = self->unsynced;
    self->unsynced = false;
    return unsynced ? self->file : -1;
}

bool audit_read(const struct audit *self, uint64_t offset, size_t most,
                struct buffer *into, uint64_t *size, struct error *error)
{
    struct stat found;
    if (fstat(self->file, &found) != 0)
        return error_set(error, "%s: %s", self->path, strerror(errno));
    *size = (uint64_t)found.st_size;
    uint64_t left = offset < *size ? *size - offset : 0;
    if (left < most)
        most = (size_t)left;
    if (!most)
        return true;
    uint8_t *room = buffer_room(into, most, error);
    ssize_t got = room ? pread(self->file, room, most, (off_t)offset) : -1;
    if (got < 0)
        return room ? error_set(error, "%s: %s", self->path, strerror(errno)) : false;
    into->size += (size_t)got;
    return true;
}

bool audit_check(const char *path, struct audit_chain *into, struct error *error)
{
    bool cut;
    *into = (struct audit_chain){0};
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || error_set(error, "%s: %s", path, strerror(errno));
    bool ok = walk(file, path, into, &cut, error);
    fclose(file);
    return ok;
}
