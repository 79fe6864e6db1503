#include "coordinator/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/path.h"

enum { HASH = 16, HASH_TEXT = 2 * HASH + 1, LINE_MOST = 2000 };

struct audit {
    int file;
    char *path;
    char last[HASH_TEXT]; /* hash at the end of the last line; "" before the first */
};

static void chain(const char *last, const char *text, size_t size, char hash[HASH_TEXT])
{
    uint8_t bytes[HASH];
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, HASH);
    crypto_generichash_update(&state, (const uint8_t *)last, strlen(last));
    crypto_generichash_update(&state, (const uint8_t *)text, size);
    crypto_generichash_final(&state, bytes, HASH);
    sodium_bin2hex(hash, HASH_TEXT, bytes, HASH);
}

/* The hash a line ends with, or NULL when it does not end with one. */
static const char *hash_of(const char *line, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const char *hash = line + size - (HASH_TEXT - 1);
    return size > HASH_TEXT && hash[-1] == '#' && strspn(hash, digits) == HASH_TEXT - 1
               ? hash
               : NULL;
}

/* Walks the lines; `last` becomes the last whole line's hash. Calls it broken where a
 * line does not follow, unless a crash cut it. */
static bool walk(FILE *file, const char *path, bool strict, char last[HASH_TEXT],
                 bool *cut, struct error *error)
{
    char *line = NULL;
    size_t room = 0, number = 0;
    ssize_t got;
    bool ok = true;
    last[0] = 0;
    *cut = false;
    while (ok && (got = getline(&line, &room, file)) > 0) {
        size_t size = (size_t)got;
        char expected[HASH_TEXT];
        number++;
        *cut = line[size - 1] != '\n';
        if (!*cut)
            line[--size] = 0;
        const char *hash = hash_of(line, size);
        if (!hash)
            continue;
        chain(last, line, (size_t)(hash - line), expected);
        if (strict && memcmp(expected, hash, HASH_TEXT - 1) != 0)
            ok = error_set(error, "%s: line %zu was changed, or one before it removed",
                           path, number);
        memcpy(last, hash, HASH_TEXT - 1);
        last[HASH_TEXT - 1] = 0;
    }
    free(line);
    return ok;
}

struct audit *audit_open(const char *path, struct error *error)
{
    struct audit *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    bool cut = false;
    self->path = path_format("%s", path);
    self->file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    FILE *old = self->file < 0 ? NULL : fopen(path, "re");
    if (!old) {
        error_set(error, "%s: %s", path, strerror(errno));
        audit_close(&self);
        return NULL;
    }
    walk(old, path, false, self->last, &cut, NULL);
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
    char line[LINE_MOST + HASH_TEXT + 2];
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
    chain(self->last, line, size, self->last);
    memcpy(line + size, self->last, HASH_TEXT - 1);
    size += HASH_TEXT - 1;
    line[size++] = '\n';
    if (write(self->file, line, size) != (ssize_t)size)
        log_error("%s: %s; the line was: %.*s", self->path, strerror(errno),
                  (int)size - 1, line);
}

bool audit_check(const char *path, struct error *error)
{
    char last[HASH_TEXT];
    bool cut;
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || error_set(error, "%s: %s", path, strerror(errno));
    bool ok = walk(file, path, true, last, &cut, error);
    fclose(file);
    return ok;
}
