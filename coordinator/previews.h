/* Pictures of what is being rendered: the newest of each task, for a few seconds, in memory
 * alone. Watchers read them in the order of their numbers, each at its own pace. */
#ifndef FARM_PREVIEWS_H
#define FARM_PREVIEWS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/farm.pb-c.h"

enum { PREVIEWS_MOST = 256, PREVIEWS_MS = 10000 };

struct preview {
    uint8_t job[16], owner[32];
    uint64_t index;     /* of the task */
    uint64_t number;    /* from 1, in the order they came */
    int64_t at;         /* when */
    Farm__Event *event; /* owned */
};

struct previews {
    struct preview item[PREVIEWS_MOST]; /* by number */
    size_t count;
    uint64_t last;
};

/* All zeros is an empty one. */
void previews_clear(struct previews *self);

/* Takes a copy of an event with a preview, of the job submitted by `owner`. Those before it
 * of the same task, older ones than PREVIEWS_MS and more than PREVIEWS_MOST go. */
void previews_put(struct previews *self, const Farm__Event *event,
                  const uint8_t owner[32], int64_t now);

/* The first after that number; NULL when there is none. */
const struct preview *previews_after(const struct previews *self, uint64_t number);

#endif
