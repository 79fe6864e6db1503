/* The pictures of a request as the VAE takes them: at the size of the latents' picture, in
 * floats, the part under the mask taken out.
 *
 * What VaeImageProcessor of diffusers does: Lanczos to the size asked for, 2 (v / 255) - 1;
 * a mask to grey, cut at one half.
 */
#ifndef FARM_CANVAS_H
#define FARM_CANVAS_H

#include "worker/sd/pipeline.h"

struct canvas {
    size_t width, height, factor;
    float *picture; /* [height, width, 3] in -1 .. 1; NULL: the request has none */
    float *masked;  /* the same, 0 where the mask is white; NULL: it has no mask */
    float *mask;    /* [height / factor, width / factor], 1 is repainted: the top left
                       pixel of each place; NULL likewise */
};

/* From init and mask of the request, or from its image. ERROR_INPUT for a mask alone and for
 * a mask of another size than the picture. */
bool canvas_make(struct canvas *self, const struct image_request *request, size_t width,
                 size_t height, size_t factor, struct error *error);
void canvas_clear(struct canvas *self);

#endif
