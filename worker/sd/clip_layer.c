#include "worker/sd/clip_layer.h"

#include <stdio.h>

void clip_layer_load(struct clip_layer *self, struct loader *l, const char *prefix,
                     const struct clip_layer_shape *shape)
{
    static const struct attention_names names = {"q_proj", "k_proj", "v_proj",
                                                 "out_proj"};
    size_t c = shape->c, inner = shape->inner;
    char part[120];
    load_norm(l, &self->norm1, c, shape->eps, "%s.layer_norm1", prefix);
    snprintf(part, sizeof part, "%s.self_attn", prefix);
    attention_layer_load(&self->attention, l, part, &names, c, c, shape->heads,
                         LINEAR_BIAS);
    self->attention.causal = shape->causal;
    load_norm(l, &self->norm2, c, shape->eps, "%s.layer_norm2", prefix);
    load_linear(l, &self->expand, c, inner, LINEAR_BIAS, "%s.mlp.fc1", prefix);
    load_linear(l, &self->contract, inner, c, LINEAR_BIAS, "%s.mlp.fc2", prefix);
}

void clip_layer_clear(struct clip_layer *self, struct gpu *gpu)
{
    norm_clear(&self->norm1, gpu);
    attention_layer_clear(&self->attention, gpu);
    norm_clear(&self->norm2, gpu);
    linear_clear(&self->expand, gpu);
    linear_clear(&self->contract, gpu);
}

void clip_layer_apply(struct stream *s, struct tensor x, struct tensor normed,
                      struct tensor wide, const struct clip_layer *w,
                      enum activation activation)
{
    layer_norm(s, normed, x, &w->norm1);
    attention_layer_add(s, x, normed, normed, NULL, &w->attention);
    layer_norm(s, normed, x, &w->norm2);
    linear(s, wide, normed, &w->expand, activation, NULL);
    linear(s, x, wide, &w->contract, ACTIVATION_NONE, &x);
}
