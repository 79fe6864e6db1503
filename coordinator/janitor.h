/* The janitor: an actor that walks over the blob files, slowly, for ever.
 *
 *   old       a file nobody was told of for the grace period: perhaps nothing names it
 *   damaged   its bytes are not what its name says (every file is read once in scrub-days)
 *
 * It removes nothing: it tells the loop, which alone knows what is named, and by whom.
 */
#ifndef FARM_JANITOR_H
#define FARM_JANITOR_H

#include <czmq.h>

#include "proto/files/blob.h"

struct janitor_options {
    const char *state; /* folder; borrowed */
    int64_t grace_s;   /* since a file was stored or last offered */
    int64_t scrub_s;   /* 0: files are not read */
    int64_t round_s;   /* between two walks for old files, at least */
};

struct janitor;
struct janitor *janitor_new(const struct janitor_options *options);
void janitor_destroy(struct janitor **self);

zsock_t *janitor_socket(struct janitor *self);

/* What it found next; false when there is nothing. */
bool janitor_found(struct janitor *self, uint8_t id[BLOB_ID], bool *damaged);

/* Whether the file was not touched since the grace period began: asked again by whoever
 * removes it, at the last moment. */
bool janitor_is_old(const char *path, int64_t grace_s);

#endif
