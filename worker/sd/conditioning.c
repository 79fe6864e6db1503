/* Emphasis acts on what an encoder made of a chunk, one encoder and one chunk at a time:
 *
 *     A1111     z weight, times mean(z) before / mean(z) after
 *     ComfyUI   z_empty + weight (z - z_empty), z_empty of the chunk without text
 */
#include "worker/sd/conditioning.h"

#include <stdlib.h>
#include <string.h>

#include "worker/sd/chunks.h"

/* One text that was encoded. */
struct encoded {
    struct condition condition; /* first: what is borrowed leads back here */
    struct encoded *next;
    char *text;
    struct conditioning_form form;
    size_t chunks; /* as asked for */
    float *values; /* [keys, c], then [pooled] */
    size_t bytes;
    unsigned users;
    uint64_t used; /* when it was asked for last */
};

struct conditioning {
    struct text_stack *text;
    struct encoded *first;
    size_t bytes, most;
    uint64_t now;
};

struct conditioning *conditioning_new(struct text_stack *text, size_t most,
                                      struct error *error)
{
    struct conditioning *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
        return NULL;
    }
    self->text = text;
    self->most = most;
    return self;
}

static void encoded_destroy(struct encoded **self)
{
    if (!*self)
        return;
    free((*self)->text);
    free((*self)->values);
    free(*self);
    *self = NULL;
}

void conditioning_destroy(struct conditioning **self)
{
    if (!*self)
        return;
    while ((*self)->first) {
        struct encoded *next = (*self)->first->next;
        encoded_destroy(&(*self)->first);
        (*self)->first = next;
    }
    free(*self);
    *self = NULL;
}

/* Forgets the text asked for longest ago that nobody uses; false where all are in use. */
static bool forget_one(struct conditioning *self)
{
    struct encoded **oldest = NULL;
    for (struct encoded **at = &self->first; *at; at = &(*at)->next)
        if (!(*at)->users && (!oldest || (*at)->used < (*oldest)->used))
            oldest = at;
    if (!oldest)
        return false;
    struct encoded *next = (*oldest)->next;
    self->bytes -= (*oldest)->bytes;
    encoded_destroy(oldest);
    *oldest = next;
    return true;
}

static bool make_chunks(const struct conditioning *self, size_t which, const char *text,
                        const struct conditioning_form *form, struct chunks *into,
                        struct error *error)
{
    size_t room = form->embeddings ? form->embeddings->count : 0;
    struct chunk_word *words = calloc(room + 1, sizeof *words);
    if (!words)
        return error_set_kind(error, ERROR_MEMORY, "no memory for embeddings");
    if (room)
        room = embeddings_words(form->embeddings, self->text, which, words);
    bool ok = chunks_make(into, self->text->part[which].tokenizer, self->text->tokens,
                          text, form->syntax, words, room, error);
    free(words);
    return ok;
}

bool conditioning_chunks(struct conditioning *self, const char *text,
                         const struct conditioning_form *form, size_t *chunks,
                         struct error *error)
{
    *chunks = 1;
    for (size_t i = 0; i < self->text->count; i++) {
        struct chunks made = {0};
        if (!make_chunks(self, i, text, form, &made, error))
            return false;
        *chunks = made.count > *chunks ? made.count : *chunks;
        chunks_clear(&made);
    }
    return true;
}

/* ---- Encoding */

/* One encoder's work on one text. */
struct part_work {
    struct conditioning *owner;
    size_t which, c;
    const struct conditioning_form *form;
    struct chunks chunks, empty;
    float *z, *z_empty; /* [tokens, c]; z_empty of ComfyUI's emphasis */
    float *own;         /* [tokens, c]: embeddings' vectors */
    bool has_empty;
};

static bool has_weights(const struct chunks *chunks)
{
    for (size_t i = 0; i < chunks->count * chunks->tokens; i++)
        if (chunks->weights[i] != 1)
            return true;
    return false;
}

static bool run_chunk(struct part_work *self, const struct chunks *chunks, size_t chunk,
                      float *z, float *pooled, struct error *error)
{
    size_t tokens = chunks->tokens;
    const float *const *vector = chunks->vector + chunk * tokens;
    bool any = false;
    for (size_t t = 0; t < tokens; t++) {
        if (!vector[t])
            continue;
        memcpy(self->own + t * self->c, vector[t], self->c * sizeof *self->own);
        any = true;
    }
    size_t pooled_at = any && self->form->syntax == PROMPT_PLAIN
                           ? embeddings_largest(self->form->embeddings, self->which,
                                                self->c, vector, tokens)
                           : tokens;
    return text_stack_encode(self->owner->text, self->which,
                             chunks->ids + chunk * tokens, any ? self->own : NULL,
                             self->form->clip_skip, pooled_at, z, pooled, error);
}

static double mean_of(const float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i];
    return sum / (double)count;
}

static void weigh_a1111(float *z, const double *weights, size_t tokens, size_t c)
{
    double before = mean_of(z, tokens * c);
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < c; i++)
            z[t * c + i] *= (float)weights[t];
    double after = mean_of(z, tokens * c), factor = after != 0 ? before / after : 1;
    for (size_t i = 0; i < tokens * c; i++)
        z[i] = (float)((double)z[i] * factor);
}

static void weigh_comfy(float *z, const float *empty, const double *weights,
                        size_t tokens, size_t c)
{
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = t * c; weights[t] != 1 && i < (t + 1) * c; i++)
            z[i] = (z[i] - empty[i]) * (float)weights[t] + empty[i];
}

static bool weigh(struct part_work *self, size_t chunk, struct error *error)
{
    size_t tokens = self->chunks.tokens;
    const double *weights = self->chunks.weights + chunk * tokens;
    if (!has_weights(&self->chunks))
        return true;
    if (self->form->syntax == PROMPT_A1111) {
        weigh_a1111(self->z, weights, tokens, self->c);
        return true;
    }
    if (!self->has_empty &&
        !run_chunk(self, &self->empty, 0, self->z_empty, NULL, error))
        return false;
    self->has_empty = true;
    weigh_comfy(self->z, self->z_empty, weights, tokens, self->c);
    return true;
}

/* Chunk `i` of the text, an empty one behind its last, into its rows of the context. */
static bool encode_chunk(struct part_work *self, size_t i, struct encoded *into,
                         struct error *error)
{
    const struct text_stack *text = self->owner->text;
    bool there = i < self->chunks.count;
    bool pools = i == 0 && text->pooled && self->which == text->pooled_by;
    float *pooled = into->values + into->condition.keys * text->c;
    if (!run_chunk(self, there ? &self->chunks : &self->empty, there ? i : 0, self->z,
                   pools ? pooled : NULL, error) ||
        (there && !weigh(self, i, error)))
        return false;
    for (size_t t = 0; t < text->tokens; t++)
        memcpy(into->values + (i * text->tokens + t) * text->c +
                   text->part[self->which].column,
               self->z + t * self->c, self->c * sizeof *self->z);
    return true;
}

static bool encode_part(struct conditioning *self, size_t which, struct encoded *into,
                        struct error *error)
{
    struct part_work work = {.owner = self,
                             .which = which,
                             .c = self->text->part[which].encoder.c,
                             .form = &into->form};
    size_t values = self->text->tokens * work.c;
    bool ok = false;
    work.z = calloc(values, sizeof *work.z);
    work.z_empty = calloc(values, sizeof *work.z_empty);
    work.own = calloc(values, sizeof *work.own);
    if (!work.z || !work.z_empty || !work.own)
        error_set_kind(error, ERROR_MEMORY, "no memory for a prompt's vectors");
    else
        ok = make_chunks(self, which, into->text, &into->form, &work.chunks, error) &&
             make_chunks(self, which, "", &into->form, &work.empty, error);
    for (size_t i = 0; ok && i * self->text->tokens < into->condition.keys; i++)
        ok = encode_chunk(&work, i, into, error);
    into->condition.truncated = into->condition.truncated || work.chunks.truncated;
    chunks_clear(&work.chunks);
    chunks_clear(&work.empty);
    free(work.z);
    free(work.z_empty);
    free(work.own);
    return ok;
}

static struct encoded *encode(struct conditioning *self, const char *text,
                              const struct conditioning_form *form, size_t chunks,
                              struct error *error)
{
    size_t filled;
    struct encoded *encoded = calloc(1, sizeof *encoded);
    bool ok = encoded && (encoded->text = strdup(text));
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for a prompt");
    ok = ok && conditioning_chunks(self, text, form, &filled, error);
    if (ok) {
        size_t keys = (chunks > filled ? chunks : filled) * self->text->tokens;
        encoded->form = *form;
        encoded->chunks = chunks;
        size_t values = keys * self->text->c + self->text->pooled;
        encoded->bytes = sizeof *encoded + strlen(text) + 1 + values * sizeof(float);
        encoded->values = calloc(values, sizeof *encoded->values);
        encoded->condition = (struct condition){
            .keys = keys,
            .values = encoded->values,
            .pooled = encoded->values ? encoded->values + keys * self->text->c : NULL};
        ok = encoded->values ||
             error_set_kind(error, ERROR_MEMORY, "no memory for a prompt's vectors");
    }
    for (size_t i = 0; ok && i < self->text->count; i++)
        ok = encode_part(self, i, encoded, error);
    if (!ok)
        encoded_destroy(&encoded);
    return encoded;
}

const struct condition *conditioning_take(struct conditioning *self, const char *text,
                                          const struct conditioning_form *form,
                                          size_t chunks, struct error *error)
{
    struct encoded *found = self->first;
    while (found && (found->form.syntax != form->syntax ||
                     found->form.clip_skip != form->clip_skip ||
                     found->form.adapters != form->adapters ||
                     found->form.words != form->words || found->chunks != chunks ||
                     strcmp(found->text, text) != 0))
        found = found->next;
    if (!found) {
        found = encode(self, text, form, chunks, error);
        if (!found)
            return NULL;
        self->bytes += found->bytes;
        while (self->bytes > self->most && forget_one(self))
            ;
        found->next = self->first;
        self->first = found;
    }
    found->used = ++self->now;
    found->users++;
    return &found->condition;
}

void conditioning_give(struct conditioning *self, const struct condition **condition)
{
    for (struct encoded *at = self->first; at; at = at->next)
        if (&at->condition == *condition)
            at->users--;
    *condition = NULL;
}
