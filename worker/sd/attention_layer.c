#include "worker/sd/attention_layer.h"

void attention_layer_load(struct attention_layer *self, struct loader *l,
                          const char *prefix, const struct attention_names *names,
                          size_t c, size_t context, size_t heads, enum linear_form form)
{
    self->c = c;
    self->heads = heads;
    load_linear(l, &self->q, c, c, form, "%s.%s", prefix, names->q);
    load_linear(l, &self->k, context, c, form, "%s.%s", prefix, names->k);
    load_linear(l, &self->v, context, c, form, "%s.%s", prefix, names->v);
    load_linear(l, &self->out, c, c, LINEAR_BIAS, "%s.%s", prefix, names->out);
}

void attention_layer_clear(struct attention_layer *self, struct gpu *gpu)
{
    linear_clear(&self->q, gpu);
    linear_clear(&self->k, gpu);
    linear_clear(&self->v, gpu);
    linear_clear(&self->out, gpu);
}

void attention_layer_add(struct stream *s, struct tensor x, struct tensor normed,
                         struct tensor context, cl_mem key_counts,
                         const struct attention_layer *w)
{
    struct tensor q = tensor_take(s, x.n, x.h, x.w, w->c);
    struct tensor k = tensor_take(s, context.n, context.h, context.w, w->c);
    struct tensor v = tensor_take(s, context.n, context.h, context.w, w->c);
    struct tensor y = tensor_take(s, x.n, x.h, x.w, w->c);
    linear(s, q, normed, &w->q, ACTIVATION_NONE, NULL);
    linear(s, k, context, &w->k, ACTIVATION_NONE, NULL);
    linear(s, v, context, &w->v, ACTIVATION_NONE, NULL);
    attention(s, y, q, k, v,
              &(struct attention_options){
                  .heads = w->heads, .causal = w->causal, .key_counts = key_counts});
    linear(s, x, y, &w->out, ACTIVATION_NONE, &x);
    tensor_give(s, &y);
    tensor_give(s, &v);
    tensor_give(s, &k);
    tensor_give(s, &q);
}
