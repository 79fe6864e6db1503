#include "worker/sd/conditioning.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS_KEPT = 64 };

/* One text that was encoded; text NULL: free. */
struct encoded {
    char *text;
    unsigned clip_skip;
    bool truncated;
    float *values;
    uint64_t used; /* when it was asked for last */
};

struct conditioning {
    struct gpu *gpu;
    const struct tokenizer *tokenizer;
    const struct text_encoder *encoder;
    struct stream *stream;
    unsigned planned_skip; /* the stream's plan; 0: none yet */
    struct tensor ids;     /* int32 [1, tokens] */
    struct tensor output;  /* [1, 1, tokens, c] */
    struct encoded kept[TEXTS_KEPT];
    uint64_t now;
};

struct conditioning *conditioning_new(struct gpu *gpu, enum dtype dtype,
                                      const struct tokenizer *tokenizer,
                                      const struct text_encoder *encoder,
                                      struct error *error)
{
    struct conditioning *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for the text encoder");
        return NULL;
    }
    self->gpu = gpu;
    self->tokenizer = tokenizer;
    self->encoder = encoder;
    static_assert(sizeof(int32_t) == sizeof(float), "ids lie in a tensor of floats");
    self->stream = stream_new(gpu, dtype, error);
    if (!self->stream ||
        !tensor_new(&self->ids, gpu, DTYPE_F32, 1, 1, 1, encoder->tokens, error) ||
        !tensor_new(&self->output, gpu, dtype, 1, 1, encoder->tokens, encoder->c,
                    error))
        conditioning_destroy(&self);
    return self;
}

static void forget(struct encoded *kept)
{
    free(kept->text);
    free(kept->values);
    *kept = (struct encoded){0};
}

void conditioning_destroy(struct conditioning **self)
{
    if (!*self)
        return;
    stream_destroy(&(*self)->stream);
    tensor_destroy(&(*self)->ids, (*self)->gpu);
    tensor_destroy(&(*self)->output, (*self)->gpu);
    for (size_t i = 0; i < TEXTS_KEPT; i++)
        forget(&(*self)->kept[i]);
    free(*self);
    *self = NULL;
}

/* All `tokens` ids of a text. */
static bool tokenise(const struct conditioning *self, const char *text, int32_t *ids,
                     bool *truncated, struct error *error)
{
    size_t tokens = self->encoder->tokens, count;
    int32_t *words = NULL;
    if (!tokenizer_encode(self->tokenizer, text, &words, &count, error))
        return false;
    *truncated = count > tokens - 2;
    size_t kept = *truncated ? tokens - 2 : count, at = 0;
    ids[at++] = tokenizer_start(self->tokenizer);
    for (size_t i = 0; i < kept; i++)
        ids[at++] = words[i];
    ids[at++] = tokenizer_end(self->tokenizer);
    while (at < tokens)
        ids[at++] = tokenizer_pad(self->tokenizer);
    free(words);
    for (size_t i = 0; i < tokens; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= self->encoder->vocabulary)
            return error_set_kind(error, ERROR_INPUT,
                                  "tokenizer/vocab.json: id %d, but the text encoder "
                                  "has a vocabulary of %zu",
                                  (int)ids[i], self->encoder->vocabulary);
    return true;
}

static bool plan(struct conditioning *self, unsigned clip_skip, struct error *error)
{
    if (self->planned_skip == clip_skip)
        return true;
    self->planned_skip = 0;
    stream_plan(self->stream);
    text_encode(self->stream, self->output, self->ids.memory, clip_skip - 1,
                self->encoder);
    if (!stream_ready(self->stream, error))
        return false;
    self->planned_skip = clip_skip;
    return true;
}

static bool encode(struct conditioning *self, const char *text, unsigned clip_skip,
                   struct encoded *into, struct error *error)
{
    size_t tokens = self->encoder->tokens;
    bool ok = false;
    int32_t *ids = calloc(tokens, sizeof *ids);
    into->text = strdup(text);
    into->values = calloc(tokens * self->encoder->c, sizeof *into->values);
    into->clip_skip = clip_skip;
    if (!ids || !into->text || !into->values) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a prompt's vectors");
        goto out;
    }
    if (!tokenise(self, text, ids, &into->truncated, error) ||
        !plan(self, clip_skip, error) ||
        !tensor_upload(&self->ids, self->gpu, (const float *)(const void *)ids, error))
        goto out;
    stream_run(self->stream);
    text_encode(self->stream, self->output, self->ids.memory, clip_skip - 1,
                self->encoder);
    ok = stream_end(self->stream, error) &&
         tensor_download(&self->output, self->gpu, into->values, error);
out:
    free(ids);
    if (!ok)
        forget(into);
    return ok;
}

bool conditioning_encode(struct conditioning *self, const char *text,
                         unsigned clip_skip, float *values, bool *truncated,
                         struct error *error)
{
    if (clip_skip < 1 || clip_skip > self->encoder->layers)
        return error_set_kind(error, ERROR_INPUT,
                              "clip skip %u: from 1 (the last layer) to %zu", clip_skip,
                              self->encoder->layers);
    struct encoded *place = &self->kept[0];
    bool found = false;
    for (size_t i = 0; i < TEXTS_KEPT && !found; i++) {
        struct encoded *kept = &self->kept[i];
        found =
            kept->text && kept->clip_skip == clip_skip && strcmp(kept->text, text) == 0;
        if (found || kept->used < place->used)
            place = kept;
    }
    if (!found) {
        forget(place);
        if (!encode(self, text, clip_skip, place, error))
            return false;
    }
    place->used = ++self->now;
    memcpy(values, place->values,
           self->encoder->tokens * self->encoder->c * sizeof *values);
    *truncated = place->truncated;
    return true;
}
