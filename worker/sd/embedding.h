/* Textual inversion: words that stand for vectors of their own (Gal et al. 2022).
 *
 * The trigger is the file's name without its ending. A file holds, for one encoder,
 * `emb_params` [vectors, width] (A1111) or one tensor named by its token (diffusers'
 * learned_embeds), and for SDXL's two `clip_l` and `clip_g`.
 */
#ifndef FARM_EMBEDDING_H
#define FARM_EMBEDDING_H

#include "worker/sd/chunks.h"
#include "worker/sd/request_files.h"
#include "worker/sd/text_stack.h"

struct embedding {
    char *name; /* the trigger */
    struct {
        size_t vectors;
        float *values; /* [vectors, c of the encoder]; NULL: none for this one */
        int32_t *ids;  /* the trigger's tokens */
        size_t id_count;
    } part[TEXT_STACK_MOST];
};

/* The embeddings that texts may use, all loaded. */
struct embeddings {
    size_t count;
    struct embedding *item;
};

/* ERROR_INPUT names file and tensor of what fits none of the encoders. */
bool embeddings_load(struct embeddings *self, const struct text_stack *text,
                     const struct embedding_file *files, size_t count,
                     struct error *error);
void embeddings_clear(struct embeddings *self);

/* The set used last, so that a sweep loads nothing twice. All zeros holds none. */
struct embedding_cache {
    struct embeddings set;
    char *key;   /* its paths */
    uint64_t id; /* another one for every set it has held */
};
bool embedding_cache_load(struct embedding_cache *self, const struct text_stack *text,
                          const struct embedding_file *files, size_t count,
                          struct error *error);
void embedding_cache_clear(struct embedding_cache *self);

/* The words for encoder `which`, borrowed from self; `into` has room for self->count. */
size_t embeddings_words(const struct embeddings *self, const struct text_stack *text,
                        size_t which, struct chunk_word *into);

/* The place, of `tokens`, whose vector has the largest id where embeddings are new words of a
 * tokenizer, in their order, as diffusers makes them; `tokens` when none is an embedding's.
 * `vector` as in chunks. */
size_t embeddings_largest(const struct embeddings *self, size_t which, size_t c,
                          const float *const *vector, size_t tokens);

#endif
