/* Attention of a picture's places to each other, behind a group norm: in the middle of a VAE
 * and in UNets of pixels.
 */
#ifndef FARM_SELF_ATTENTION_H
#define FARM_SELF_ATTENTION_H

#include "worker/sd/attention_layer.h"

struct self_attention {
    size_t groups; /* 0: no norm */
    struct norm norm;
    struct attention_layer layer;
};

/* Takes diffusers' names of today or those of files saved before version 0.15. */
void self_attention_load(struct self_attention *self, struct loader *l,
                         const char *prefix, size_t c, size_t heads, size_t groups,
                         float eps);
void self_attention_clear(struct self_attention *self, struct gpu *gpu);

/* x [n, h, w, c] += attention(norm(x)) */
void self_attention_add(struct stream *s, struct tensor x,
                        const struct self_attention *w);

#endif
