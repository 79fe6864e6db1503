/* UNet2DConditionModel and UNet2DModel: the network that predicts the noise in latents or
 * pixels.
 *
 * Ronneberger et al. 2015 with residual blocks, timesteps and attention to text as in
 * Rombach et al. 2022, or to itself as in Ho et al. 2020:
 *
 *     conv_in --> down[0] --> down[1] --> ... --> mid
 *                   | skips     |                  |
 *     conv_out <-- up[n-1] <-- up[n-2] <-- ... <---+
 */
#ifndef FARM_UNET_H
#define FARM_UNET_H

#include "worker/sd/resnet.h"
#include "worker/sd/self_attention.h"
#include "worker/sd/transformer.h"
#include "worker/sd/unet_config.h"

/* One resolution on one way. Down: each resnet's output is a skip. Up: each resnet's input
 * is joined by the last skip left. */
struct unet_block {
    size_t layers;
    enum unet_attends attends;
    bool resizes; /* not the last of its way */
    struct resnet resnet[UNET_LAYERS_MOST + 1];
    struct transformer transformer[UNET_LAYERS_MOST + 1]; /* ATTENDS_TEXT */
    struct self_attention self[UNET_LAYERS_MOST + 1];     /* ATTENDS_SELF */
    struct conv resize;
};

struct unet {
    struct unet_config config;
    struct linear time1, time2;   /* channels[0] -> 4 channels[0] -> the same */
    struct linear guidance;       /* guidance -> channels[0]; where it is embedded */
    struct linear added1, added2; /* added -> 4 channels[0] -> the same; where added */
    float *classes; /* [classes, 4 channels[0]] on the host; NULL without */
    struct conv conv_in;
    struct unet_block *down; /* levels */
    struct resnet mid_first, mid_last;
    struct transformer mid;
    struct self_attention mid_self;
    struct unet_block *up; /* levels, coarsest first */
    struct norm norm_out;
    struct conv conv_out;
};

/* The weights that self->config asks for; the rest of *self is zero before. *self is
 * cleared when one is missing or misshapen. */
bool unet_load(struct unet *self, struct gpu *gpu, enum dtype dtype,
               struct checkpoint *from, struct error *error);
void unet_clear(struct unet *self, struct gpu *gpu);

/* What some models or passes take besides; each NULL: nothing of the kind. */
struct unet_extra {
    const struct tensor *added; /* [n, 1, 1, unet_added_width]: what joins the time */
    const struct tensor *guidance; /* [n, 1, 1, config.guidance] */
    cl_mem key_counts; /* int32 [n]: tokens of each row that count; NULL: all */
};

/* Floats of a row of `added`: SDXL's pooled text and time ids, or what stands for a class;
 * 0: the model takes nothing of the kind. */
size_t unet_added_width(const struct unet *self);

/* The row for a guidance w, config.guidance floats: the sinusoid of 1000 (w - 1), as Meng et
 * al. 2023 distil it and diffusers' get_guidance_scale_embedding computes it. */
void unet_guidance_values(const struct unet *self, double guidance, float *into);

/* The row of a class: below config.classes, or any number where config.class_steps. */
void unet_class_values(const struct unet *self, size_t class, float *into);

/* The row for SDXL: `pooled` (NULL: zeros), as wide as there is room,
 * before the sinusoids of `count` time ids (original height and width, crop top and left,
 * then target height and width or the refiner's aesthetic score); together they fill the
 * row. */
void unet_added_values(const struct unet *self, const float *pooled, const float *ids,
                       size_t count, float *into);

/* y [n, h, w, out_channels] from x [n, h, w, in_channels], context [n, 1, tokens, context]
 * (unused where there is none) and the step's timestep (`step` as sample_input takes it).
 * Any h and w; UNet2DModel's must halve evenly to the coarsest level. Channels after
 * the latents (a mask, a second picture) are the caller's to concatenate. */
void unet_forward(struct stream *s, struct tensor y, struct tensor x, cl_mem step,
                  struct tensor context, const struct unet_extra *extra,
                  const struct unet *w);

#endif
