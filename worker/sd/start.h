/* What a rendering starts from: noise, or pictures brought to some level of noise.
 *
 * Each image draws from its own generator in diffusers' order: the posterior of the picture
 * (image to image, and inpainting with 4 channels or a strength below 1), the noise, the
 * posterior of the masked picture (inpainting, used with 9 channels only). InstructPix2Pix
 * takes the posterior's mean and draws nothing for it; so do all runs of A1111's and
 * ComfyUI's samplers.
 */
#ifndef FARM_START_H
#define FARM_START_H

#include "worker/sd/canvas.h"
#include "worker/sd/draws.h"
#include "worker/sd/plans.h"
#include "worker/sd/sampler.h"

/* How many images of which latents, and each one's noise. */
struct start_shape {
    size_t images, c, h, w;
    size_t extra; /* input channels of the UNet beside the latents' */
    struct draws *const *draws;
    const float
        *given; /* [images, h, w, c]: latents in the place of a picture's; or NULL */
};

/* Each request's noise, at its beginning; `factor` pixels a latent. */
bool image_request_draws(const struct image_request *requests,
                         const struct start_shape *shape, const struct sampler_run *run,
                         size_t factor, struct draws **draws, struct error *error);

/* All [images, h, w, c] unless said; NULL where not needed. */
struct start {
    float *latents;
    float *known; /* the picture's own latents, kept outside the mask after each step */
    float *noise; /* what was drawn */
    float *extra; /* [images, h, w, extra] */
};

/* `canvas` NULL: noise alone. */
bool start_make(struct start *self, const struct start_shape *shape,
                const struct sampler_run *run, const struct image_request *request,
                const struct canvas *canvas, struct plans *plans, struct error *error);
void start_clear(struct start *self);

/* latents [h w, c] from moments of `count` places: the mean, or with `noise` (like latents)
 * mean + exp(clamp(log variance, -30, 20) / 2) noise. */
void start_posterior(float *latents, const float *moments, const float *noise,
                     size_t count, size_t c);

/* `count` values to latents as the UNet sees them. Not to be normalised where diffusers'
 * inpainting leaves latents_mean and latents_std alone. */
void start_scale(float *latents, size_t count, const struct vae_config *vae,
                 bool normalise);

#endif
