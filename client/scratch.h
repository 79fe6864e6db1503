/* The hidden folder in a folder of results in which files lie until they are whole. */
#ifndef FARM_SCRATCH_H
#define FARM_SCRATCH_H

#include <stdbool.h>

#include "base/error.h"

struct scratch {
    char *path; /* heap; NULL: none */
    int lock;   /* of the folder itself, as long as it is ours; -1: none */
};

/* Makes FOLDER/.clfarm-XXXXXX in a folder that is there, for this process alone, and removes
 * those that processes left which were killed. `self`: zeros. */
bool scratch_open(struct scratch *self, const char *folder, struct error *error);

/* Removes it with all that is in it; one that was never opened (zeros) is no matter. */
void scratch_close(struct scratch *self);

#endif
