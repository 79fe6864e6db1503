#include "worker/sd/vae.h"

size_t vae_factor(const struct vae *self)
{
    return (size_t)1 << (self->config.levels - 1);
}

bool vae_encodes(const struct vae *self)
{
    return !self->config.tiny || self->config.tiny_encoder.c;
}

/* Takes x over. */
static struct tensor resnet_then(struct stream *s, struct tensor x,
                                 const struct resnet *w)
{
    struct tensor y = resnet_forward(s, x, NULL, w);
    tensor_give(s, &x);
    return y;
}

/* The resnets of a block, each with its attention; takes x over. */
static struct tensor layers_forward(struct stream *s, struct tensor x,
                                    const struct vae_block *w)
{
    for (size_t i = 0; i < w->layers; i++) {
        x = resnet_then(s, x, &w->resnet[i]);
        if (w->attends)
            self_attention_add(s, x, &w->attention[i]);
    }
    return x;
}

static struct tensor mid_forward(struct stream *s, struct tensor x,
                                 const struct vae_side *w)
{
    x = resnet_then(s, x, &w->mid_first);
    if (w->mid_attends)
        self_attention_add(s, x, &w->mid_attention);
    return resnet_then(s, x, &w->mid_last);
}

/* norm, SiLU, conv_out into y; takes x over. */
static void out_forward(struct stream *s, struct tensor y, struct tensor x,
                        const struct vae_side *w, size_t groups)
{
    group_norm(s, x, x, &w->norm_out, groups, ACTIVATION_SILU);
    conv2d(s, y, x, &w->conv_out, &(struct conv_options){0});
    tensor_give(s, &x);
}

void vae_decode(struct stream *s, struct tensor y, struct tensor x, const struct vae *w)
{
    const struct vae_side *side = &w->decoder;
    struct tensor z = x;
    if (w->config.tiny) {
        vae_tiny_decode(s, y, x, &w->tiny_decoder);
        return;
    }
    if (w->config.post_quant) {
        z = tensor_take(s, x.n, x.h, x.w, x.c);
        conv2d(s, z, x, &w->post_quant, &(struct conv_options){0});
    }
    struct tensor h = tensor_take(s, x.n, x.h, x.w, side->conv_in.out);
    conv2d(s, h, z, &side->conv_in, &(struct conv_options){0});
    if (w->config.post_quant)
        tensor_give(s, &z);
    h = mid_forward(s, h, side);
    for (size_t i = 0; i < w->config.levels; i++) {
        const struct vae_block *block = &side->block[i];
        h = layers_forward(s, h, block);
        if (block->resizes)
            h = upsample(s, h, &block->resize, 2 * h.h, 2 * h.w);
    }
    out_forward(s, y, h, side, w->config.groups);
}

void vae_encode(struct stream *s, struct tensor y, struct tensor x, const struct vae *w)
{
    const struct vae_side *side = &w->encoder;
    if (w->config.tiny) {
        vae_tiny_encode(s, y, x, &w->tiny_encoder);
        return;
    }
    struct tensor h = tensor_take(s, x.n, x.h, x.w, side->conv_in.out);
    conv2d(s, h, x, &side->conv_in, &(struct conv_options){0});
    for (size_t i = 0; i < w->config.levels; i++) {
        const struct vae_block *block = &side->block[i];
        h = layers_forward(s, h, block);
        if (block->resizes) {
            struct tensor half = downsample(s, h, &block->resize, true);
            tensor_give(s, &h);
            h = half;
        }
    }
    h = mid_forward(s, h, side);
    if (!w->config.quant) {
        out_forward(s, y, h, side, w->config.groups);
        return;
    }
    struct tensor moments = tensor_take(s, y.n, y.h, y.w, y.c);
    out_forward(s, moments, h, side, w->config.groups);
    conv2d(s, y, moments, &w->quant, &(struct conv_options){0});
    tensor_give(s, &moments);
}
