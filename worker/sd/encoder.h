/* The VAE's way from one picture to its latents, planned once for its size. */
#ifndef FARM_ENCODER_H
#define FARM_ENCODER_H

#include "worker/sd/vae.h"

struct encoder;

/* h x w latents; the VAE is borrowed for the life of it. */
struct encoder *encoder_new(struct gpu *gpu, enum dtype dtype, const struct vae *vae,
                            size_t h, size_t w, struct error *error);
void encoder_destroy(struct encoder **self);
bool encoder_fits(const struct encoder *self, size_t h, size_t w);

/* picture [h f, w f, 3] in -1 .. 1 -> moments [h, w, 2c]: mean and log variance. ERROR_DEVICE
 * when one is not finite. */
bool encoder_run(struct encoder *self, const float *picture, float *moments,
                 struct error *error);

/* latents [h w, c] from moments of `count` places: the mean, or with `noise` (like latents)
 * mean + exp(clamp(log variance, -30, 20) / 2) noise; times `factor`. */
void posterior(float *latents, const float *moments, const float *noise, size_t count,
               size_t c, double factor);

#endif
