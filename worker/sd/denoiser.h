/* The UNet's passes over a batch of latents: planned once for its size, run each step.
 *
 * A step is  sample_input, unet_forward, sample_update  with everything that changes read
 * from small device buffers; guidance and prompts joined by AND add rows, not passes.
 */
#ifndef FARM_DENOISER_H
#define FARM_DENOISER_H

#include "worker/sd/unet.h"

struct denoiser_shape {
    size_t images, h, w; /* latents */
    bool guided;         /* a row an image without the prompt before those with it */
    bool composes;       /* images may have several rows with a prompt; guided then */
    bool edits;   /* three rows an image: without both, with the picture, with both */
    size_t extra; /* input channels of the UNet behind the latents' */
    bool keeps;   /* latents outside a mask are those of a picture, after each step */
    bool
        holds; /* or are held to it at each call of the UNet, as A1111 and ComfyUI do */
    size_t rows;   /* of the UNet's batch */
    size_t tokens; /* room in each row's context */
};

/* A row of the UNet's batch. The first `images` of a guided batch are the images without
 * their prompts, in order. */
struct denoiser_row {
    size_t image;
    double weight; /* of a prompt among its image's; only where the batch composes */
    size_t keys;   /* tokens of the context that count */
};

struct denoiser;

/* The UNet is borrowed for the life of it. ERROR_MEMORY when the device has too little. */
struct denoiser *denoiser_new(struct gpu *gpu, enum dtype dtype,
                              const struct unet *unet,
                              const struct denoiser_shape *shape, struct error *error);
void denoiser_destroy(struct denoiser **self);
/* What it runs on, to be asked of its memory. */
const struct stream *denoiser_stream(const struct denoiser *self);
bool denoiser_fits(const struct denoiser *self, const struct denoiser_shape *shape);

/* Latents [images, h, w, c]; what the rows are for the run. */
bool denoiser_start(struct denoiser *self, const float *latents,
                    const struct denoiser_row *rows, struct error *error);

/* What the rows attend to from the next step on: context [rows, tokens, context width],
 * `added` [rows, unet_added_width]; each read only where the UNet takes it. */
bool denoiser_attend(struct denoiser *self, const float *context, const float *added,
                     struct error *error);

/* Called after denoiser_start where the shape says so: `extra` [images, h, w, extra], the
 * same for every row of an image but, with `edits`, zeros for the first images' rows; `mask`
 * [h, w], `known` and `noise` like latents. */
bool denoiser_extra(struct denoiser *self, const float *extra,
                    const struct denoiser_row *rows, struct error *error);
bool denoiser_keep(struct denoiser *self, const float *mask, const float *known,
                   const float *noise, struct error *error);

/* How strongly the prompt is followed, for the UNets that are told; others are not. */
bool denoiser_embed_guidance(struct denoiser *self, double guidance,
                             struct error *error);

/* How strongly the picture is followed, with `edits`. */
void denoiser_image_guidance(struct denoiser *self, double guidance);

/* What the next step leaves outside the mask, where the shape keeps: a times `known` and b
 * times `noise`. What stands there round the next call, where it holds. */
void denoiser_level(struct denoiser *self, double a, double b);
void denoiser_hold(struct denoiser *self, const struct hold *hold);

/* One UNet pass and the sampler's update. `noise` like latents, NULL where the step has
 * none. Waits for the device. */
bool denoiser_step(struct denoiser *self, const struct step *step, const float *noise,
                   struct error *error);

/* Latents and what the sampler remembers: [1 + DENOISER_HISTORY] times [images, h, w, c].
 * Loading stands in for the latents that denoiser_start was given. */
enum { DENOISER_HISTORY = 4 };
bool denoiser_save(const struct denoiser *self, float *values, struct error *error);
bool denoiser_load(struct denoiser *self, const float *values, struct error *error);

bool denoiser_latents(const struct denoiser *self, float *latents, struct error *error);

#endif
