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
    float *values; /* [tokens, c], then [pooled] */
    uint64_t used; /* when it was asked for last */
};

struct conditioning {
    struct text_stack *text;
    struct encoded kept[TEXTS_KEPT];
    uint64_t now;
};

struct conditioning *conditioning_new(struct text_stack *text, struct error *error)
{
    struct conditioning *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
        return NULL;
    }
    self->text = text;
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
    for (size_t i = 0; i < TEXTS_KEPT; i++)
        forget(&(*self)->kept[i]);
    free(*self);
    *self = NULL;
}

/* All `tokens` ids of a text. */
static bool tokenise(const struct tokenizer *tokenizer, size_t tokens, const char *text,
                     int32_t *ids, bool *truncated, struct error *error)
{
    size_t count;
    int32_t *words = NULL;
    assert(tokens > 2);
    if (!tokenizer_encode(tokenizer, text, &words, &count, error))
        return false;
    *truncated = count > tokens - 2;
    size_t kept = *truncated ? tokens - 2 : count, at = 0;
    ids[at++] = tokenizer_start(tokenizer);
    for (size_t i = 0; i < kept; i++)
        ids[at++] = words[i];
    ids[at++] = tokenizer_end(tokenizer);
    while (at < tokens)
        ids[at++] = tokenizer_pad(tokenizer);
    free(words);
    return true;
}

/* What one encoder makes of the text, into its columns of all rows. */
static bool encode_part(struct conditioning *self, size_t which, struct encoded *into,
                        struct error *error)
{
    struct text_stack *text = self->text;
    const struct text_part *part = &text->part[which];
    size_t c = part->encoder.c;
    float *pooled = into->values + text->tokens * text->c;
    bool truncated, ok = false;
    int32_t *ids = calloc(text->tokens, sizeof *ids);
    float *z = calloc(text->tokens * c, sizeof *z);
    if (!ids || !z)
        error_set_kind(error, ERROR_MEMORY, "no memory for a prompt's vectors");
    else
        ok = tokenise(part->tokenizer, text->tokens, into->text, ids, &truncated,
                      error) &&
             text_stack_encode(text, which, ids, into->clip_skip, z,
                               text->pooled && which == text->pooled_by ? pooled : NULL,
                               error);
    for (size_t i = 0; ok && i < text->tokens; i++)
        memcpy(into->values + i * text->c + part->column, z + i * c, c * sizeof *z);
    into->truncated = ok && (into->truncated || truncated);
    free(z);
    free(ids);
    return ok;
}

static bool encode(struct conditioning *self, const char *text, unsigned clip_skip,
                   struct encoded *into, struct error *error)
{
    into->text = strdup(text);
    into->values = calloc(self->text->tokens * self->text->c + self->text->pooled,
                          sizeof *into->values);
    into->clip_skip = clip_skip;
    bool ok = into->text && into->values;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for a prompt's vectors");
    for (size_t i = 0; ok && i < self->text->count; i++)
        ok = encode_part(self, i, into, error);
    if (!ok)
        forget(into);
    return ok;
}

bool conditioning_encode(struct conditioning *self, const char *text,
                         unsigned clip_skip, float *values, float *pooled,
                         bool *truncated, struct error *error)
{
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
    size_t count = self->text->tokens * self->text->c;
    memcpy(values, place->values, count * sizeof *values);
    memcpy(pooled, place->values + count, self->text->pooled * sizeof *pooled);
    *truncated = place->truncated;
    return true;
}
