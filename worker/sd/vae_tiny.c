/* diffusers numbers convolutions, activations, blocks and enlargements of a side through:
 * only some of the numbers have tensors, and which have tells how a side is built.
 */
#include "worker/sd/vae_tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURE_CHANNELS = 3, WIDTH_MOST = 4096, NAME_MOST = 64 };

static const char *const sides[] = {"encoder", "decoder"};

/* ---- What a file holds */

static const struct tensor_entry *find(const struct checkpoint *from, bool decodes,
                                       size_t i, const char *ending)
{
    char name[NAME_MOST];
    snprintf(name, sizeof name, "%s.layers.%zu.%s", sides[decodes], i, ending);
    return checkpoint_entry(from, name);
}

static bool make_no_sense(bool decodes, struct error *error)
{
    return error_set_kind(
        error, ERROR_INPUT,
        "%s.layers: its tensors make no TAESD of at most %d levels and "
        "%d blocks",
        sides[decodes], TINY_LEVELS_MOST, TINY_BLOCKS_MOST);
}

/* Level after level: blocks, then what resizes, which is a convolution and in the decoder
 * stands behind an enlargement that has no tensors. */
static bool read_levels(struct vae_tiny_shape *into, const struct checkpoint *from,
                        bool decodes, size_t at, struct error *error)
{
    size_t blocks = 0;
    for (;;) {
        if (into->levels == TINY_LEVELS_MOST)
            return make_no_sense(decodes, error);
        size_t *count = &into->blocks[into->levels++];
        for (; find(from, decodes, at, "conv.0.weight"); at++, ++*count)
            if (++blocks > TINY_BLOCKS_MOST)
                return make_no_sense(decodes, error);
        bool enlarges = decodes && !find(from, decodes, at, "weight");
        at += enlarges;
        if (!find(from, decodes, at, "weight"))
            return make_no_sense(decodes, error);
        if (find(from, decodes, at++, "bias"))
            return true;
    }
}

bool vae_tiny_read(struct vae_tiny_shape *into, const struct checkpoint *from,
                   bool decodes, size_t *latents, struct error *error)
{
    *into = (struct vae_tiny_shape){0};
    const struct tensor_entry *first = find(from, decodes, 0, "weight");
    if (!first)
        return true;
    if (first->dims != 4 || first->shape[0] < 1 || first->shape[0] > WIDTH_MOST ||
        first->shape[1] > WIDTH_MOST)
        return make_no_sense(decodes, error);
    into->c = first->shape[0];
    if (!read_levels(into, from, decodes, decodes ? 2 : 1, error))
        return false;
    size_t at = 1;
    for (size_t i = 0; i < into->levels; i++)
        at += into->blocks[i] + (i > 0);
    const struct tensor_entry *last = decodes ? NULL : find(from, false, at, "weight");
    *latents = decodes ? first->shape[1] : last && last->dims ? last->shape[0] : 0;
    return *latents || make_no_sense(decodes, error);
}

bool vae_tiny_name(const void *owner, const char *tensor, struct stored *into)
{
    const struct vae_tiny_names *names = owner;
    char side[8];
    size_t i;
    int used = 0;
    if (sscanf(tensor, "%7[a-z].layers.%zu.%n", side, &i, &used) != 2 || !used)
        return false;
    bool decodes = strcmp(side, sides[1]) == 0;
    int length =
        snprintf(into->name, sizeof into->name, "%s%zu.%s",
                 decodes ? names->decoder : names->encoder, i + decodes, tensor + used);
    return length > 0 && (size_t)length < sizeof into->name;
}

/* ---- Loading */

void vae_tiny_load(struct vae_tiny_side *self, struct loader *l,
                   const struct vae_tiny_shape *shape, enum activation activation,
                   bool decodes, size_t latents)
{
    const char *side = sides[decodes];
    size_t c = shape->c, count = 0, at = decodes ? 2 : 1, block = 0;
    for (size_t i = 0; i < shape->levels; i++)
        count += shape->blocks[i];
    self->shape = *shape;
    self->activation = activation;
    load_conv(l, &self->first, decodes ? latents : PICTURE_CHANNELS, c, 3,
              "%s.layers.0", side);
    self->block = load_array(l, count + 1, sizeof *self->block);
    for (size_t i = 0; self->block && i < shape->levels; i++) {
        if (!decodes && i)
            load_conv_plain(l, &self->resize[i - 1], c, c, 3, "%s.layers.%zu", side,
                            at++);
        for (size_t j = 0; j < shape->blocks[i]; j++, block++, at++)
            for (size_t k = 0; k < 3; k++)
                load_conv(l, &self->block[block].conv[k], c, c, 3,
                          "%s.layers.%zu.conv.%zu", side, at, 2 * k);
        if (decodes && i + 1 < shape->levels) {
            load_conv_plain(l, &self->resize[i], c, c, 3, "%s.layers.%zu", side,
                            at + 1);
            at += 2;
        }
    }
    load_conv(l, &self->last, c, decodes ? PICTURE_CHANNELS : latents, 3,
              "%s.layers.%zu", side, at);
}

void vae_tiny_clear(struct vae_tiny_side *self, struct gpu *gpu)
{
    size_t count = 0;
    for (size_t i = 0; i < self->shape.levels; i++)
        count += self->shape.blocks[i];
    for (size_t i = 0; self->block && i < count; i++)
        for (size_t k = 0; k < 3; k++)
            conv_clear(&self->block[i].conv[k], gpu);
    free(self->block);
    conv_clear(&self->first, gpu);
    conv_clear(&self->last, gpu);
    for (size_t i = 0; i < TINY_LEVELS_MOST; i++)
        conv_clear(&self->resize[i], gpu);
    *self = (struct vae_tiny_side){0};
}

/* ---- Passes */

static void block_apply(struct stream *s, struct tensor x,
                        const struct vae_tiny_block *w, enum activation activation)
{
    struct tensor a = tensor_take(s, x.n, x.h, x.w, x.c);
    struct tensor b = tensor_take(s, x.n, x.h, x.w, x.c);
    const struct conv_options acts = {.activation = activation};
    conv2d(s, a, x, &w->conv[0], &acts);
    conv2d(s, b, a, &w->conv[1], &acts);
    conv2d(s, a, b, &w->conv[2], &(struct conv_options){.residual = &x});
    activate(s, x, a, ACTIVATION_RELU);
    tensor_give(s, &b);
    tensor_give(s, &a);
}

/* The levels with what stands between them; takes x over. */
static struct tensor levels_apply(struct stream *s, struct tensor x,
                                  const struct vae_tiny_side *w, bool decodes)
{
    const struct vae_tiny_block *block = w->block;
    for (size_t i = 0; i < w->shape.levels; i++) {
        for (size_t j = 0; j < w->shape.blocks[i]; j++)
            block_apply(s, x, block++, w->activation);
        if (i + 1 == w->shape.levels)
            break;
        struct tensor y = decodes
                              ? tensor_take(s, x.n, 2 * x.h, 2 * x.w, x.c)
                              : tensor_take(s, x.n, (x.h + 1) / 2, (x.w + 1) / 2, x.c);
        conv2d(s, y, x, &w->resize[i],
               &(struct conv_options){.stride = decodes ? 1 : 2,
                                      .up_h = decodes ? y.h : 0,
                                      .up_w = decodes ? y.w : 0});
        tensor_give(s, &x);
        x = y;
    }
    return x;
}

void vae_tiny_decode(struct stream *s, struct tensor y, struct tensor x,
                     const struct vae_tiny_side *w)
{
    struct tensor z = tensor_take(s, x.n, x.h, x.w, x.c);
    struct tensor h = tensor_take(s, x.n, x.h, x.w, w->shape.c);
    activate(s, z, x, ACTIVATION_SOFT_CLAMP);
    conv2d(s, h, z, &w->first, &(struct conv_options){.activation = w->activation});
    tensor_give(s, &z);
    h = levels_apply(s, h, w, true);
    conv2d(s, y, h, &w->last, &(struct conv_options){0});
    tensor_give(s, &h);
    affine(s, y, y, 2, -1);
}

void vae_tiny_encode(struct stream *s, struct tensor y, struct tensor x,
                     const struct vae_tiny_side *w)
{
    struct tensor picture = tensor_take(s, x.n, x.h, x.w, x.c);
    struct tensor h = tensor_take(s, x.n, x.h, x.w, w->shape.c);
    struct tensor latents = tensor_take(s, y.n, y.h, y.w, y.c / 2);
    affine(s, picture, x, 0.5F, 0.5F);
    conv2d(s, h, picture, &w->first, &(struct conv_options){0});
    tensor_give(s, &picture);
    h = levels_apply(s, h, w, false);
    conv2d(s, latents, h, &w->last, &(struct conv_options){0});
    tensor_give(s, &h);
    concat(s, y, latents, latents);
    tensor_give(s, &latents);
}
