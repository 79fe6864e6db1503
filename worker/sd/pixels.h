/* Models that denoise pixels themselves: no text, no VAE. */
#ifndef FARM_PIXELS_H
#define FARM_PIXELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* x [h w, c] as the sampler left it, about -1 .. 1, to rgb [h w, 3], rounded half to even.
 * One channel is gray; of more than three the first three count. False when a value is not
 * finite. */
bool pixels_to_rgb(const float *x, size_t places, size_t c, uint8_t *rgb);

#endif
