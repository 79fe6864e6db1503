/* CLIPTextModel, with or without projection: token ids -> one vector for each token.
 *
 * A causal transformer with learned positions (Radford et al. 2021), OpenAI's with
 * quick_gelu (SD 1.x) or OpenCLIP's with gelu (SD 2.x).
 */
#ifndef FARM_TEXT_ENCODER_H
#define FARM_TEXT_ENCODER_H

#include "worker/sd/clip_layer.h"

struct text_encoder {
    size_t vocabulary, tokens, c, inner, heads, layers;
    float eps;
    enum activation activation;
    size_t end;               /* eos_token_id as the configuration has it */
    size_t projection;        /* width of the projected vectors; 0: none */
    struct tensor words;      /* [1, 1, vocabulary, c] */
    struct tensor positions;  /* [1, 1, tokens, c] */
    struct clip_layer *layer; /* layers of them */
    struct norm final;        /* c */
    struct linear project;    /* c -> projection, where that is not 0 */
};

/* Fills the sizes above from config.json; all else is zero after. */
bool text_encoder_config(struct text_encoder *self, const char *path, const char *name,
                         struct error *error);

/* The weights those sizes ask for. Without text_projection.weight in the file there is no
 * projection. *self is cleared when one is missing or misshapen. */
bool text_encoder_load(struct text_encoder *self, struct gpu *gpu, enum dtype dtype,
                       struct checkpoint *from, struct error *error);
void text_encoder_clear(struct text_encoder *self, struct gpu *gpu);

/* What is asked of a pass. */
struct text_form {
    size_t skipped;  /* layers at the end that y leaves out, fewer than there are */
    bool final_norm; /* of y */
    bool project;
    const struct tensor *own; /* [n, 1, tokens, c]: vectors of places whose id is below
                                 0; NULL: there are none */
};

/* y [n, 1, tokens, c]: output of the last layer but form->skipped. projected [n, 1, tokens,
 * projection], not NULL where form->project: the last layer's, through final norm and
 * projection. ids: int32 [n, tokens] on the device, each below vocabulary. */
void text_encode(struct stream *s, struct tensor y, const struct tensor *projected,
                 cl_mem ids, const struct text_form *form,
                 const struct text_encoder *w);

#endif
