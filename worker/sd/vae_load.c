#include <stdio.h>
#include <stdlib.h>

#include "worker/sd/vae.h"

enum { PREFIX_MOST = 64 };
static const float eps = 1e-6F; /* of every norm in the VAE; no key says otherwise */

static struct resnet_kind resnets_of(const struct vae_config *c)
{
    return (struct resnet_kind){
        .groups = c->groups, .eps = eps, .activation = c->activation};
}

static void mid_load(struct vae_side *self, struct loader *l,
                     const struct vae_config *c, const char *side)
{
    size_t channels = c->channels[c->levels - 1];
    struct resnet_kind kind = resnets_of(c);
    char prefix[PREFIX_MOST];
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.0", side);
    resnet_load(&self->mid_first, l, prefix, channels, channels, &kind);
    self->mid_attends = c->mid_attends;
    snprintf(prefix, sizeof prefix, "%s.mid_block.attentions.0", side);
    if (self->mid_attends)
        self_attention_load(&self->mid_attention, l, prefix, channels, 1, c->groups,
                            eps);
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.1", side);
    resnet_load(&self->mid_last, l, prefix, channels, channels, &kind);
}

static void block_load(struct vae_block *self, struct loader *l, const char *prefix,
                       const char *resize, size_t in, size_t out,
                       const struct vae_config *c)
{
    struct resnet_kind kind = resnets_of(c);
    for (size_t i = 0; i < self->layers; i++) {
        char part[PREFIX_MOST + 32];
        snprintf(part, sizeof part, "%s.resnets.%zu", prefix, i);
        resnet_load(&self->resnet[i], l, part, i ? out : in, out, &kind);
        snprintf(part, sizeof part, "%s.attentions.%zu", prefix, i);
        if (self->attends)
            self_attention_load(&self->attention[i], l, part, out, 1, c->groups, eps);
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
        size_t level = decodes ? c->levels - 1 - i : i, out = c->channels[level];
        char prefix[PREFIX_MOST], resize[PREFIX_MOST];
        snprintf(prefix, sizeof prefix, "%s.%s_blocks.%zu", side, way, i);
        snprintf(resize, sizeof resize, "%ssamplers", way);
        block->layers = c->layers + decodes;
        block->resizes = i + 1 < c->levels;
        block->attends = decodes ? c->attends_up[level] : c->attends_down[level];
        block_load(block, l, prefix, resize, before, out, c);
        before = out;
    }
    mid_load(self, l, c, side);
    load_norm(l, &self->norm_out, last, eps, "%s.conv_norm_out", side);
    load_conv(l, &self->conv_out, last, leaves, 3, "%s.conv_out", side);
}

static void kl_load(struct vae *self, struct loader *l)
{
    const struct vae_config *c = &self->config;
    size_t z = c->latent_channels;
    side_load(&self->encoder, l, c, "encoder", "down");
    side_load(&self->decoder, l, c, "decoder", "up");
    if (c->quant)
        load_conv(l, &self->quant, 2 * z, 2 * z, 1, "quant_conv");
    if (c->post_quant)
        load_conv(l, &self->post_quant, z, z, 1, "post_quant_conv");
}

static void tiny_load(struct vae *self, struct loader *l)
{
    const struct vae_config *c = &self->config;
    vae_tiny_load(&self->tiny_decoder, l, &c->tiny_decoder, c->activation, true,
                  c->latent_channels);
    if (c->tiny_encoder.c)
        vae_tiny_load(&self->tiny_encoder, l, &c->tiny_encoder, c->activation, false,
                      c->latent_channels);
}

bool vae_load(struct vae *self, struct gpu *gpu, enum dtype dtype,
              struct checkpoint *from, struct error *error)
{
    struct loader l = {.from = from, .gpu = gpu, .dtype = dtype};
    self->dtype = dtype;
    if (self->config.tiny)
        tiny_load(self, &l);
    else
        kl_load(self, &l);
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
        for (size_t j = 0; j < self->block[i].layers; j++) {
            resnet_clear(&self->block[i].resnet[j], gpu);
            self_attention_clear(&self->block[i].attention[j], gpu);
        }
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
    vae_tiny_clear(&self->tiny_encoder, gpu);
    vae_tiny_clear(&self->tiny_decoder, gpu);
    *self = (struct vae){0};
}
