#include "worker/sd/text_encoder.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker/sd/model_config.h"

enum { WIDTH_MOST = 16384, LAYERS_MOST = 128, TOKENS_MOST = 4096 };

bool text_encoder_config(struct text_encoder *self, const char *path, const char *name,
                         struct error *error)
{
    *self = (struct text_encoder){0};
    static const char *const activations[] = {
        "quick_gelu", "gelu",  "gelu_new", "gelu_fast", "gelu_pytorch_tanh",
        "silu",       "swish", "mish",     "relu",      NULL};
    static const enum activation meaning[] = {
        ACTIVATION_QUICK_GELU, ACTIVATION_GELU,      ACTIVATION_GELU_TANH,
        ACTIVATION_GELU_TANH,  ACTIVATION_GELU_TANH, ACTIVATION_SILU,
        ACTIVATION_SILU,       ACTIVATION_MISH,      ACTIVATION_RELU};
    static const struct model_config_only only[] = {
        {"model_type", "\"clip_text_model\""},
    };
    struct model_config c;
    if (!model_config_open(&c, path, name, error))
        return false;
    model_config_only(&c, only, sizeof only / sizeof *only);
    self->vocabulary = model_config_size(&c, "vocab_size", 49408, (size_t)1 << 20);
    self->tokens = model_config_size(&c, "max_position_embeddings", 77, TOKENS_MOST);
    self->c = model_config_size(&c, "hidden_size", 512, WIDTH_MOST);
    self->inner = model_config_size(&c, "intermediate_size", 2048, 4 * WIDTH_MOST);
    self->heads = model_config_size(&c, "num_attention_heads", 8, WIDTH_MOST);
    self->layers = model_config_size(&c, "num_hidden_layers", 12, LAYERS_MOST);
    self->eps = (float)model_config_number(&c, "layer_norm_eps", 1e-5, 0, 1);
    self->projection = model_config_size(&c, "projection_dim", 512, WIDTH_MOST);
    self->end = model_config_size(&c, "eos_token_id", 49407, (size_t)1 << 20);
    self->activation =
        meaning[model_config_choice(&c, "hidden_act", "quick_gelu", activations)];
    if (self->c % self->heads)
        model_config_refuse(&c, "num_attention_heads", "hidden_size %zu is no multiple",
                            self->c);
    if (self->tokens < 3)
        model_config_refuse(&c, "max_position_embeddings",
                            "a prompt needs room between start and end");
    return model_config_close(&c, error);
}

/* CLIPTextModelWithProjection's; its width is in the tensor as in the configuration. */
static void load_projection(struct text_encoder *self, struct loader *l)
{
    if (!checkpoint_has(l->from, "text_projection.weight"))
        self->projection = 0;
    else
        load_linear(l, &self->project, self->c, self->projection, LINEAR_NO_BIAS,
                    "text_projection");
}

bool text_encoder_load(struct text_encoder *self, struct gpu *gpu, enum dtype dtype,
                       struct checkpoint *from, struct error *error)
{
    struct loader l = {.from = from, .gpu = gpu, .dtype = dtype};
    /* Published files have the outer module's name; transformers 5.6 and later save
     * without it. */
    const char *outer =
        checkpoint_has(from, "text_model.final_layer_norm.weight") ? "text_model." : "";
    load_table(&l, &self->words, self->vocabulary, self->c,
               "%sembeddings.token_embedding", outer);
    load_table(&l, &self->positions, self->tokens, self->c,
               "%sembeddings.position_embedding", outer);
    const struct clip_layer_shape shape = {.c = self->c,
                                           .inner = self->inner,
                                           .heads = self->heads,
                                           .eps = self->eps,
                                           .causal = true};
    self->layer = load_array(&l, self->layers, sizeof *self->layer);
    for (size_t i = 0; self->layer && i < self->layers; i++) {
        char prefix[80];
        snprintf(prefix, sizeof prefix, "%sencoder.layers.%zu", outer, i);
        clip_layer_load(&self->layer[i], &l, prefix, &shape);
    }
    load_norm(&l, &self->final, self->c, self->eps, "%sfinal_layer_norm", outer);
    load_projection(self, &l);
    if (l.failed && error)
        *error = l.error;
    if (l.failed)
        text_encoder_clear(self, gpu);
    return !l.failed;
}

void text_encoder_clear(struct text_encoder *self, struct gpu *gpu)
{
    tensor_destroy(&self->words, gpu);
    tensor_destroy(&self->positions, gpu);
    for (size_t i = 0; self->layer && i < self->layers; i++)
        clip_layer_clear(&self->layer[i], gpu);
    free(self->layer);
    norm_clear(&self->final, gpu);
    linear_clear(&self->project, gpu);
    *self = (struct text_encoder){0};
}

void text_encode(struct stream *s, struct tensor y, const struct tensor *projected,
                 cl_mem ids, const struct text_form *form, const struct text_encoder *w)
{
    struct tensor x = tensor_take(s, y.n, 1, w->tokens, w->c);
    struct tensor normed = tensor_take(s, y.n, 1, w->tokens, w->c);
    struct tensor wide = tensor_take(s, y.n, 1, w->tokens, w->inner);
    size_t last = w->layers - form->skipped;
    token_embedding(s, x, ids, w->words, w->positions, form->own);
    for (size_t i = 0; i < last; i++)
        clip_layer_apply(s, x, normed, wide, &w->layer[i], w->activation);
    if (form->final_norm)
        layer_norm(s, y, x, &w->final);
    else
        scale(s, y, x, 1);
    if (projected) {
        for (size_t i = last; i < w->layers; i++)
            clip_layer_apply(s, x, normed, wide, &w->layer[i], w->activation);
        layer_norm(s, normed, x, &w->final);
        linear(s, *projected, normed, &w->project, ACTIVATION_NONE, NULL);
    }
    tensor_give(s, &wide);
    tensor_give(s, &normed);
    tensor_give(s, &x);
}
