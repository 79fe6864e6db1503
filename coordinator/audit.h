/* The audit: one line for each change of who may do what and of what is to be done, and for
 * each attempt at what is not allowed. Lines are only ever appended, and chained
 * (proto/audit_chain.h).
 */
#ifndef FARM_AUDIT_H
#define FARM_AUDIT_H

#include "base/buffer.h"
#include "proto/audit_chain.h"

struct audit;

/* Opens or makes the file (0600) and goes on from its last line; a last line that a crash
 * cut is ended and stays as it is. A chain that is broken is logged and gone on with. */
struct audit *audit_open(const char *path, struct error *error);
void audit_close(struct audit **self);

/* Appends a line; control characters become '?'. A line that cannot be written is logged
 * in its stead. */
void audit_write(struct audit *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The descriptor to be synced before what these lines tell of is committed; -1 when no line
 * was written since the last call. */
int audit_take_unsynced(struct audit *self);

/* Appends at most `most` bytes of the file from an offset on; *size becomes the file's. */
bool audit_read(const struct audit *self, uint64_t offset, size_t most,
                struct buffer *into, uint64_t *size, struct error *error);

/* Whether every line follows from the one before; names the first that does not. */
bool audit_check(const char *path, struct audit_chain *into, struct error *error);

#endif
