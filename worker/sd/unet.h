/* UNet2DConditionModel: the network that predicts the noise in latents.
 *
 * Ronneberger et al. 2015 with residual blocks, timesteps and attention to text as in
 * Rombach et al. 2022:
 *
 *     conv_in --> down[0] --> down[1] --> ... --> mid
 *                   | skips     |                  |
 *     conv_out <-- up[n-1] <-- up[n-2] <-- ... <---+
 */
#ifndef FARM_UNET_H
#define FARM_UNET_H

#include "worker/sd/resnet.h"
#include "worker/sd/transformer.h"
#include "worker/sd/unet_config.h"

/* One resolution on one way. Down: each resnet's output is a skip. Up: each resnet's input
 * is joined by the last skip left. */
struct unet_block {
    size_t layers;
    bool attends;
    bool resizes; /* not the last of its way */
    struct resnet resnet[UNET_LAYERS_MOST + 1];
    struct transformer transformer[UNET_LAYERS_MOST + 1]; /* where attends */
    struct conv resize;
};

struct unet {
    struct unet_config config;
    struct linear time1, time2; /* channels[0] -> 4 channels[0] -> the same */
    struct conv conv_in;
    struct unet_block *down; /* levels */
    struct resnet mid_first, mid_last;
    struct transformer mid;
    struct unet_block *up; /* levels, coarsest first */
    struct norm norm_out;
    struct conv conv_out;
};

bool unet_load(struct unet *self, struct gpu *gpu, enum dtype dtype,
               const char *config_path, const char *config_name,
               struct checkpoint *from, struct error *error);
void unet_clear(struct unet *self, struct gpu *gpu);

/* y [n, h, w, out_channels] from x [n, h, w, in_channels], context [n, 1, tokens, context]
 * and the step's timestep (`step` as sample_input takes it). Any h and w. */
void unet_forward(struct stream *s, struct tensor y, struct tensor x, cl_mem step,
                  struct tensor context, const struct unet *w);

#endif
