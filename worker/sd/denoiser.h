/* The UNet's passes over a batch of latents: planned once for its size, run each step.
 *
 * A step is  sample_input, unet_forward, sample_update  with everything that changes read
 * from a small device buffer; guidance doubles the rows, not the passes.
 */
#ifndef FARM_DENOISER_H
#define FARM_DENOISER_H

#include "worker/sd/unet.h"

struct denoiser_shape {
    size_t images, h, w; /* latents */
    bool guided;         /* two rows an image: without the prompt, then with it */
    size_t tokens;       /* of each row's context */
};

struct denoiser;

/* The UNet is borrowed for the life of it. ERROR_MEMORY when the device has too little. */
struct denoiser *denoiser_new(struct gpu *gpu, enum dtype dtype,
                              const struct unet *unet,
                              const struct denoiser_shape *shape, struct error *error);
void denoiser_destroy(struct denoiser **self);
bool denoiser_fits(const struct denoiser *self, const struct denoiser_shape *shape);

/* Latents [images, h, w, c]; context [rows, tokens, context width], all of the rows without
 * the prompt first; `added` [rows, added] as unet_added_values makes them, read only where
 * the UNet has an added embedding. */
bool denoiser_start(struct denoiser *self, const float *latents, const float *context,
                    const float *added, struct error *error);

/* One UNet pass and the sampler's update. `noise` like latents, NULL where the step has
 * none. Waits for the device. */
bool denoiser_step(struct denoiser *self, const struct step *step, const float *noise,
                   struct error *error);

bool denoiser_latents(const struct denoiser *self, float *latents, struct error *error);

#endif
