/* A layer of CLIP's transformers, of texts and of pictures (Radford et al. 2021).
 */
#ifndef FARM_CLIP_LAYER_H
#define FARM_CLIP_LAYER_H

#include "worker/sd/attention_layer.h"

struct clip_layer {
    struct norm norm1, norm2; /* c */
    struct attention_layer attention;
    struct linear expand, contract; /* c -> inner -> c */
};

struct clip_layer_shape {
    size_t c, inner, heads;
    float eps;
    bool causal; /* a place attends to those before it alone */
};

void clip_layer_load(struct clip_layer *self, struct loader *l, const char *prefix,
                     const struct clip_layer_shape *shape);
void clip_layer_clear(struct clip_layer *self, struct gpu *gpu);

/* x [n, 1, places, c] goes through it; normed of x's shape and wide [n, 1, places, inner] are
 * scratch. */
void clip_layer_apply(struct stream *s, struct tensor x, struct tensor normed,
                      struct tensor wide, const struct clip_layer *w,
                      enum activation activation);

#endif
