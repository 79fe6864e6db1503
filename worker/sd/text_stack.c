#include "worker/sd/text_stack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/chunks.h"

/* One encoder's pass over a chunk. Planned anew when what is asked of it changes, which is
 * rare: clip skip is the same through a job. */
struct text_plan {
    struct stream *stream;
    struct tensor ids;       /* int32 [1, tokens] */
    struct tensor own;       /* [1, 1, tokens, c]: of places below 0 */
    struct tensor hidden;    /* [1, 1, tokens, c] */
    struct tensor projected; /* [1, 1, tokens, projection]; unused without projection */
    struct text_form form;
    bool ready;
};

bool text_stack_join(struct text_stack *self, struct error *error)
{
    self->c = self->pooled = 0;
    self->tokens = self->count ? self->part[0].encoder.tokens : 0;
    for (size_t i = 0; i < self->count; i++) {
        struct text_part *part = &self->part[i];
        if (part->encoder.tokens != self->tokens)
            return error_set_kind(error, ERROR_INPUT,
                                  "the text encoders take %zu and %zu tokens; expected "
                                  "the same",
                                  self->tokens, part->encoder.tokens);
        part->column = self->c;
        self->c += part->encoder.c;
        if (self->penultimate && part->encoder.projection) {
            self->pooled = part->encoder.projection;
            self->pooled_by = i;
        }
    }
    return true;
}

static void plan_destroy(struct text_plan **self, struct gpu *gpu)
{
    if (!*self)
        return;
    stream_destroy(&(*self)->stream);
    tensor_destroy(&(*self)->ids, gpu);
    tensor_destroy(&(*self)->own, gpu);
    tensor_destroy(&(*self)->hidden, gpu);
    tensor_destroy(&(*self)->projected, gpu);
    free(*self);
    *self = NULL;
}

void text_stack_clear(struct text_stack *self)
{
    for (size_t i = 0; i < TEXT_STACK_MOST; i++) {
        struct text_part *part = &self->part[i];
        plan_destroy(&part->plan, self->gpu);
        tokenizer_close(&part->tokenizer);
        text_encoder_clear(&part->encoder, self->gpu);
    }
    *self = (struct text_stack){0};
}

static struct text_plan *plan_new(const struct text_stack *self,
                                  const struct text_encoder *encoder,
                                  struct error *error)
{
    struct text_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        error_set_kind(error, ERROR_MEMORY, "no memory for the text encoder");
        return NULL;
    }
    static_assert(sizeof(int32_t) == sizeof(float), "ids lie in a tensor of floats");
    size_t tokens = encoder->tokens;
    plan->stream = stream_new(self->gpu, self->dtype, error);
    if (!plan->stream ||
        !tensor_new(&plan->ids, self->gpu, DTYPE_F32, 1, 1, 1, tokens, error) ||
        !tensor_new(&plan->own, self->gpu, encoder->words.dtype, 1, 1, tokens,
                    encoder->c, error) ||
        !tensor_new(&plan->hidden, self->gpu, self->dtype, 1, 1, tokens, encoder->c,
                    error) ||
        (encoder->projection && !tensor_new(&plan->projected, self->gpu, self->dtype, 1,
                                            1, tokens, encoder->projection, error)))
        plan_destroy(&plan, self->gpu);
    return plan;
}

static void forward(struct text_plan *self, const struct text_encoder *encoder)
{
    text_encode(self->stream, self->hidden,
                self->form.project ? &self->projected : NULL, self->ids.memory,
                &self->form, encoder);
}

static bool prepare(struct text_stack *self, struct text_part *part,
                    struct text_form form, struct error *error)
{
    if (!part->plan)
        part->plan = plan_new(self, &part->encoder, error);
    struct text_plan *plan = part->plan;
    if (!plan)
        return false;
    if (plan->ready && plan->form.skipped == form.skipped &&
        plan->form.final_norm == form.final_norm && plan->form.project == form.project)
        return true;
    plan->form = form;
    plan->form.own = &plan->own;
    stream_plan(plan->stream);
    forward(plan, &part->encoder);
    return plan->ready = stream_ready(plan->stream, error);
}

static struct text_form form_of(const struct text_stack *self, unsigned clip_skip,
                                bool project)
{
    return (struct text_form){.skipped = clip_skip - 1 + self->penultimate,
                              .final_norm = !self->penultimate,
                              .project = project};
}

bool text_stack_plan(struct text_stack *self, struct error *error)
{
    for (size_t i = 0; i < self->count; i++) {
        bool pools = self->pooled && self->pooled_by == i;
        if (!prepare(self, &self->part[i], form_of(self, 1, pools), error))
            return false;
    }
    return true;
}

const struct stream *text_stack_stream(const struct text_stack *self, size_t which)
{
    return self->part[which].plan->stream;
}

static bool check_ids(const struct text_encoder *encoder, const int32_t *ids, bool own,
                      struct error *error)
{
    for (size_t i = 0; i < encoder->tokens; i++)
        if ((ids[i] < 0 || (size_t)ids[i] >= encoder->vocabulary) &&
            !(own && ids[i] == CHUNK_VECTOR))
            return error_set_kind(error, ERROR_INPUT,
                                  "token id %d, but the text encoder has a vocabulary "
                                  "of %zu; are the tokenizer's files another model's?",
                                  (int)ids[i], encoder->vocabulary);
    return true;
}

/* The row transformers pools: in models whose configuration still says that the end token
 * is 2, that of the largest id, else that of the first end token; row 0 without one. */
static size_t pooled_row(const struct text_encoder *encoder, const int32_t *ids)
{
    size_t row = 0;
    for (size_t i = 0; i < encoder->tokens; i++) {
        if (encoder->end == 2 && ids[i] > ids[row])
            row = i;
        if (encoder->end != 2 && (size_t)ids[i] == encoder->end)
            return i;
    }
    return row;
}

static bool read_pooled(const struct text_stack *self, const struct text_part *part,
                        const int32_t *ids, size_t at, float *pooled,
                        struct error *error)
{
    size_t tokens = part->encoder.tokens, c = part->encoder.projection;
    float *all = calloc(tokens * c, sizeof *all);
    if (!all)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a pooled vector");
    bool ok = tensor_download(&part->plan->projected, self->gpu, all, error);
    size_t row =
        at < tokens && part->encoder.end == 2 ? at : pooled_row(&part->encoder, ids);
    memcpy(pooled, all + row * c, c * sizeof *pooled);
    free(all);
    return ok;
}

bool text_stack_encode(struct text_stack *self, size_t which, const int32_t *ids,
                       const float *own, unsigned clip_skip, size_t pooled_at, float *z,
                       float *pooled, struct error *error)
{
    assert(which < self->count);
    struct text_part *part = &self->part[which];
    assert(!pooled || part->encoder.projection);
    size_t most = part->encoder.layers - self->penultimate;
    if (clip_skip < 1 || clip_skip > most)
        return error_set_kind(error, ERROR_INPUT,
                              "clip skip %u: from 1 (what the model was trained with) "
                              "to %zu",
                              clip_skip, most);
    struct text_form form = form_of(self, clip_skip, pooled);
    if (!check_ids(&part->encoder, ids, own != NULL, error) ||
        !prepare(self, part, form, error) ||
        !tensor_upload(&part->plan->ids, self->gpu, (const float *)(const void *)ids,
                       error) ||
        (own && !tensor_upload(&part->plan->own, self->gpu, own, error)))
        return false;
    stream_run(part->plan->stream);
    forward(part->plan, &part->encoder);
    return stream_end(part->plan->stream, error) &&
           tensor_download(&part->plan->hidden, self->gpu, z, error) &&
           (!pooled || read_pooled(self, part, ids, pooled_at, pooled, error));
}
