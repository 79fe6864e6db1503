#include "worker/sd/unet_config.h"

#include "worker/sd/model_config.h"

enum { CHANNELS_MOST = 16384, DEPTH_MOST = 64, GROUPS_MOST = 1024, SAMPLE_MOST = 4096 };
enum { CLASSES_MOST = 100000 };

static const struct model_config_only only[] = {
    {"encoder_hid_dim", "null"},
    {"encoder_hid_dim_type", "null"},
    {"class_embed_type", "null"},
    {"num_class_embeds", "null"},
    {"class_embeddings_concat", "false"},
    {"time_cond_proj_dim", "null"},
    {"time_embedding_type", "\"positional\""},
    {"time_embedding_dim", "null"},
    {"time_embedding_act_fn", "null"},
    {"timestep_post_act", "null"},
    {"act_fn", "\"silu\""},
    {"mid_block_type", "\"UNetMidBlock2DCrossAttn\""},
    {"mid_block_scale_factor", "1"},
    {"resnet_skip_time_act", "false"},
    {"resnet_out_scale_factor", "1"},
    {"center_input_sample", "false"},
    {"conv_in_kernel", "3"},
    {"conv_out_kernel", "3"},
    {"dual_cross_attention", "false"},
    {"attention_type", "\"default\""},
    {"cross_attention_norm", "null"},
    {"num_attention_heads", "null"},
    {"reverse_transformer_layers_per_block", "null"},
};

/* The same for UNet2DModel. */
static const struct model_config_only only_pixels[] = {
    {"class_embed_type", "null"},     {"time_embedding_type", "\"positional\""},
    {"act_fn", "\"silu\""},           {"mid_block_type", "\"UNetMidBlock2D\""},
    {"mid_block_scale_factor", "1"},  {"center_input_sample", "false"},
    {"downsample_type", "\"conv\""},  {"upsample_type", "\"conv\""},
    {"attn_norm_num_groups", "null"},
};

static void read_levels(struct unet_config *self, struct model_config *c, bool pixels)
{
    static const char *const down_text[] = {"DownBlock2D", "CrossAttnDownBlock2D",
                                            NULL};
    static const char *const up_text[] = {"UpBlock2D", "CrossAttnUpBlock2D", NULL};
    static const char *const down_self[] = {"DownBlock2D", "AttnDownBlock2D", NULL};
    static const char *const up_self[] = {"UpBlock2D", "AttnUpBlock2D", NULL};
    const char *const *down = pixels ? down_self : down_text;
    const char *const *up = pixels ? up_self : up_text;
    enum unet_attends attends = pixels ? ATTENDS_SELF : ATTENDS_TEXT;
    size_t n = self->levels =
        model_config_length(c, "down_block_types", UNET_LEVELS_MOST);
    if (model_config_length(c, "up_block_types", UNET_LEVELS_MOST) != n)
        model_config_refuse(c, "up_block_types", "down_block_types has %zu entries", n);
    if (model_config_length(c, "block_out_channels", UNET_LEVELS_MOST) != n)
        model_config_refuse(c, "block_out_channels", "down_block_types has %zu entries",
                            n);
    size_t channels[UNET_LEVELS_MOST], layers[UNET_LEVELS_MOST];
    size_t heads[UNET_LEVELS_MOST], depth[UNET_LEVELS_MOST];
    bool text_only[UNET_LEVELS_MOST];
    model_config_sizes(c, "block_out_channels", 1, CHANNELS_MOST, channels, n);
    model_config_sizes(c, "layers_per_block", 2, UNET_LAYERS_MOST, layers, n);
    model_config_sizes(c, "attention_head_dim", 8, CHANNELS_MOST, heads, n);
    model_config_sizes(c, "transformer_layers_per_block", 1, DEPTH_MOST, depth, n);
    model_config_bools(c, "only_cross_attention", false, text_only, n);
    for (size_t i = 0; i < n; i++)
        self->level[i] = (struct unet_level_config){
            .channels = channels[i],
            .layers = layers[i],
            .heads = heads[i],
            .depth = depth[i],
            .down_attends =
                model_config_entry(c, "down_block_types", i, down) ? attends : 0,
            .up_attends =
                model_config_entry(c, "up_block_types", n - 1 - i, up) ? attends : 0,
            .text_only = text_only[i],
        };
}

/* Sizes that divide each other; what the ops take for granted. */
static void check_levels(const struct unet_config *self, struct model_config *c)
{
    for (size_t i = 0; i < self->levels; i++) {
        const struct unet_level_config *level = &self->level[i];
        bool last = i + 1 == self->levels;
        bool attends =
            level->down_attends || level->up_attends || (last && self->mid_attends);
        if (level->channels % self->groups)
            model_config_refuse(c, "norm_num_groups", "%zu channels are no multiple",
                                level->channels);
        if (attends && level->channels % level->heads)
            model_config_refuse(c, "attention_head_dim",
                                "%zu channels do not divide into %zu heads",
                                level->channels, level->heads);
    }
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

/* Widths of heads become their number; null is one head. */
static void read_head_widths(struct unet_config *self, struct model_config *c)
{
    for (size_t i = 0; i < self->levels; i++) {
        struct unet_level_config *level = &self->level[i];
        size_t width = model_config_has(c, "attention_head_dim") ? level->heads : 0;
        if (!model_config_named(c, "attention_head_dim"))
            width = 8;
        level->heads = width && width <= level->channels ? level->channels / width : 1;
        if (width && level->channels % width)
            model_config_refuse(c, "attention_head_dim", "%zu channels are no multiple",
                                level->channels);
    }
}

static void read_pixels(struct unet_config *self, struct model_config *c)
{
    model_config_only(c, only_pixels, sizeof only_pixels / sizeof *only_pixels);
    if (model_config_has(c, "num_class_embeds"))
        self->classes = model_config_size(c, "num_class_embeds", 1, CLASSES_MOST);
    self->mid_attends =
        model_config_bool(c, "add_attention", true) ? ATTENDS_SELF : ATTENDS_NOT;
    read_levels(self, c, true);
    read_head_widths(self, c);
}

static void read_text(struct unet_config *self, struct model_config *c)
{
    size_t context[UNET_LEVELS_MOST];
    model_config_only(c, only, sizeof only / sizeof *only);
    read_added(self, c);
    self->mid_attends = ATTENDS_TEXT;
    read_levels(self, c, false);
    model_config_sizes(c, "cross_attention_dim", 1280, CHANNELS_MOST, context,
                       self->levels);
    self->context = context[0];
    for (size_t i = 1; i < self->levels; i++)
        if (context[i] != context[0])
            model_config_refuse(c, "cross_attention_dim",
                                "only one width for all levels is supported");
}

bool unet_config_load(struct unet_config *self, const char *path, const char *name,
                      struct error *error)
{
    static const char *const classes[] = {"UNet2DConditionModel", "UNet2DModel", NULL};
    static const char *const shifts[] = {"default", "scale_shift", NULL};
    *self = (struct unet_config){0};
    struct model_config c;
    if (!model_config_open(&c, path, name, error))
        return false;
    bool pixels = model_config_choice(&c, "_class_name", classes[0], classes) == 1;
    size_t channels = pixels ? 3 : 4, sample[2];
    self->in_channels = model_config_size(&c, "in_channels", channels, CHANNELS_MOST);
    self->out_channels = model_config_size(&c, "out_channels", channels, CHANNELS_MOST);
    self->groups = model_config_size(&c, "norm_num_groups", 32, GROUPS_MOST);
    self->eps = (float)model_config_number(&c, "norm_eps", 1e-5, 0, 1);
    self->flip_sin_to_cos = model_config_bool(&c, "flip_sin_to_cos", true);
    self->freq_shift = (float)model_config_number(&c, "freq_shift", 0, 0, 1);
    self->pad_end = model_config_number(&c, "downsample_padding", 1, 0, 1) < 1;
    self->scale_shift =
        model_config_choice(&c, "resnet_time_scale_shift", shifts[0], shifts) == 1;
    if (pixels)
        read_pixels(self, &c);
    else
        read_text(self, &c);
    check_levels(self, &c);
    model_config_sizes(&c, "sample_size", pixels ? 32 : 64, SAMPLE_MOST, sample, 2);
    self->sample_height = sample[0];
    self->sample_width = sample[1];
    return model_config_close(&c, error);
}

bool unet_config_check(const struct unet_config *self, struct error *error)
{
    for (size_t i = 0; i < self->levels; i++) {
        const struct unet_level_config *level = &self->level[i];
        bool attends =
            level->down_attends || (self->mid_attends && i + 1 == self->levels);
        if (level->layers < 1 || level->layers > UNET_LAYERS_MOST ||
            level->depth > DEPTH_MOST || level->channels % self->groups ||
            level->channels % 2 || (attends && level->channels % level->heads))
            return error_set_kind(error, ERROR_INPUT,
                                  "a UNet with %zu channels, %zu layers and %zu "
                                  "transformer blocks in level %zu cannot be run",
                                  level->channels, level->layers, level->depth, i);
    }
    return true;
}
