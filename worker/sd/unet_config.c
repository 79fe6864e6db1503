/* What a key means is diffusers' doing, not the key's name: attention_head_dim is the number
 * of heads where a block attends to text and their width where it attends to itself, the way
 * up reads it unreversed in the latter, and act_fn leaves the embedding of time alone in
 * UNet2DModel.
 */
#include "worker/sd/unet_config.h"

#include "worker/sd/model_config.h"

enum { CHANNELS_MOST = 16384, DEPTH_MOST = 64, GROUPS_MOST = 1024, SAMPLE_MOST = 4096 };
enum { CLASSES_MOST = 100000, KERNEL_MOST = 3, GUIDANCE_LEAST = 4 };

static const struct model_config_only only[] = {
    {"encoder_hid_dim_type", "null"},          {"encoder_hid_dim", "null"},
    {"class_embeddings_concat", "false"},      {"num_attention_heads", "null"},
    {"time_embedding_type", "\"positional\""}, {"mid_block_scale_factor", "1"},
    {"resnet_skip_time_act", "false"},         {"resnet_out_scale_factor", "1"},
    {"dual_cross_attention", "false"},         {"attention_type", "\"default\""},
    {"cross_attention_norm", "null"},
};

/* The same for UNet2DModel. */
static const struct model_config_only only_pixels[] = {
    {"time_embedding_type", "\"positional\""},
    {"mid_block_scale_factor", "1"},
    {"downsample_type", "\"conv\""},
    {"upsample_type", "\"conv\""},
};

/* Blocks by name; "UNetRes" before it is how early versions called them. */
static const char *const down_text[] = {"DownBlock2D",
                                        "CrossAttnDownBlock2D",
                                        "AttnDownBlock2D",
                                        "UNetResDownBlock2D",
                                        "UNetResCrossAttnDownBlock2D",
                                        "UNetResAttnDownBlock2D",
                                        NULL};
static const char *const up_text[] = {"UpBlock2D",
                                      "CrossAttnUpBlock2D",
                                      "AttnUpBlock2D",
                                      "UNetResUpBlock2D",
                                      "UNetResCrossAttnUpBlock2D",
                                      "UNetResAttnUpBlock2D",
                                      NULL};
static const enum unet_attends means_text[] = {ATTENDS_NOT, ATTENDS_TEXT, ATTENDS_SELF,
                                               ATTENDS_NOT, ATTENDS_TEXT, ATTENDS_SELF};
static const char *const down_self[] = {"DownBlock2D", "AttnDownBlock2D",
                                        "UNetResDownBlock2D", "UNetResAttnDownBlock2D",
                                        NULL};
static const char *const up_self[] = {"UpBlock2D", "AttnUpBlock2D", "UNetResUpBlock2D",
                                      "UNetResAttnUpBlock2D", NULL};
static const enum unet_attends means_self[] = {ATTENDS_NOT, ATTENDS_SELF, ATTENDS_NOT,
                                               ATTENDS_SELF};

/* Heads of attention to itself from a head's width. */
static size_t heads_of(struct model_config *c, size_t channels, size_t width)
{
    if (width && channels % width)
        model_config_refuse(c, "attention_head_dim", "%zu channels are no multiple",
                            channels);
    return width && width <= channels ? channels / width : 1;
}

static void read_depths(struct unet_config *self, struct model_config *c)
{
    static const char down[] = "transformer_layers_per_block";
    static const char up[] = "reverse_transformer_layers_per_block";
    bool reversed = model_config_has(c, up);
    size_t n = self->levels;
    for (size_t i = 0; i < n; i++) {
        struct unet_level_config *level = &self->level[i];
        for (size_t j = 0; j < level->layers; j++)
            level->down.depth[j] =
                model_config_layer_size(c, down, 1, DEPTH_MOST, i, n, j, level->layers);
        for (size_t j = 0; j < level->layers + 1; j++)
            level->up.depth[j] =
                reversed ? model_config_layer_size(c, up, 1, DEPTH_MOST, n - 1 - i, n,
                                                   j, level->layers + 1)
                         : level->down.depth[0];
        for (size_t j = 1; !reversed && j < level->layers; j++)
            if (level->down.depth[j] != level->down.depth[0])
                model_config_refuse(c, down, "%s must say what the way up has", up);
    }
    self->mid.depth = self->level[n - 1].down.depth[0];
}

static void read_levels(struct unet_config *self, struct model_config *c, bool pixels)
{
    const enum unet_attends *means = pixels ? means_self : means_text;
    size_t n = self->levels =
        model_config_length(c, "down_block_types", UNET_LEVELS_MOST);
    if (model_config_length(c, "up_block_types", UNET_LEVELS_MOST) != n)
        model_config_refuse(c, "up_block_types", "down_block_types has %zu entries", n);
    if (model_config_length(c, "block_out_channels", UNET_LEVELS_MOST) != n)
        model_config_refuse(c, "block_out_channels", "down_block_types has %zu entries",
                            n);
    size_t channels[UNET_LEVELS_MOST], layers[UNET_LEVELS_MOST];
    bool text_only[UNET_LEVELS_MOST];
    model_config_sizes(c, "block_out_channels", 1, CHANNELS_MOST, channels, n);
    model_config_sizes(c, "layers_per_block", 2, UNET_LAYERS_MOST, layers, n);
    model_config_bools(c, "only_cross_attention", false, text_only, n);
    for (size_t i = 0; i < n; i++) {
        size_t down = model_config_entry(c, "down_block_types", i,
                                         pixels ? down_self : down_text);
        size_t up = model_config_entry(c, "up_block_types", n - 1 - i,
                                       pixels ? up_self : up_text);
        self->level[i] = (struct unet_level_config){.channels = channels[i],
                                                    .layers = layers[i],
                                                    .down.attends = means[down],
                                                    .up.attends = means[up],
                                                    .text_only = text_only[i]};
    }
}

/* attention_head_dim of each level as UNet2DConditionModel takes it. */
static void read_heads(struct unet_config *self, struct model_config *c)
{
    size_t said[UNET_LEVELS_MOST], n = self->levels;
    model_config_sizes(c, "attention_head_dim", 8, CHANNELS_MOST, said, n);
    for (size_t i = 0; i < n; i++) {
        struct unet_level_config *level = &self->level[i];
        level->down.heads = level->down.attends == ATTENDS_SELF
                                ? heads_of(c, level->channels, said[i])
                                : said[i];
        level->up.heads = level->up.attends == ATTENDS_SELF
                              ? heads_of(c, level->channels, said[n - 1 - i])
                              : said[i];
    }
    self->mid.heads = said[n - 1];
}

/* UNet2DModel's: widths of heads; null is one head. */
static void read_head_widths(struct unet_config *self, struct model_config *c)
{
    size_t n = self->levels, width = 8;
    if (model_config_named(c, "attention_head_dim") &&
        !model_config_has(c, "attention_head_dim"))
        width = 0;
    else
        width = model_config_size(c, "attention_head_dim", width, CHANNELS_MOST);
    for (size_t i = 0; i < n; i++) {
        struct unet_level_config *level = &self->level[i];
        bool attends = level->down.attends || level->up.attends ||
                       (i + 1 == n && self->mid.attends);
        level->down.heads = level->up.heads =
            attends ? heads_of(c, level->channels, width) : 1;
    }
    self->mid.heads = self->level[n - 1].down.heads;
}

static void check_heads(struct model_config *c, size_t channels, size_t heads)
{
    if (channels % heads)
        model_config_refuse(c, "attention_head_dim",
                            "%zu channels do not divide into %zu heads", channels,
                            heads);
}

/* Sizes that divide each other; what the ops take for granted. */
static void check_levels(const struct unet_config *self, struct model_config *c)
{
    for (size_t i = 0; i < self->levels; i++) {
        const struct unet_level_config *level = &self->level[i];
        if (level->channels % self->groups)
            model_config_refuse(c, "norm_num_groups", "%zu channels are no multiple",
                                level->channels);
        if (level->down.attends)
            check_heads(c, level->channels, level->down.heads);
        if (level->up.attends)
            check_heads(c, level->channels, level->up.heads);
    }
    size_t last = self->level[self->levels - 1].channels;
    if (self->mid.attends)
        check_heads(c, last, self->mid.heads);
    if (self->mid.groups && last % self->mid.groups)
        model_config_refuse(c, "attn_norm_num_groups", "%zu channels are no multiple",
                            last);
    if (self->level[0].channels % 2)
        model_config_refuse(c, "block_out_channels",
                            "the first must be even for the time embedding");
}

/* SDXL's: pooled text and the sinusoids of its time ids go into the time embedding. */
static void read_added(struct unet_config *self, struct model_config *c)
{
    static const char *const types[] = {"text_time", NULL};
    if (!model_config_has(c, "addition_embed_type"))
        return;
    model_config_choice(c, "addition_embed_type", NULL, types);
    self->time_ids =
        model_config_size(c, "addition_time_embed_dim", 256, CHANNELS_MOST);
    self->added = model_config_size(c, "projection_class_embeddings_input_dim", 2816,
                                    4 * CHANNELS_MOST);
    if (self->time_ids % 2)
        model_config_refuse(c, "addition_time_embed_dim", "expected an even number");
}

/* LCM's: the guidance goes into the time embedding, as a sinusoid. */
static void read_guidance(struct unet_config *self, struct model_config *c)
{
    static const char key[] = "time_cond_proj_dim";
    if (!model_config_has(c, key))
        return;
    self->guidance = model_config_size(c, key, 256, CHANNELS_MOST);
    if (self->guidance < GUIDANCE_LEAST)
        model_config_refuse(c, key, "expected %d or more", GUIDANCE_LEAST);
}

static void read_classes(struct unet_config *self, struct model_config *c)
{
    static const char *const types[] = {"timestep", NULL};
    bool steps = model_config_has(c, "class_embed_type");
    bool classes = !steps && model_config_has(c, "num_class_embeds");
    if ((steps || classes) && self->added)
        model_config_refuse(c, steps ? "class_embed_type" : "num_class_embeds",
                            "not supported beside addition_embed_type");
    if (steps) {
        model_config_choice(c, "class_embed_type", NULL, types);
        self->class_steps = true;
        self->added = self->level[0].channels;
    }
    if (classes)
        self->classes = model_config_size(c, "num_class_embeds", 1, CLASSES_MOST);
}

static void read_pixels(struct unet_config *self, struct model_config *c)
{
    static const char *const mids[] = {"UNetMidBlock2D", NULL};
    model_config_default(c, "block_out_channels", "[224, 448, 672, 896]");
    model_config_default(c, "down_block_types",
                         "[\"DownBlock2D\", \"AttnDownBlock2D\", \"AttnDownBlock2D\","
                         " \"AttnDownBlock2D\"]");
    model_config_default(c, "up_block_types",
                         "[\"AttnUpBlock2D\", \"AttnUpBlock2D\", \"AttnUpBlock2D\","
                         " \"UpBlock2D\"]");
    model_config_only(c, only_pixels, sizeof only_pixels / sizeof *only_pixels);
    model_config_default(c, "mid_block_type", "\"UNetMidBlock2D\"");
    self->at_time = self->at_end = ACTIVATION_SILU;
    self->size_in = self->size_out = 3;
    read_levels(self, c, true);
    if (model_config_has(c, "mid_block_type")) {
        bool attends = model_config_bool(c, "add_attention", true);
        model_config_choice(c, "mid_block_type", NULL, mids);
        self->mid.resnets = 2;
        self->mid.attends = attends ? ATTENDS_SELF : ATTENDS_NOT;
        /* diffusers' middle has no norm there where time scales and shifts */
        self->mid.groups =
            model_config_size(c, "attn_norm_num_groups",
                              self->scale_shift ? 0 : self->groups, GROUPS_MOST);
    }
    read_head_widths(self, c);
    read_classes(self, c);
}

/* The text is as wide for all levels that attend to it. */
static void read_context(struct unet_config *self, struct model_config *c)
{
    size_t context[UNET_LEVELS_MOST];
    bool found = false;
    model_config_sizes(c, "cross_attention_dim", 1280, CHANNELS_MOST, context,
                       self->levels);
    self->context = context[self->levels - 1];
    for (size_t i = 0; i < self->levels; i++) {
        const struct unet_level_config *level = &self->level[i];
        bool last = i + 1 == self->levels;
        if (level->down.attends != ATTENDS_TEXT && level->up.attends != ATTENDS_TEXT &&
            !(last && self->mid.attends == ATTENDS_TEXT))
            continue;
        if (found && context[i] != self->context)
            model_config_refuse(c, "cross_attention_dim",
                                "only one width for all levels that attend to text is "
                                "supported");
        self->context = context[i];
        found = true;
    }
}

static void read_text(struct unet_config *self, struct model_config *c)
{
    static const char *const mids[] = {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D",
                                       NULL};
    model_config_default(c, "block_out_channels", "[320, 640, 1280, 1280]");
    model_config_default(c, "down_block_types",
                         "[\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\","
                         " \"CrossAttnDownBlock2D\", \"DownBlock2D\"]");
    model_config_default(c, "up_block_types",
                         "[\"UpBlock2D\", \"CrossAttnUpBlock2D\","
                         " \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\"]");
    model_config_default(c, "mid_block_type", "\"UNetMidBlock2DCrossAttn\"");
    model_config_only(c, only, sizeof only / sizeof *only);
    self->at_time = self->at_end = self->activation;
    self->behind_time = model_config_activation(c, "timestep_post_act", NULL);
    self->behind_added = model_config_activation(c, "time_embedding_act_fn", NULL);
    self->size_in = model_config_size(c, "conv_in_kernel", 3, KERNEL_MOST);
    self->size_out = model_config_size(c, "conv_out_kernel", 3, KERNEL_MOST);
    if (self->size_in == 2)
        model_config_refuse(c, "conv_in_kernel", "supported are 1 and 3");
    if (self->size_out == 2)
        model_config_refuse(c, "conv_out_kernel", "supported are 1 and 3");
    read_levels(self, c, false);
    if (model_config_has(c, "mid_block_type")) {
        size_t mid = model_config_choice(c, "mid_block_type", NULL, mids);
        self->mid.resnets = mid ? 1 : 2;
        self->mid.attends = mid ? ATTENDS_NOT : ATTENDS_TEXT;
    }
    read_depths(self, c);
    read_heads(self, c);
    read_added(self, c);
    read_guidance(self, c);
    read_classes(self, c);
    read_context(self, c);
}

static void read_both(struct unet_config *self, struct model_config *c, bool pixels)
{
    static const char *const shifts[] = {"default", "scale_shift", NULL};
    size_t channels = pixels ? 3 : 4, sample[2];
    self->in_channels = model_config_size(c, "in_channels", channels, CHANNELS_MOST);
    self->out_channels = model_config_size(c, "out_channels", channels, CHANNELS_MOST);
    self->groups = model_config_size(c, "norm_num_groups", 32, GROUPS_MOST);
    if (model_config_named(c, "norm_num_groups") &&
        !model_config_has(c, "norm_num_groups"))
        model_config_refuse(c, "norm_num_groups", "expected a number of groups");
    self->eps = (float)model_config_number(c, "norm_eps", 1e-5, 0, 1);
    self->activation = model_config_activation(c, "act_fn", "silu");
    self->centers = model_config_bool(c, "center_input_sample", false);
    self->flip_sin_to_cos = model_config_bool(c, "flip_sin_to_cos", true);
    self->freq_shift = (float)model_config_number(c, "freq_shift", 0, 0, 1);
    self->pad_end = model_config_number(c, "downsample_padding", 1, 0, 1) < 1;
    self->scale_shift =
        model_config_choice(c, "resnet_time_scale_shift", shifts[0], shifts) == 1;
    model_config_sizes(c, "sample_size", pixels ? 32 : 64, SAMPLE_MOST, sample, 2);
    self->sample_height = sample[0];
    self->sample_width = sample[1];
}

bool unet_config_load(struct unet_config *self, const char *path, const char *name,
                      struct error *error)
{
    static const char *const classes[] = {"UNet2DConditionModel", "UNet2DModel", NULL};
    *self = (struct unet_config){0};
    struct model_config c;
    if (!model_config_open(&c, path, name, error))
        return false;
    bool pixels = model_config_choice(&c, "_class_name", classes[0], classes) == 1;
    read_both(self, &c, pixels);
    if (pixels)
        read_pixels(self, &c);
    else
        read_text(self, &c);
    self->time_width = model_config_size(
        &c, "time_embedding_dim", 4 * self->level[0].channels, 4 * CHANNELS_MOST);
    check_levels(self, &c);
    return model_config_close(&c, error);
}

bool unet_config_check(const struct unet_config *self, struct error *error)
{
    for (size_t i = 0; i < self->levels; i++) {
        const struct unet_level_config *level = &self->level[i];
        bool attends =
            level->down.attends || (self->mid.attends && i + 1 == self->levels);
        if (level->layers < 1 || level->layers > UNET_LAYERS_MOST ||
            level->down.depth[0] > DEPTH_MOST || level->channels % self->groups ||
            level->channels % 2 || (attends && level->channels % level->down.heads))
            return error_set_kind(error, ERROR_INPUT,
                                  "a UNet with %zu channels, %zu layers and %zu "
                                  "transformer blocks in level %zu cannot be run",
                                  level->channels, level->layers, level->down.depth[0],
                                  i);
    }
    return true;
}
