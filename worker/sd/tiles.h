/* The VAE in tiles, for pictures whose tensors the device's memory would not hold.
 *
 * The convention of diffusers' AutoencoderKL.enable_tiling: tiles of the size the VAE was
 * trained on, every three quarters of one; a quarter of each is blended, linearly, with its
 * neighbours above and to the left. A picture of one tile is what it would be without.
 */
#ifndef FARM_TILES_H
#define FARM_TILES_H

#include "worker/sd/plans.h"

/* latents [h, w, c] as the sampler left them -> pixels [h f, w f, 3], about -1 .. 1. `tile`:
 * latents a side of a tile, at least 4. */
bool tiles_decode(struct plans *plans, size_t tile, const float *latents, size_t h,
                  size_t w, float *pixels, struct error *error);

/* picture [h f, w f, 3] in -1 .. 1 -> moments [h, w, 2c]. */
bool tiles_encode(struct plans *plans, size_t tile, const float *picture, size_t h,
                  size_t w, float *moments, struct error *error);

/* Tiles of the VAE's own size. */
size_t tiles_side(const struct vae *vae);

/* Whole where `tiled` does not ask otherwise and the device's memory allows; in tiles of
 * tiles_side() then. The second rounds to bytes. */
bool tiles_values(struct plans *plans, bool tiled, const float *latents, size_t h,
                  size_t w, float *pixels, struct error *error);
bool tiles_picture(struct plans *plans, bool tiled, const float *latents, size_t h,
                   size_t w, uint8_t *rgb, struct error *error);
bool tiles_moments(struct plans *plans, bool tiled, const float *picture, size_t h,
                   size_t w, float *moments, struct error *error);

#endif
