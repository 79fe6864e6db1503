#include "worker/sd/vae.h"

#include "worker/sd/model_config.h"

enum { SAMPLE_MOST = 65536, CHANNELS_MOST = 16384, GROUPS_MOST = 1024 };

static const struct model_config_only only[] = {
    {"in_channels", "3"},
    {"out_channels", "3"},
};

/* The same for AutoencoderTiny. */
static const struct model_config_only only_tiny[] = {
    {"upsampling_scaling_factor", "2"},
    {"upsample_fn", "\"nearest\""},
};

static void read_blocks(struct vae_config *self, struct model_config *c)
{
    static const char *const down[] = {"DownEncoderBlock2D", "AttnDownEncoderBlock2D",
                                       NULL};
    static const char *const up[] = {"UpDecoderBlock2D", "AttnUpDecoderBlock2D", NULL};
    size_t n = self->levels =
        model_config_length(c, "block_out_channels", VAE_LEVELS_MOST);
    if (model_config_length(c, "down_block_types", VAE_LEVELS_MOST) != n ||
        model_config_length(c, "up_block_types", VAE_LEVELS_MOST) != n)
        model_config_refuse(c, "block_out_channels",
                            "down_block_types and up_block_types must be as long");
    model_config_sizes(c, "block_out_channels", 1, CHANNELS_MOST, self->channels, n);
    for (size_t i = 0; i < n; i++) {
        self->attends_down[i] = model_config_entry(c, "down_block_types", i, down);
        self->attends_up[n - 1 - i] = model_config_entry(c, "up_block_types", i, up);
        if (self->channels[i] % self->groups)
            model_config_refuse(c, "norm_num_groups", "%zu channels are no multiple",
                                self->channels[i]);
    }
}

static void read_normalised(struct vae_config *self, struct model_config *c)
{
    size_t count = self->latent_channels;
    if (!model_config_has(c, "latents_mean") || !model_config_has(c, "latents_std"))
        return;
    if (count > VAE_NORMALISED_MOST)
        model_config_refuse(c, "latents_mean", "supported up to %d channels",
                            VAE_NORMALISED_MOST);
    else
        self->normalised =
            model_config_numbers(c, "latents_mean", -1e6, 1e6, self->mean, count) &&
            model_config_numbers(c, "latents_std", 1e-6, 1e6, self->deviation, count);
}

static void read_kl(struct vae_config *self, struct model_config *c)
{
    size_t sample[2];
    self->layers = model_config_size(c, "layers_per_block", 1, VAE_LAYERS_MOST);
    self->groups = model_config_size(c, "norm_num_groups", 32, GROUPS_MOST);
    self->activation = model_config_activation(c, "act_fn", "silu");
    self->mid_attends = model_config_bool(c, "mid_block_add_attention", true);
    self->quant = model_config_bool(c, "use_quant_conv", true);
    self->post_quant = model_config_bool(c, "use_post_quant_conv", true);
    self->force_upcast = model_config_bool(c, "force_upcast", true);
    model_config_sizes(c, "sample_size", 512, SAMPLE_MOST, sample, 2);
    self->sample = sample[0];
    self->scaling_factor = model_config_number(c, "scaling_factor", 0.18215, 1e-6, 1e6);
    read_normalised(self, c);
    read_blocks(self, c);
}

static void read_tiny_side(struct vae_tiny_shape *self, struct model_config *c,
                           const char *counts, const char *channels,
                           const size_t *fallback)
{
    enum { USUAL = 4, WIDTH = 64 };
    size_t width[TINY_LEVELS_MOST];
    self->levels = model_config_has(c, counts)
                       ? model_config_length(c, counts, TINY_LEVELS_MOST)
                       : USUAL;
    if (model_config_has(c, counts))
        model_config_sizes(c, counts, 1, TINY_BLOCKS_MOST, self->blocks, self->levels);
    else
        for (size_t i = 0; i < USUAL; i++)
            self->blocks[i] = fallback[i];
    model_config_sizes(c, channels, WIDTH, CHANNELS_MOST, width, self->levels);
    self->c = width[0];
    for (size_t i = 1; i < self->levels; i++)
        if (width[i] != width[0])
            model_config_refuse(c, channels, "only one width for all levels exists");
}

static void read_tiny(struct vae_config *self, struct model_config *c)
{
    model_config_only(c, only_tiny, sizeof only_tiny / sizeof *only_tiny);
    self->tiny = true;
    self->activation = model_config_activation(c, "act_fn", "relu");
    self->scaling_factor = model_config_number(c, "scaling_factor", 1, 1e-6, 1e6);
    read_tiny_side(&self->tiny_encoder, c, "num_encoder_blocks",
                   "encoder_block_out_channels", (const size_t[]){1, 3, 3, 3});
    read_tiny_side(&self->tiny_decoder, c, "num_decoder_blocks",
                   "decoder_block_out_channels", (const size_t[]){3, 3, 3, 1});
    self->levels = self->tiny_decoder.levels;
    if (self->tiny_encoder.levels != self->levels)
        model_config_refuse(c, "num_encoder_blocks", "num_decoder_blocks has %zu",
                            self->levels);
}

bool vae_config_load(struct vae_config *self, const char *path, const char *name,
                     struct error *error)
{
    static const char *const classes[] = {"AutoencoderKL", "AutoencoderTiny", NULL};
    *self = (struct vae_config){0};
    struct model_config c;
    if (!model_config_open(&c, path, name, error))
        return false;
    bool tiny = model_config_choice(&c, "_class_name", classes[0], classes) == 1;
    model_config_only(&c, only, sizeof only / sizeof *only);
    self->latent_channels = model_config_size(&c, "latent_channels", 4, CHANNELS_MOST);
    if (tiny)
        read_tiny(self, &c);
    else
        read_kl(self, &c);
    return model_config_close(&c, error);
}

bool vae_config_check(const struct vae_config *self, struct error *error)
{
    if (self->layers < 1 || self->layers > VAE_LAYERS_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "a VAE with %zu layers cannot be run; from 1 to %d",
                              self->layers, VAE_LAYERS_MOST);
    for (size_t i = 0; i < self->levels; i++)
        if (self->channels[i] % self->groups)
            return error_set_kind(error, ERROR_INPUT,
                                  "a VAE with %zu channels cannot be run; expected a "
                                  "multiple of %zu",
                                  self->channels[i], self->groups);
    return true;
}
