#include "worker/sd/transformer.h"

#include <stdio.h>
#include <stdlib.h>

static const float group_eps = 1e-6F,
                   layer_eps = 1e-5F; /* diffusers' own, not config */

static void block_load(struct transformer_block *self, struct loader *l,
                       const char *prefix, const struct transformer_shape *shape)
{
    static const struct attention_names names = {"to_q", "to_k", "to_v", "to_out.0"};
    size_t c = shape->c, context = shape->context;
    char part[200];
    load_norm(l, &self->norm1, c, layer_eps, "%s.norm1", prefix);
    snprintf(part, sizeof part, "%s.attn1", prefix);
    attention_layer_load(&self->self, l, part, &names, c,
                         shape->text_only ? context : c, shape->heads, LINEAR_NO_BIAS);
    load_norm(l, &self->norm2, c, layer_eps, "%s.norm2", prefix);
    snprintf(part, sizeof part, "%s.attn2", prefix);
    attention_layer_load(&self->cross, l, part, &names, c, context, shape->heads,
                         LINEAR_NO_BIAS);
    load_norm(l, &self->norm3, c, layer_eps, "%s.norm3", prefix);
    load_linear(l, &self->expand, c, 8 * c, LINEAR_GEGLU, "%s.ff.net.0.proj", prefix);
    load_linear(l, &self->contract, 4 * c, c, LINEAR_BIAS, "%s.ff.net.2", prefix);
}

void transformer_load(struct transformer *self, struct loader *l, const char *prefix,
                      const struct transformer_shape *shape)
{
    size_t c = shape->c;
    self->c = c;
    self->groups = shape->groups;
    self->text_only = shape->text_only;
    load_norm(l, &self->norm, c, group_eps, "%s.norm", prefix);
    load_linear(l, &self->in, c, c, LINEAR_BIAS, "%s.proj_in", prefix);
    self->block = load_array(l, shape->depth, sizeof *self->block);
    self->depth = self->block ? shape->depth : 0;
    for (size_t i = 0; i < self->depth; i++) {
        char part[160];
        snprintf(part, sizeof part, "%s.transformer_blocks.%zu", prefix, i);
        block_load(&self->block[i], l, part, shape);
    }
    load_linear(l, &self->out, c, c, LINEAR_BIAS, "%s.proj_out", prefix);
}

void transformer_clear(struct transformer *self, struct gpu *gpu)
{
    norm_clear(&self->norm, gpu);
    linear_clear(&self->in, gpu);
    linear_clear(&self->out, gpu);
    for (size_t i = 0; i < self->depth; i++) {
        struct transformer_block *block = &self->block[i];
        norm_clear(&block->norm1, gpu);
        attention_layer_clear(&block->self, gpu);
        norm_clear(&block->norm2, gpu);
        attention_layer_clear(&block->cross, gpu);
        norm_clear(&block->norm3, gpu);
        linear_clear(&block->expand, gpu);
        linear_clear(&block->contract, gpu);
    }
    free(self->block);
    *self = (struct transformer){0};
}

static void feed_forward_add(struct stream *s, struct tensor x, struct tensor normed,
                             const struct transformer_block *w)
{
    struct tensor wide = tensor_take(s, x.n, x.h, x.w, 4 * x.c);
    linear(s, wide, normed, &w->expand, ACTIVATION_GEGLU, NULL);
    linear(s, x, wide, &w->contract, ACTIVATION_NONE, &x);
    tensor_give(s, &wide);
}

void transformer_apply(struct stream *s, struct tensor x,
                       const struct text_context *text, const struct transformer *w)
{
    struct tensor normed = tensor_take(s, x.n, x.h, x.w, w->c);
    struct tensor tokens = tensor_take(s, x.n, x.h, x.w, w->c);
    group_norm(s, normed, x, &w->norm, w->groups, ACTIVATION_NONE);
    linear(s, tokens, normed, &w->in, ACTIVATION_NONE, NULL);
    for (size_t i = 0; i < w->depth; i++) {
        const struct transformer_block *block = &w->block[i];
        layer_norm(s, normed, tokens, &block->norm1);
        attention_layer_add(s, tokens, normed, w->text_only ? text->tokens : normed,
                            w->text_only ? text->key_counts : NULL, &block->self);
        layer_norm(s, normed, tokens, &block->norm2);
        attention_layer_add(s, tokens, normed, text->tokens, text->key_counts,
                            &block->cross);
        layer_norm(s, normed, tokens, &block->norm3);
        feed_forward_add(s, tokens, normed, block);
    }
    linear(s, x, tokens, &w->out, ACTIVATION_NONE, &x);
    tensor_give(s, &tokens);
    tensor_give(s, &normed);
}
