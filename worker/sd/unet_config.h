/* config.json of a UNet2DConditionModel or UNet2DModel, checked.
 *
 * Every key that model class of diffusers acts on is either read here or must have its
 * plain value; the rest of the file means nothing to diffusers either.
 */
#ifndef FARM_UNET_CONFIG_H
#define FARM_UNET_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "opencl/ops.h"

enum { UNET_LEVELS_MOST = 8, UNET_LAYERS_MOST = 16 };

/* What stands behind a block's resnets. */
enum unet_attends {
    ATTENDS_NOT,
    ATTENDS_TEXT, /* a transformer: to itself and to the text */
    ATTENDS_SELF, /* the picture's places to each other */
};

/* A level's layers on one way. */
struct unet_way_config {
    enum unet_attends attends;
    size_t heads;
    size_t depth[UNET_LAYERS_MOST + 1]; /* transformer blocks of each layer */
};

/* One resolution, finest first. */
struct unet_level_config {
    size_t channels;
    size_t layers; /* resnets on the way down; one more on the way up */
    struct unet_way_config down, up;
    bool text_only; /* only_cross_attention */
};

/* What stands between the ways: one or two resnets, or nothing. */
struct unet_mid_config {
    size_t resnets;
    enum unet_attends attends; /* between two */
    size_t heads, depth;
    size_t groups; /* of the norm before attention to itself; 0: none */
};

struct unet_config {
    size_t in_channels, out_channels;
    size_t levels;
    struct unet_level_config level[UNET_LEVELS_MOST];
    struct unet_mid_config mid;
    size_t context; /* width of the text's vectors; 0: UNet2DModel, which takes none */
    size_t
        classes; /* num_class_embeds: a vector each is added to the time's; 0: none */
    bool class_steps; /* class_embed_type timestep: classes are numbers like the time */
    size_t groups;
    float eps;
    enum activation activation;   /* act_fn */
    enum activation at_time;      /* in the time embedding */
    enum activation behind_time;  /* timestep_post_act */
    enum activation behind_added; /* time_embedding_act_fn */
    enum activation at_end;       /* before conv_out */
    size_t time_width;            /* time_embedding_dim */
    size_t size_in, size_out;     /* of the first and last convolution: 1 or 3 */
    bool centers;                 /* center_input_sample: 2 x - 1 */
    bool flip_sin_to_cos;
    float freq_shift;
    size_t
        guidance; /* time_cond_proj_dim: the guidance's sinusoid; 0: it is not told */
    size_t time_ids;  /* width of each one's sinusoid in the added embedding; 0: none */
    size_t added;     /* addition_embed_type text_time: pooled text and time ids; or the
                     sinusoid of a class; 0: none */
    bool pad_end;     /* downsample_padding 0 */
    bool scale_shift; /* resnet_time_scale_shift */
    size_t sample_height, sample_width; /* default size in latents */
};

/* ERROR_INPUT "unet/config.json: KEY is VALUE; what is supported". The file's _class_name
 * tells which of the two it is. */
bool unet_config_load(struct unet_config *self, const char *path, const char *name,
                      struct error *error);

/* What a configuration from elsewhere must keep to, too: ERROR_INPUT naming the number. */
bool unet_config_check(const struct unet_config *self, struct error *error);

#endif
