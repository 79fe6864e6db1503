/* Where the layers of a loaded model have their weights: in the mapped file, and on the
 * device. What adapters look up.
 */
#ifndef FARM_LAYER_SITES_H
#define FARM_LAYER_SITES_H

#include "opencl/ops.h"

struct layer_site {
    unsigned part; /* enum lora_part */
    char *name;    /* "down_blocks.0.attentions.0.proj_in"; owned by the list */
    struct host_tensor weight, bias; /* borrowed from the mapping */
    bool biased, conv, geglu;
    struct packed *packed; /* in the layer */
};

struct layer_sites {
    size_t count, capacity;
    struct layer_site *item;
};

/* Copies the site and its name. All zeros is an empty list. */
bool layer_sites_add(struct layer_sites *self, const struct layer_site *site,
                     struct error *error);
void layer_sites_clear(struct layer_sites *self);

#endif
