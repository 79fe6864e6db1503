/* Multi-head attention with its four projections, as text encoder, UNet and VAE use it. */
#ifndef FARM_ATTENTION_LAYER_H
#define FARM_ATTENTION_LAYER_H

#include "worker/sd/loader.h"

struct attention_layer {
    size_t c, heads;
    bool causal;
    struct linear q;    /* c -> c */
    struct linear k, v; /* context -> c */
    struct linear out;  /* c -> c */
};

/* The projections' names below the layer's, in the order q, k, v, out. */
struct attention_names {
    const char *q, *k, *v, *out;
};

/* `context` is the width of what keys and values are made of. `form` is that of q, k, v;
 * out always has a bias. */
void attention_layer_load(struct attention_layer *self, struct loader *l,
                          const char *prefix, const struct attention_names *names,
                          size_t c, size_t context, size_t heads,
                          enum linear_form form);
void attention_layer_clear(struct attention_layer *self, struct gpu *gpu);

/* x += out(attention(q(normed), k(context), v(context))); x and normed [n, h, w, c],
 * context [n, h', w', context width]. key_counts as in attention_options. */
void attention_layer_add(struct stream *s, struct tensor x, struct tensor normed,
                         struct tensor context, cl_mem key_counts,
                         const struct attention_layer *w);

#endif
