/* The audit: one line for each change of who may do what and of what is to be done.
 *
 *     2026-03-01T12:00:00Z joined key=... role=worker name=iris #0f3c...
 *
 * A line ends with the hash of the line before and its own text, so that a line that was
 * changed or taken out breaks the chain from there on. Lines are only ever appended.
 */
#ifndef FARM_AUDIT_H
#define FARM_AUDIT_H

#include "base/error.h"

struct audit;

/* Opens or makes the file (0600) and goes on from its last line; a last line that a crash
 * cut is ended and stays as it is. */
struct audit *audit_open(const char *path, struct error *error);
void audit_close(struct audit **self);

/* Appends a line; control characters become '?'. A line that cannot be written is logged
 * in its stead. */
void audit_write(struct audit *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether every line follows from the one before; names the first that does not. */
bool audit_check(const char *path, struct error *error);

#endif
