#include <stdio.h>
#include <stdlib.h>

#include "worker/sd/model_config.h"
#include "worker/sd/vae.h"

enum { SAMPLE_MOST = 65536 };
enum { CHANNELS_MOST = 16384, GROUPS_MOST = 1024, PREFIX_MOST = 64 };
static const float eps = 1e-6F; /* of every norm in the VAE; no key says otherwise */

static const struct model_config_only only[] = {
    {"_class_name", "\"AutoencoderKL\""},
    {"act_fn", "\"silu\""},
    {"shift_factor", "null"},
    {"latents_mean", "null"},
    {"latents_std", "null"},
};

bool vae_config_load(struct vae_config *self, const char *path, const char *name,
                     struct error *error)
{
    *self = (struct vae_config){0};
    static const char *const down[] = {"DownEncoderBlock2D", NULL};
    static const char *const up[] = {"UpDecoderBlock2D", NULL};
    struct model_config c;
    if (!model_config_open(&c, path, name, error))
        return false;
    model_config_only(&c, only, sizeof only / sizeof *only);
    self->latent_channels = model_config_size(&c, "latent_channels", 4, CHANNELS_MOST);
    self->layers = model_config_size(&c, "layers_per_block", 1, VAE_LAYERS_MOST);
    self->groups = model_config_size(&c, "norm_num_groups", 32, GROUPS_MOST);
    self->mid_attends = model_config_bool(&c, "mid_block_add_attention", true);
    self->quant = model_config_bool(&c, "use_quant_conv", true);
    self->force_upcast = model_config_bool(&c, "force_upcast", true);
    self->post_quant = model_config_bool(&c, "use_post_quant_conv", true);
    size_t sample[2];
    model_config_sizes(&c, "sample_size", 512, SAMPLE_MOST, sample, 2);
    self->sample = sample[0];
    self->scaling_factor =
        model_config_number(&c, "scaling_factor", 0.18215, 1e-6, 1e6);
    self->levels = model_config_length(&c, "block_out_channels", VAE_LEVELS_MOST);
    if (model_config_length(&c, "down_block_types", VAE_LEVELS_MOST) != self->levels ||
        model_config_length(&c, "up_block_types", VAE_LEVELS_MOST) != self->levels)
        model_config_refuse(&c, "block_out_channels",
                            "down_block_types and up_block_types must be as long");
    model_config_sizes(&c, "block_out_channels", 1, CHANNELS_MOST, self->channels,
                       self->levels);
    for (size_t i = 0; i < self->levels; i++) {
        model_config_entry(&c, "down_block_types", i, down);
        model_config_entry(&c, "up_block_types", i, up);
        if (self->channels[i] % self->groups)
            model_config_refuse(&c, "norm_num_groups", "%zu channels are no multiple",
                                self->channels[i]);
    }
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

static void mid_load(struct vae_side *self, struct loader *l,
                     const struct vae_config *c, const char *side)
{
    size_t channels = c->channels[c->levels - 1];
    char prefix[PREFIX_MOST];
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.0", side);
    resnet_load(&self->mid_first, l, prefix, channels, channels, 0, c->groups, eps);
    self->mid_attends = c->mid_attends;
    snprintf(prefix, sizeof prefix, "%s.mid_block.attentions.0", side);
    if (self->mid_attends)
        self_attention_load(&self->mid_attention, l, prefix, channels, 1, c->groups,
                            eps);
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.1", side);
    resnet_load(&self->mid_last, l, prefix, channels, channels, 0, c->groups, eps);
}

static void block_load(struct vae_block *self, struct loader *l, const char *prefix,
                       const char *resize, size_t in, size_t out, size_t groups)
{
    for (size_t i = 0; i < self->layers; i++) {
        char part[PREFIX_MOST + 32];
        snprintf(part, sizeof part, "%s.resnets.%zu", prefix, i);
        resnet_load(&self->resnet[i], l, part, i ? out : in, out, 0, groups, eps);
    }
    if (self->resizes)
        load_conv(l, &self->resize, out, out, 3, "%s.%s.0.conv", prefix, resize);
}

/* `way`: "down" on the encoder's, "up" on the decoder's, whose blocks begin coarsest. */
static void side_load(struct vae_side *self, struct loader *l,
                      const struct vae_config *c, const char *side, const char *way)
{
    bool decodes = way[0] == 'u';
    size_t finest = c->channels[0], coarsest = c->channels[c->levels - 1];
    size_t enters = decodes ? c->latent_channels : VAE_PICTURE_CHANNELS;
    size_t leaves = decodes ? VAE_PICTURE_CHANNELS : 2 * c->latent_channels;
    size_t before = decodes ? coarsest : finest, last = decodes ? finest : coarsest;
    load_conv(l, &self->conv_in, enters, before, 3, "%s.conv_in", side);
    self->block = load_array(l, c->levels, sizeof *self->block);
    for (size_t i = 0; self->block && i < c->levels; i++) {
        struct vae_block *block = &self->block[i];
        size_t out = c->channels[decodes ? c->levels - 1 - i : i];
        char prefix[PREFIX_MOST], resize[PREFIX_MOST];
        snprintf(prefix, sizeof prefix, "%s.%s_blocks.%zu", side, way, i);
        snprintf(resize, sizeof resize, "%ssamplers", way);
        block->layers = c->layers + decodes;
        block->resizes = i + 1 < c->levels;
        block_load(block, l, prefix, resize, before, out, c->groups);
        before = out;
    }
    mid_load(self, l, c, side);
    load_norm(l, &self->norm_out, last, eps, "%s.conv_norm_out", side);
    load_conv(l, &self->conv_out, last, leaves, 3, "%s.conv_out", side);
}

bool vae_load(struct vae *self, struct gpu *gpu, enum dtype dtype,
              struct checkpoint *from, struct error *error)
{
    const struct vae_config *c = &self->config;
    self->dtype = dtype;
    struct loader l = {.from = from, .gpu = gpu, .dtype = dtype};
    size_t z = c->latent_channels;
    side_load(&self->encoder, &l, c, "encoder", "down");
    side_load(&self->decoder, &l, c, "decoder", "up");
    if (c->quant)
        load_conv(&l, &self->quant, 2 * z, 2 * z, 1, "quant_conv");
    if (c->post_quant)
        load_conv(&l, &self->post_quant, z, z, 1, "post_quant_conv");
    if (l.failed && error)
        *error = l.error;
    if (l.failed)
        vae_clear(self, gpu);
    return !l.failed;
}

static void side_clear(struct vae_side *self, struct gpu *gpu, size_t levels)
{
    conv_clear(&self->conv_in, gpu);
    resnet_clear(&self->mid_first, gpu);
    resnet_clear(&self->mid_last, gpu);
    self_attention_clear(&self->mid_attention, gpu);
    for (size_t i = 0; self->block && i < levels; i++) {
        for (size_t j = 0; j < self->block[i].layers; j++)
            resnet_clear(&self->block[i].resnet[j], gpu);
        conv_clear(&self->block[i].resize, gpu);
    }
    free(self->block);
    norm_clear(&self->norm_out, gpu);
    conv_clear(&self->conv_out, gpu);
}

void vae_clear(struct vae *self, struct gpu *gpu)
{
    side_clear(&self->encoder, gpu, self->config.levels);
    side_clear(&self->decoder, gpu, self->config.levels);
    conv_clear(&self->quant, gpu);
    conv_clear(&self->post_quant, gpu);
    *self = (struct vae){0};
}
