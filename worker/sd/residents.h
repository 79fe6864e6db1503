/* The models on a device: the one used last, and those used before it as far as its memory
 * holds them, and on processors as far as the machine has memory left. When it runs short,
 * whichever was not used for longest goes first.
 */
#ifndef FARM_RESIDENTS_H
#define FARM_RESIDENTS_H

#include "worker/sd/footprint.h"

enum { RESIDENTS_MOST = 16 };

struct resident {
    uint8_t id[32]; /* of the model's content */
    enum dtype dtype;
    size_t bytes; /* that it takes in all, as planned when it came */
    struct pipeline *pipeline;
};

/* The first is the one used last. */
struct residents {
    struct gpu *gpu; /* borrowed */
    struct resident item[RESIDENTS_MOST];
    size_t count;
};

/* The model, which is then the one used last; NULL where it is not there. Borrowed until
 * another is brought. */
struct pipeline *residents_find(struct residents *self, const uint8_t id[32],
                                enum dtype dtype);

/* The same where it is the one used last, else NULL. */
struct pipeline *residents_first(const struct residents *self, const uint8_t id[32],
                                 enum dtype dtype);

/* Loads one that is not there. Others leave until `bytes`, what it will take in all, are
 * free, or until it can be loaded; later they leave where it finds too little memory for a
 * plan. The residents stay where they are meanwhile. */
struct pipeline *residents_bring(struct residents *self, const uint8_t id[32],
                                 enum dtype dtype, const struct model_files *files,
                                 size_t bytes, struct error *error);

/* Bytes of the device's memory for weights and arenas of all of them: as planned, or what is
 * taken already where that is more, for larger pictures or sets of LoRAs. */
size_t residents_planned(const struct residents *self);
void residents_clear(struct residents *self);

#endif
