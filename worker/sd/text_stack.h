/* A model's text encoders, one or two, each with its tokenizer and a plan of its own.
 *
 * SD 1.x and 2.x have one. SDXL has CLIP-L and OpenCLIP's bigG side by side, its refiner
 * bigG alone: their vectors of a token lie behind each other in the UNet's context, and
 * bigG's pooled vector goes to the UNet's added embedding.
 */
#ifndef FARM_TEXT_STACK_H
#define FARM_TEXT_STACK_H

#include "worker/sd/text_encoder.h"
#include "worker/sd/tokenizer.h"

enum { TEXT_STACK_MOST = 2 };

struct text_part {
    struct tokenizer *tokenizer;
    struct text_encoder encoder;
    struct text_plan *plan; /* made when it is first used */
    size_t column;          /* where its vectors begin in a row of the context */
};

struct text_stack {
    struct gpu *gpu;
    enum dtype dtype;
    size_t count; /* 0: a model that takes no text */
    struct text_part part[TEXT_STACK_MOST];
    size_t tokens;    /* of a chunk, the same for all parts: 77 */
    size_t c;         /* width of the context: the parts' together */
    size_t pooled;    /* width of the pooled vector; 0: the model uses none */
    size_t pooled_by; /* which part makes it */
    bool penultimate; /* SDXL: the last layer but one, without the final norm */
};

/* After the parts' tokenizers and encoders were loaded: fills tokens, c, pooled and the
 * columns. ERROR_INPUT when the parts do not fit each other. */
bool text_stack_join(struct text_stack *self, struct error *error);
void text_stack_clear(struct text_stack *self);

/* Plans what the model was trained with, as encoding a first chunk would; the stream of a
 * part that was planned or has encoded. */
bool text_stack_plan(struct text_stack *self, struct error *error);
const struct stream *text_stack_stream(const struct text_stack *self, size_t which);

/* One chunk of `tokens` ids (start, words, end, padding) through encoder `which`.
 *
 * z: [tokens, c of that encoder] on the host. clip_skip 1 is what the model was trained
 * with (SD 1.x, 2.x: the last layer and the final norm; SDXL: the last but one, no norm),
 * each more leaves out one layer more. `pooled`, where not NULL: [pooled], always of the
 * last layer, through final norm and projection; only where the encoder has a projection.
 * pooled_at: the place of the largest id where that is no token's but one of `own`; `tokens`
 * where it is a token's.
 * `own` [tokens, c], NULL where there is none: the vectors of places whose id is
 * CHUNK_VECTOR (chunks.h). ERROR_INPUT for an id outside the vocabulary or a clip_skip beyond the layers. */
bool text_stack_encode(struct text_stack *self, size_t which, const int32_t *ids,
                       const float *own, unsigned clip_skip, size_t pooled_at, float *z,
                       float *pooled, struct error *error);

#endif
