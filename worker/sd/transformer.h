/* Transformer2DModel: attention over the picture's places and to the text.
 *
 * NHWC makes a picture a list of tokens as it is, so nothing is reshaped.
 */
#ifndef FARM_TRANSFORMER_H
#define FARM_TRANSFORMER_H

#include "worker/sd/attention_layer.h"

/* x += self(norm1(x)); x += cross(norm2(x), context); x += contract(expand(norm3(x))) */
struct transformer_block {
    struct norm norm1, norm2, norm3; /* c */
    struct attention_layer self;     /* attends to the text where text_only */
    struct attention_layer cross;
    struct linear expand;   /* c -> 8 c, GEGLU to 4 c */
    struct linear contract; /* 4 c -> c */
};

struct transformer {
    size_t c, groups, depth;
    bool text_only; /* only_cross_attention: both attentions look at the text */
    struct norm norm;
    struct linear in, out; /* c -> c; 1x1 convolutions in SD 1.x */
    struct transformer_block *block;
};

/* The text that is attended to: tokens [n, 1, tokens, context width], of which each row's
 * first key_counts (int32 [n]; NULL: all) are looked at. */
struct text_context {
    struct tensor tokens;
    cl_mem key_counts;
};

struct transformer_shape {
    size_t c, context, heads, depth, groups;
    bool text_only;
};

void transformer_load(struct transformer *self, struct loader *l, const char *prefix,
                      const struct transformer_shape *shape);
void transformer_clear(struct transformer *self, struct gpu *gpu);

/* In place: x [n, h, w, c]. */
void transformer_apply(struct stream *s, struct tensor x,
                       const struct text_context *text, const struct transformer *w);

#endif
