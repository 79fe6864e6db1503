/* One picture's way through the VAE, either way, planned once for its size. */
#ifndef FARM_VAE_PASS_H
#define FARM_VAE_PASS_H

#include "worker/sd/vae.h"

enum vae_way {
    VAE_DECODES, /* latents [h, w, c] as the sampler left them -> pixels [h f, w f, 3] */
    VAE_ENCODES, /* pixels -> moments [h, w, 2c]: mean and log variance */
};

struct vae_pass;

/* h x w latents, whichever way; the VAE is borrowed for the life of it. */
struct vae_pass *vae_pass_new(struct gpu *gpu, const struct vae *vae, enum vae_way way,
                              size_t h, size_t w, struct error *error);
void vae_pass_destroy(struct vae_pass **self);
const struct stream *vae_pass_stream(const struct vae_pass *self);
bool vae_pass_fits(const struct vae_pass *self, size_t h, size_t w);

/* Pixels are in -1 .. 1, decoded ones about so. ERROR_DEVICE when a value of `to` is not
 * finite. */
bool vae_pass_run(struct vae_pass *self, const float *from, float *to,
                  struct error *error);

#endif
