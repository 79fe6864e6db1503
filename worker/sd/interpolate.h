/* Changing the size of latents as torch.nn.functional.interpolate does, corners unaligned.
 */
#ifndef FARM_INTERPOLATE_H
#define FARM_INTERPOLATE_H

#include <stddef.h>

#include "base/error.h"

enum interpolation {
    INTERPOLATE_NEAREST,
    INTERPOLATE_NEAREST_EXACT,
    INTERPOLATE_BILINEAR,
    INTERPOLATE_BILINEAR_SMOOTH, /* antialias=True: filters widen where sizes shrink */
    INTERPOLATE_BICUBIC,
    INTERPOLATE_BICUBIC_SMOOTH,
};

/* from [h, w, c] -> into [to_h, to_w, c]. */
bool interpolate(float *into, size_t to_h, size_t to_w, const float *from, size_t h,
                 size_t w, size_t c, enum interpolation how, struct error *error);

#endif
