/* A text cut into what an encoder takes at a time: 75 tokens between start and end.
 *
 * A1111: a text longer than that goes on in another chunk, at BREAK at the latest; what
 * stands behind the last comma, at most 20 tokens, goes with it. ComfyUI: a run of text
 * shorter than 8 tokens is not parted. Plain: the rest is dropped and said to be.
 */
#ifndef FARM_CHUNKS_H
#define FARM_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#include "worker/sd/emphasis.h"
#include "worker/sd/tokenizer.h"

/* A word that stands for vectors of its own (textual inversion). Borrowed. */
struct chunk_word {
    const char *name;
    const int32_t *ids; /* the name's, by the same tokenizer */
    size_t id_count;
    const float *values; /* [vectors, c] */
    size_t vectors, c;
};

enum { CHUNK_VECTOR = -1 }; /* in ids: the place's vector is not the vocabulary's */

struct chunks {
    size_t count, tokens;
    int32_t *ids;         /* [count, tokens]: start, words, end, padding */
    double *weights;      /* [count, tokens], 1 outside words */
    const float **vector; /* [count, tokens], NULL but where ids is CHUNK_VECTOR */
    bool truncated;
};

/* `tokens` of a chunk (77), start and end included. Words are found by their tokens, the
 * longest first; in ComfyUI's syntax as `embedding:name`. Only there may one of 8 vectors or
 * more be parted. ERROR_INPUT where one has more vectors than a chunk has room. */
bool chunks_make(struct chunks *self, const struct tokenizer *tokenizer, size_t tokens,
                 const char *text, enum prompt_syntax syntax,
                 const struct chunk_word *words, size_t word_count,
                 struct error *error);
void chunks_clear(struct chunks *self);

#endif
