/* A worker's place in a farm: its key, and whom it works for, in its state folder. */
#ifndef FARM_WORKER_MEMBER_H
#define FARM_WORKER_MEMBER_H

#include "proto/farm.h"

struct member {
    struct keypair own;
    struct farm farm;
};

/* ERROR_NOT_FOUND when this worker never joined; says how to. */
bool member_load(struct member *self, const char *state, struct error *error);
/* Where a worker of that farm serves others, by its setting: NULL for "none"; "auto" is
 * this machine alone when the farm is on it, else every address. */
const char *member_peer_bind(const struct member *self, const char *setting);

void member_wipe(struct member *self);

/* Joins with a token (the text itself, a file's name, or "-" for stdin): makes a key in the
 * state folder when there is none, asks the farm, keeps what it answers. */
bool member_join(struct member *self, const char *state, const char *token,
                 struct error *error);

#endif
