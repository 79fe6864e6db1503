/* What went wrong, as one sentence for a person and a kind for a program.
 *
 * A function that can fail takes `struct error *` last and returns false or NULL. The
 * sentence names what failed, on which value, and what would help. A null pointer is
 * taken: the caller then does not care why.
 */
#ifndef FARM_ERROR_H
#define FARM_ERROR_H

#include <stdbool.h>

enum error_kind {
    ERROR_FAILED,      /* anything without a kind of its own */
    ERROR_INPUT,       /* what the caller gave is wrong; repeating it cannot help */
    ERROR_UNREACHABLE, /* nobody answers */
    ERROR_DENIED,      /* the key or role does not permit it */
    ERROR_NOT_FOUND,   /* no such job, model, key, blob */
    ERROR_BUSY,        /* not now: locked, full, restarting; repeating it may help */
    ERROR_MEMORY,      /* device or host memory is not enough for this size */
    ERROR_DEVICE,      /* an OpenCL call failed or a result was not finite */
};

struct error {
    enum error_kind kind;
    char text[500];
};

/* Both return false, so that `return error_set(...)` ends a failing function. */
bool error_set(struct error *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool error_set_kind(struct error *self, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "format: " before the text that is there; keeps the kind. Returns false. */
bool error_prefix(struct error *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
