/* The VAE's way from one image's latents to pixels, planned once for its size. */
#ifndef FARM_DECODER_H
#define FARM_DECODER_H

#include "worker/sd/vae.h"

struct decoder;

/* h x w latents; the VAE is borrowed for the life of it. */
struct decoder *decoder_new(struct gpu *gpu, enum dtype dtype, const struct vae *vae,
                            size_t h, size_t w, struct error *error);
void decoder_destroy(struct decoder **self);
bool decoder_fits(const struct decoder *self, size_t h, size_t w);

/* latents [h, w, c] as the sampler left them -> pixels [h f, w f, 3], about -1 .. 1.
 * ERROR_DEVICE when a value is not finite. */
bool decoder_pixels(struct decoder *self, const float *latents, float *pixels,
                    struct error *error);

/* Bytes of `count` values, rounded half to even from -1 .. 1. */
void decoder_round(uint8_t *rgb, const float *pixels, size_t count);

#endif
