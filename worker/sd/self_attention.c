#include "worker/sd/self_attention.h"

#include <stdio.h>

void self_attention_load(struct self_attention *self, struct loader *l,
                         const char *prefix, size_t c, size_t heads, size_t groups,
                         float eps)
{
    static const struct attention_names now = {"to_q", "to_k", "to_v", "to_out.0"};
    static const struct attention_names then = {"query", "key", "value", "proj_attn"};
    char old[200];
    snprintf(old, sizeof old, "%s.query.weight", prefix);
    self->groups = groups;
    if (groups)
        load_norm(l, &self->norm, c, eps, "%s.group_norm", prefix);
    attention_layer_load(&self->layer, l, prefix,
                         checkpoint_has(l->from, old) ? &then : &now, c, c, heads,
                         LINEAR_BIAS);
}

void self_attention_clear(struct self_attention *self, struct gpu *gpu)
{
    norm_clear(&self->norm, gpu);
    attention_layer_clear(&self->layer, gpu);
}

void self_attention_add(struct stream *s, struct tensor x,
                        const struct self_attention *w)
{
    if (!w->groups) {
        attention_layer_add(s, x, x, x, NULL, &w->layer);
        return;
    }
    struct tensor normed = tensor_take(s, x.n, x.h, x.w, x.c);
    group_norm(s, normed, x, &w->norm, w->groups, ACTIVATION_NONE);
    attention_layer_add(s, x, normed, normed, NULL, &w->layer);
    tensor_give(s, &normed);
}
