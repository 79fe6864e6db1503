/* The part of a picture round its mask, and how it is brought to another shape: what A1111
 * calls "only masked" and diffusers padding_mask_crop.
 */
#ifndef FARM_REGION_H
#define FARM_REGION_H

#include "worker/sd/resize.h"

struct region {
    size_t x, y, width, height;
};

/* Round all of the grey mask that is not black, `padding` pixels wider, then widened to the
 * ratio of width to height as far as the picture goes. ERROR_INPUT for a black mask. */
bool region_find(struct region *self, const struct pixels *mask, size_t padding,
                 size_t width, size_t height, struct error *error);

/* The region of `from` at the size that `into` says: its ratio kept, edges drawn out over
 * what is then missing (A1111's resize mode 2, diffusers' "fill"). */
bool region_take(struct pixels *into, const struct pixels *from,
                 const struct region *region, struct error *error);

/* `from` at the size that `into` says, its ratio kept, what sticks out cut off (A1111's
 * resize mode 1, diffusers' "crop"). */
bool region_fit(struct pixels *into, const struct pixels *from, struct error *error);

#endif
