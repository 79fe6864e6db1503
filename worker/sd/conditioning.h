/* From a text to what the UNet attends to, each distinct text computed once.
 *
 * The last texts' vectors stay on the host, so that a sweep over seeds encodes nothing twice
 * and texts can be encoded before they are wanted. A text is always encoded alone: its
 * vectors depend on no neighbour.
 */
#ifndef FARM_CONDITIONING_H
#define FARM_CONDITIONING_H

#include "worker/sd/embedding.h"
#include "worker/sd/text_stack.h"

struct conditioning;

/* How texts are read and encoded. */
struct conditioning_form {
    enum prompt_syntax syntax;
    unsigned clip_skip; /* 1: what the model was trained with */
    uint64_t adapters;  /* the set on the model's weights (adapters.h) */
    const struct embeddings *embeddings; /* NULL: none; outlive the conditions */
    uint64_t words;                      /* differs between different embeddings */
};

/* What became of a text; borrowed from the conditioning. */
struct condition {
    size_t keys;         /* tokens of all chunks */
    const float *values; /* [keys, c of the stack] */
    const float *pooled; /* [pooled of the stack], the first chunk's */
    bool truncated;      /* plain syntax: the text had more than a chunk takes */
};

/* The stack is borrowed for the life of it. What is kept takes at most `most` bytes, but for
 * what is in use. */
struct conditioning *conditioning_new(struct text_stack *text, size_t most,
                                      struct error *error);
void conditioning_destroy(struct conditioning **self);

/* Chunks that the text fills, in the encoder that needs most. */
bool conditioning_chunks(struct conditioning *self, const char *text,
                         const struct conditioning_form *form, size_t *chunks,
                         struct error *error);

/* The text's vectors, emphasis applied, followed by empty chunks where it fills fewer than
 * `chunks`. Each take is given back once; until then the values stay. */
const struct condition *conditioning_take(struct conditioning *self, const char *text,
                                          const struct conditioning_form *form,
                                          size_t chunks, struct error *error);
void conditioning_give(struct conditioning *self, const struct condition **condition);

#endif
