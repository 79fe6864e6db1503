/* The pictures of a request as the VAE takes them: at the size of the latents' picture, in
 * floats, the part under the mask taken out; and how a result is laid over the picture it was
 * made of.
 *
 * What VaeImageProcessor of diffusers does: Lanczos to the size asked for, 2 (v / 255) - 1;
 * a mask to grey, cut at one half. And what A1111's StableDiffusionProcessingImg2Img does for
 * its samplers: a mask blurred by OpenCV, colours filled in, latents masked by Pillow's
 * bicubic filter, the picture laid back over the result where the mask is black.
 */
#ifndef FARM_CANVAS_H
#define FARM_CANVAS_H

#include "worker/sd/pipeline.h"
#include "worker/sd/region.h"
#include "worker/sd/sampler.h"

struct canvas {
    size_t width, height, factor;
    float *picture; /* [height, width, 3] in -1 .. 1; NULL: the request has none */
    float *masked;  /* the same, 0 where the mask is white; NULL: it has no mask */
    float *mask;    /* [height / factor, width / factor], 1 is repainted: the top left
                       pixel of each place, what the model is told; NULL likewise */
    float *held;    /* the same: where latents are repainted */
    bool lays_over; /* what follows is there */
    bool is_part;   /* the region alone was worked on */
    struct region region;
    struct pixels under,
        cover; /* the picture to be laid over the result, and its mask */
};

/* From init and mask of the request, or from its image. ERROR_INPUT for a mask alone and for
 * a mask of another size than the picture. */
bool canvas_make(struct canvas *self, const struct image_request *request,
                 enum sampler_ways ways, size_t width, size_t height, size_t factor,
                 struct error *error);
void canvas_clear(struct canvas *self);

/* Lays the picture over `made`, whose pixels are then of the picture's size. */
bool canvas_lay_over(const struct canvas *self, struct pixels *made,
                     struct error *error);

#endif
