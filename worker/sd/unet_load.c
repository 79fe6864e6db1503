/* A UNet's weights by diffusers' names; the channels each layer sees follow from the
 * configuration.
 */
#include <stdio.h>
#include <stdlib.h>

#include "worker/sd/unet.h"

enum { PREFIX_MOST = 96 };

static struct resnet_kind resnets_of(const struct unet_config *c)
{
    return (struct resnet_kind){.time_width = c->time_width,
                                .groups = c->groups,
                                .eps = c->eps,
                                .activation = c->activation,
                                .scale_shift = c->scale_shift};
}

static void layer_load(struct unet_block *self, size_t i, struct loader *l,
                       const struct unet_config *c,
                       const struct unet_level_config *level,
                       const struct unet_way_config *way, const char *block, size_t in)
{
    struct resnet_kind kind = resnets_of(c);
    char prefix[PREFIX_MOST];
    snprintf(prefix, sizeof prefix, "%s.resnets.%zu", block, i);
    resnet_load(&self->resnet[i], l, prefix, in, level->channels, &kind);
    snprintf(prefix, sizeof prefix, "%s.attentions.%zu", block, i);
    if (self->attends == ATTENDS_SELF)
        self_attention_load(&self->self[i], l, prefix, level->channels, way->heads,
                            c->groups, c->eps);
    if (self->attends != ATTENDS_TEXT)
        return;
    transformer_load(&self->transformer[i], l, prefix,
                     &(struct transformer_shape){.c = level->channels,
                                                 .context = c->context,
                                                 .heads = way->heads,
                                                 .depth = way->depth[i],
                                                 .groups = c->groups,
                                                 .text_only = level->text_only});
}

static void down_load(struct unet *self, struct loader *l, size_t at)
{
    const struct unet_config *c = &self->config;
    const struct unet_level_config *level = &c->level[at];
    struct unet_block *block = &self->down[at];
    block->layers = level->layers;
    block->attends = level->down.attends;
    block->resizes = at + 1 < c->levels;
    char way[PREFIX_MOST / 2];
    snprintf(way, sizeof way, "down_blocks.%zu", at);
    size_t before = c->level[at ? at - 1 : 0].channels;
    for (size_t i = 0; i < block->layers; i++)
        layer_load(block, i, l, c, level, &level->down, way,
                   i ? level->channels : before);
    if (block->resizes)
        load_conv(l, &block->resize, level->channels, level->channels, 3,
                  "%s.downsamplers.0.conv", way);
}

/* Block `at` of the way up works on level levels - 1 - at. Its skips were left by that
 * level's resnets, the last but by what entered the level from the finer one. */
static void up_load(struct unet *self, struct loader *l, size_t at)
{
    const struct unet_config *c = &self->config;
    size_t place = c->levels - 1 - at;
    const struct unet_level_config *level = &c->level[place];
    struct unet_block *block = &self->up[at];
    block->layers = level->layers + 1;
    block->attends = level->up.attends;
    block->resizes = place > 0;
    char way[PREFIX_MOST / 2];
    snprintf(way, sizeof way, "up_blocks.%zu", at);
    size_t below = c->level[at ? place + 1 : place].channels;
    size_t finer = c->level[place ? place - 1 : 0].channels;
    for (size_t i = 0; i < block->layers; i++) {
        size_t in = i ? level->channels : below;
        size_t skip = i + 1 == block->layers ? finer : level->channels;
        layer_load(block, i, l, c, level, &level->up, way, in + skip);
    }
    if (block->resizes)
        load_conv(l, &block->resize, level->channels, level->channels, 3,
                  "%s.upsamplers.0.conv", way);
}

static void mid_load(struct unet *self, struct loader *l)
{
    const struct unet_config *c = &self->config;
    const struct unet_mid_config *mid = &c->mid;
    size_t channels = c->level[c->levels - 1].channels;
    struct resnet_kind kind = resnets_of(c);
    if (mid->resnets)
        resnet_load(&self->mid_first, l, "mid_block.resnets.0", channels, channels,
                    &kind);
    if (mid->attends == ATTENDS_SELF)
        self_attention_load(&self->mid_self, l, "mid_block.attentions.0", channels,
                            mid->heads, mid->groups, c->eps);
    if (mid->attends == ATTENDS_TEXT)
        transformer_load(&self->mid, l, "mid_block.attentions.0",
                         &(struct transformer_shape){.c = channels,
                                                     .context = c->context,
                                                     .heads = mid->heads,
                                                     .depth = mid->depth,
                                                     .groups = c->groups});
    if (mid->resnets > 1)
        resnet_load(&self->mid_last, l, "mid_block.resnets.1", channels, channels,
                    &kind);
}

/* The classes' vectors stay on the host: a run needs one or few of them. */
static void classes_load(struct unet *self, struct loader *l, size_t width)
{
    struct host_tensor table;
    size_t count = self->config.classes * width;
    self->classes = load_array(l, count, sizeof *self->classes);
    if (l->failed)
        return;
    l->failed =
        !checkpoint_get(l->from, "class_embedding.weight",
                        (size_t[]){self->config.classes, width}, 2, &table, &l->error);
    if (!l->failed)
        host_tensor_floats(&table, 0, count, self->classes);
}

bool unet_load(struct unet *self, struct gpu *gpu, enum dtype dtype,
               struct checkpoint *from, struct error *error)
{
    struct loader l = {.from = from, .gpu = gpu, .dtype = dtype};
    const struct unet_config *c = &self->config;
    size_t first = c->level[0].channels, time = c->time_width;
    load_linear(&l, &self->time1, first, time, LINEAR_BIAS, "time_embedding.linear_1");
    load_linear(&l, &self->time2, time, time, LINEAR_BIAS, "time_embedding.linear_2");
    if (c->guidance)
        load_linear(&l, &self->guidance, c->guidance, first, LINEAR_NO_BIAS,
                    "time_embedding.cond_proj");
    const char *added = c->class_steps ? "class_embedding" : "add_embedding";
    if (c->added) {
        load_linear(&l, &self->added1, c->added, time, LINEAR_BIAS, "%s.linear_1",
                    added);
        load_linear(&l, &self->added2, time, time, LINEAR_BIAS, "%s.linear_2", added);
    }
    if (c->classes)
        classes_load(self, &l, time);
    load_conv(&l, &self->conv_in, c->in_channels, first, c->size_in, "conv_in");
    self->down = load_array(&l, c->levels, sizeof *self->down);
    self->up = load_array(&l, c->levels, sizeof *self->up);
    for (size_t i = 0; self->down && i < c->levels; i++)
        down_load(self, &l, i);
    mid_load(self, &l);
    for (size_t i = 0; self->up && i < c->levels; i++)
        up_load(self, &l, i);
    load_norm(&l, &self->norm_out, first, c->eps, "conv_norm_out");
    load_conv(&l, &self->conv_out, first, c->out_channels, c->size_out, "conv_out");
    if (l.failed && error)
        *error = l.error;
    if (l.failed)
        unet_clear(self, gpu);
    return !l.failed;
}

static void block_clear(struct unet_block *self, struct gpu *gpu)
{
    for (size_t i = 0; i < self->layers; i++) {
        resnet_clear(&self->resnet[i], gpu);
        transformer_clear(&self->transformer[i], gpu);
        self_attention_clear(&self->self[i], gpu);
    }
    conv_clear(&self->resize, gpu);
}

void unet_clear(struct unet *self, struct gpu *gpu)
{
    linear_clear(&self->time1, gpu);
    linear_clear(&self->time2, gpu);
    linear_clear(&self->guidance, gpu);
    linear_clear(&self->added1, gpu);
    linear_clear(&self->added2, gpu);
    conv_clear(&self->conv_in, gpu);
    for (size_t i = 0; i < self->config.levels; i++) {
        if (self->down)
            block_clear(&self->down[i], gpu);
        if (self->up)
            block_clear(&self->up[i], gpu);
    }
    free(self->classes);
    free(self->down);
    free(self->up);
    resnet_clear(&self->mid_first, gpu);
    transformer_clear(&self->mid, gpu);
    self_attention_clear(&self->mid_self, gpu);
    resnet_clear(&self->mid_last, gpu);
    norm_clear(&self->norm_out, gpu);
    conv_clear(&self->conv_out, gpu);
    *self = (struct unet){0};
}
