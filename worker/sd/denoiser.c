#include "worker/sd/denoiser.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct denoiser {
    struct gpu *gpu;
    const struct unet *unet;
    struct denoiser_shape shape;
    struct stream *stream;
    struct tensor x;                         /* [images, h, w, c] f32 */
    struct tensor noise;                     /* like x */
    struct tensor history[DENOISER_HISTORY]; /* like x */
    struct tensor context;                   /* [rows, 1, tokens, context width] */
    struct tensor added;                     /* [rows, 1, 1, added]; unused without */
    struct tensor guidance;                  /* [rows, 1, 1, guidance]; likewise */
    struct tensor keys;                      /* int32 [rows] */
    struct tensor source;                    /* int32 [rows]: each row's image */
    struct tensor weight; /* [rows]; source and weight where it composes */
    struct tensor step;   /* one struct step */
    struct tensor extra;  /* [rows, h, w, extra] */
    struct anchor held;
    float image_guidance;
    float level[2]; /* of the picture's latents and the first noise, after the step */
    struct hold hold;
};

/* x scaled, once for each row. */
static struct tensor take_rows(struct denoiser *self, struct tensor x)
{
    struct stream *s = self->stream;
    const struct denoiser_shape *shape = &self->shape;
    struct tensor rows = tensor_take(s, shape->rows, shape->h, shape->w, x.c);
    if (!shape->composes) {
        sample_input(s, rows, x, self->step.memory);
        return rows;
    }
    struct tensor images = tensor_take(s, shape->images, shape->h, shape->w, x.c);
    sample_input(s, images, x, self->step.memory);
    rows_spread(s, rows, images, self->source.memory);
    tensor_give(s, &images);
    return rows;
}

static struct tensor take_latents(struct denoiser *self)
{
    struct stream *s = self->stream;
    struct tensor x = self->x;
    if (!self->shape.holds)
        return take_rows(self, x);
    struct tensor held = tensor_take_as(s, DTYPE_F32, x.n, x.h, x.w, x.c);
    hold_input(s, held, x, &self->held, &self->hold);
    struct tensor rows = take_rows(self, held);
    tensor_give(s, &held);
    return rows;
}

/* The UNet's input: behind the latents stand the channels that do not change. */
static struct tensor take_input(struct denoiser *self)
{
    struct stream *s = self->stream;
    const struct denoiser_shape *shape = &self->shape;
    struct tensor latents = take_latents(self);
    if (!shape->extra)
        return latents;
    struct tensor input =
        tensor_take(s, shape->rows, shape->h, shape->w, self->x.c + shape->extra);
    concat(s, input, latents, self->extra);
    tensor_give(s, &latents);
    return input;
}

/* Guidance of InstructPix2Pix (Brooks et al. 2023, equation 3): u + s (c - i) + t (i - u)
 * over the rows u, i, c. */
static void update_edited(struct denoiser *self, struct tensor output, float guidance)
{
    struct stream *s = self->stream;
    float image = self->image_guidance;
    struct tensor mixed =
        tensor_take(s, self->shape.images, output.h, output.w, output.c);
    mix_three(s, mixed, output, (float[3]){1 - image, image - guidance, guidance});
    sample_update(s, self->x, mixed, self->history, self->noise, self->step.memory);
    tensor_give(s, &mixed);
}

static void hold(struct denoiser *self, struct tensor output)
{
    if (self->shape.holds)
        hold_output(self->stream, output, self->x, &self->held, &self->hold);
}

static void update(struct denoiser *self, struct tensor output, float guidance)
{
    struct stream *s = self->stream;
    const struct denoiser_shape *shape = &self->shape;
    if (shape->edits) {
        update_edited(self, output, guidance);
        return;
    }
    if (!shape->composes) {
        hold(self, output);
        sample_update(s, self->x, output, self->history, self->noise,
                      self->step.memory);
        return;
    }
    struct tensor pairs =
        tensor_take_as(s, DTYPE_F32, 2 * shape->images, shape->h, shape->w, self->x.c);
    rows_compose(s, pairs, output, self->source.memory, self->weight.memory);
    hold(self, pairs);
    sample_update(s, self->x, pairs, self->history, self->noise, self->step.memory);
    tensor_give(s, &pairs);
}

static void step_forward(struct denoiser *self, float guidance)
{
    struct stream *s = self->stream;
    const struct denoiser_shape *shape = &self->shape;
    struct tensor input = take_input(self);
    struct tensor output = tensor_take(s, shape->rows, shape->h, shape->w, self->x.c);
    struct unet_extra extra = {.added = &self->added,
                               .guidance = &self->guidance,
                               .key_counts = self->keys.memory};
    unet_forward(s, output, input, self->step.memory, self->context, &extra,
                 self->unet);
    tensor_give(s, &input);
    update(self, output, guidance);
    tensor_give(s, &output);
    if (shape->keeps)
        blend_known(s, self->x, self->held.z, self->held.noise, self->held.mask,
                    self->level[0], self->level[1]);
}

static bool make_tensors(struct denoiser *self, enum dtype dtype, struct error *error)
{
    const struct denoiser_shape *shape = &self->shape;
    size_t n = shape->images, h = shape->h, w = shape->w, rows = shape->rows;
    size_t c = self->unet->config.in_channels - shape->extra;
    size_t floats = sizeof(struct step) / 4;
    static_assert(sizeof(struct step) % 4 == 0, "a step lies in a tensor of floats");
    bool ok = tensor_new(&self->x, self->gpu, DTYPE_F32, n, h, w, c, error) &&
              tensor_new(&self->noise, self->gpu, DTYPE_F32, n, h, w, c, error) &&
              tensor_new(&self->keys, self->gpu, DTYPE_F32, 1, 1, 1, rows, error) &&
              tensor_new(&self->source, self->gpu, DTYPE_F32, 1, 1, 1, rows, error) &&
              tensor_new(&self->weight, self->gpu, DTYPE_F32, 1, 1, 1, rows, error) &&
              tensor_new(&self->step, self->gpu, DTYPE_F32, 1, 1, 1, floats, error);
    if (ok && self->unet->config.context)
        ok = tensor_new(&self->context, self->gpu, dtype, rows, 1, shape->tokens,
                        self->unet->config.context, error);
    if (ok && unet_added_width(self->unet))
        ok = tensor_new(&self->added, self->gpu, dtype, rows, 1, 1,
                        unet_added_width(self->unet), error);
    if (ok && self->unet->config.guidance)
        ok = tensor_new(&self->guidance, self->gpu, dtype, rows, 1, 1,
                        self->unet->config.guidance, error);
    for (size_t i = 0; ok && i < DENOISER_HISTORY; i++)
        ok = tensor_new(&self->history[i], self->gpu, DTYPE_F32, n, h, w, c, error);
    if (ok && shape->extra)
        ok =
            tensor_new(&self->extra, self->gpu, dtype, rows, h, w, shape->extra, error);
    if (ok && (shape->keeps || shape->holds))
        ok = tensor_new(&self->held.mask, self->gpu, DTYPE_F32, 1, h, w, 1, error) &&
             tensor_new(&self->held.z, self->gpu, DTYPE_F32, n, h, w, c, error) &&
             tensor_new(&self->held.noise, self->gpu, DTYPE_F32, n, h, w, c, error);
    return ok;
}

struct denoiser *denoiser_new(struct gpu *gpu, enum dtype dtype,
                              const struct unet *unet,
                              const struct denoiser_shape *shape, struct error *error)
{
    struct denoiser *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a plan");
        return NULL;
    }
    self->gpu = gpu;
    self->unet = unet;
    self->shape = *shape;
    self->stream = stream_new(gpu, dtype, error);
    bool ok = self->stream && make_tensors(self, dtype, error);
    if (ok) {
        stream_plan(self->stream);
        step_forward(self, 1);
        ok = stream_ready(self->stream, error);
    }
    if (!ok)
        denoiser_destroy(&self);
    return self;
}

void denoiser_destroy(struct denoiser **self)
{
    if (!*self)
        return;
    struct gpu *gpu = (*self)->gpu;
    stream_destroy(&(*self)->stream);
    tensor_destroy(&(*self)->x, gpu);
    tensor_destroy(&(*self)->noise, gpu);
    tensor_destroy(&(*self)->context, gpu);
    tensor_destroy(&(*self)->added, gpu);
    tensor_destroy(&(*self)->guidance, gpu);
    tensor_destroy(&(*self)->keys, gpu);
    tensor_destroy(&(*self)->source, gpu);
    tensor_destroy(&(*self)->weight, gpu);
    tensor_destroy(&(*self)->step, gpu);
    tensor_destroy(&(*self)->extra, gpu);
    tensor_destroy(&(*self)->held.mask, gpu);
    tensor_destroy(&(*self)->held.z, gpu);
    tensor_destroy(&(*self)->held.noise, gpu);
    for (size_t i = 0; i < DENOISER_HISTORY; i++)
        tensor_destroy(&(*self)->history[i], gpu);
    free(*self);
    *self = NULL;
}

const struct stream *denoiser_stream(const struct denoiser *self)
{
    return self->stream;
}

bool denoiser_fits(const struct denoiser *self, const struct denoiser_shape *shape)
{
    const struct denoiser_shape *own = &self->shape;
    return own->images == shape->images && own->h == shape->h && own->w == shape->w &&
           own->guided == shape->guided && own->composes == shape->composes &&
           own->rows == shape->rows && own->tokens == shape->tokens &&
           own->edits == shape->edits && own->extra == shape->extra &&
           own->keeps == shape->keeps && own->holds == shape->holds;
}

static bool upload_rows(struct denoiser *self, const struct denoiser_row *rows,
                        struct error *error)
{
    size_t count = self->shape.rows;
    static_assert(sizeof(int32_t) == sizeof(float), "counts lie in tensors of floats");
    int32_t *keys = calloc(2 * count, sizeof *keys), *source = keys + count;
    float *weight = calloc(count, sizeof *weight);
    bool ok = keys && weight;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for %zu rows", count);
    for (size_t i = 0; ok && i < count; i++) {
        assert(rows[i].keys <= self->shape.tokens &&
               rows[i].image < self->shape.images);
        keys[i] = (int32_t)rows[i].keys;
        source[i] = (int32_t)rows[i].image;
        weight[i] = (float)rows[i].weight;
    }
    ok = ok && tensor_upload(&self->keys, self->gpu, (float *)(void *)keys, error) &&
         tensor_upload(&self->source, self->gpu, (float *)(void *)source, error) &&
         tensor_upload(&self->weight, self->gpu, weight, error);
    free(weight);
    free(keys);
    return ok;
}

/* History is zeroed: a sampler weighs what it has not written yet with 0, and what an
 * earlier run left there might not be finite. */
bool denoiser_start(struct denoiser *self, const float *latents,
                    const struct denoiser_row *rows, struct error *error)
{
    float *zeros = calloc(tensor_count(&self->x), sizeof *zeros);
    bool ok = zeros != NULL;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    ok = ok && tensor_upload(&self->noise, self->gpu, zeros, error);
    for (size_t i = 0; ok && i < DENOISER_HISTORY; i++)
        ok = tensor_upload(&self->history[i], self->gpu, zeros, error);
    free(zeros);
    return ok && tensor_upload(&self->x, self->gpu, latents, error) &&
           upload_rows(self, rows, error);
}

bool denoiser_attend(struct denoiser *self, const float *context, const float *added,
                     struct error *error)
{
    return (!self->unet->config.context ||
            tensor_upload(&self->context, self->gpu, context, error)) &&
           (!unet_added_width(self->unet) ||
            tensor_upload(&self->added, self->gpu, added, error));
}

bool denoiser_extra(struct denoiser *self, const float *extra,
                    const struct denoiser_row *rows, struct error *error)
{
    const struct denoiser_shape *shape = &self->shape;
    size_t row = shape->h * shape->w * shape->extra;
    float *all = calloc(shape->rows * row, sizeof *all);
    if (!all)
        return error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    for (size_t r = shape->edits ? shape->images : 0; r < shape->rows; r++)
        memcpy(all + r * row, extra + rows[r].image * row, row * sizeof *all);
    bool ok = tensor_upload(&self->extra, self->gpu, all, error);
    free(all);
    return ok;
}

bool denoiser_keep(struct denoiser *self, const float *mask, const float *known,
                   const float *noise, struct error *error)
{
    return tensor_upload(&self->held.mask, self->gpu, mask, error) &&
           tensor_upload(&self->held.z, self->gpu, known, error) &&
           tensor_upload(&self->held.noise, self->gpu, noise, error);
}

bool denoiser_embed_guidance(struct denoiser *self, double guidance,
                             struct error *error)
{
    size_t rows = self->shape.rows, width = self->unet->config.guidance;
    if (!width)
        return true;
    float *values = calloc(rows * width, sizeof *values);
    if (!values)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu rows", rows);
    for (size_t row = 0; row < rows; row++)
        unet_guidance_values(self->unet, guidance, values + row * width);
    bool ok = tensor_upload(&self->guidance, self->gpu, values, error);
    free(values);
    return ok;
}

void denoiser_image_guidance(struct denoiser *self, double guidance)
{
    self->image_guidance = (float)guidance;
}

void denoiser_level(struct denoiser *self, double a, double b)
{
    self->level[0] = (float)a;
    self->level[1] = (float)b;
}

void denoiser_hold(struct denoiser *self, const struct hold *hold)
{
    self->hold = *hold;
}

bool denoiser_step(struct denoiser *self, const struct step *step, const float *noise,
                   struct error *error)
{
    if (noise && !tensor_upload(&self->noise, self->gpu, noise, error))
        return false;
    stream_run(self->stream);
    step_write(self->stream, self->step.memory, step);
    step_forward(self, step->guidance);
    return stream_end(self->stream, error) && gpu_finish(self->gpu, error);
}

bool denoiser_latents(const struct denoiser *self, float *latents, struct error *error)
{
    return tensor_download(&self->x, self->gpu, latents, error);
}

bool denoiser_save(const struct denoiser *self, float *values, struct error *error)
{
    size_t count = tensor_count(&self->x);
    bool ok = tensor_download(&self->x, self->gpu, values, error);
    for (size_t i = 0; ok && i < DENOISER_HISTORY; i++)
        ok = tensor_download(&self->history[i], self->gpu, values + (i + 1) * count,
                             error);
    return ok;
}

bool denoiser_load(struct denoiser *self, const float *values, struct error *error)
{
    size_t count = tensor_count(&self->x);
    bool ok = tensor_upload(&self->x, self->gpu, values, error);
    for (size_t i = 0; ok && i < DENOISER_HISTORY; i++)
        ok = tensor_upload(&self->history[i], self->gpu, values + (i + 1) * count,
                           error);
    return ok;
}
