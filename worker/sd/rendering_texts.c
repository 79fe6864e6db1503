/* What a rendering's rows attend to: texts, and what models take beside them. */
#include <stdlib.h>
#include <string.h>

#include "worker/sd/prompt.h"
#include "worker/sd/rendering.h"

bool rendering_encode(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    const struct model *model = &self->pipeline->model;
    const struct text_stack *text = &model->text;
    const struct rendering *whole = self->before ? self->before : self;
    const struct image_request *before = whole->first ? whole->first->request : NULL;
    enum prompt_syntax syntax = prompt_syntax_of(request->syntax, request->sampler);
    struct conditions_options options = {
        .form = {.syntax = syntax,
                 .clip_skip = request->clip_skip,
                 .adapters = self->adapters,
                 .embeddings = &self->pipeline->embeddings.set,
                 .words = self->pipeline->embeddings.id},
        .calls = prompt_calls(request->sampler, request->steps),
        .before = before ? prompt_calls(before->sampler, before->steps) : 0,
        .guided = self->guided,
    };
    struct conditions_image *images = calloc(self->count, sizeof *images);
    for (size_t i = 0; images && i < self->count; i++) {
        const char *negative = self->request[i].negative;
        /* A1111 takes an empty one for none */
        if (model->zero_negative && syntax == PROMPT_A1111 && negative && !*negative)
            negative = NULL;
        if ((!model->zero_negative || syntax == PROMPT_COMFY) && !negative)
            negative = "";
        images[i] = (struct conditions_image){self->request[i].prompt, negative};
    }
    bool ok = images || error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
    if (ok && model->pixels)
        ok = conditions_none(&self->conditions, self->count, error);
    else if (ok)
        ok = conditions_make(&self->conditions, self->pipeline->conditioning, text->c,
                             text->tokens, images, self->count, &options, error);
    free(images);
    if (!ok)
        return false;
    if (model->unet.config.in_channels == 2 * self->c && self->conditions.composes)
        return error_set_kind(error, ERROR_INPUT,
                              "prompt: a model that edits pictures takes no AND");
    if (model->unet.config.guidance && self->conditions.composes)
        return error_set_kind(error, ERROR_INPUT,
                              "prompt: a model that is told its guidance takes no AND");
    self->rows = self->conditions.count + (self->edits ? self->count : 0);
    size_t row = self->conditions.keys * text->c;
    self->context = calloc(self->rows * row + 1, sizeof *self->context);
    self->added =
        calloc(self->rows * unet_added_width(&model->unet) + 1, sizeof *self->added);
    return (self->context && self->added) ||
           error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
}

/* SDXL's numbers beside the pooled text: (original height and width, crop top and left,
 * height and width), in its refiner the aesthetic score for the last two. */
static void add_time_ids(struct rendering *self, size_t row, const float *pooled)
{
    const struct model *model = &self->pipeline->model;
    const struct image_request *request = self->request;
    const struct unet_config *c = &model->unet.config;
    size_t factor = pipeline_factor(self->pipeline);
    float h = (float)(self->h * factor), w = (float)(self->w * factor);
    bool asked = request->original_height && request->original_width;
    bool negative = self->conditions.guided && row < self->count;
    float ids[6] = {asked ? (float)request->original_height : h,
                    asked ? (float)request->original_width : w,
                    (float)request->crop_y,
                    (float)request->crop_x,
                    h,
                    w};
    if (model->aesthetic)
        ids[4] = negative ? 2.5F : (float)request->aesthetic;
    unet_added_values(&model->unet, pooled, ids, model->aesthetic ? 5 : 6,
                      self->added + row * c->added);
}

size_t rendering_condition(const struct rendering *self, size_t row)
{
    return self->edits && row >= self->count ? row - self->count : row;
}

bool rendering_attend(struct rendering *self, struct denoiser *denoiser, size_t call,
                      bool first, struct error *error)
{
    const struct conditions *conditions = &self->conditions;
    if (!first && !conditions_change(conditions, call))
        return true;
    size_t negatives = self->count * conditions->keys * conditions->c;
    float *second = self->context + (self->edits ? negatives : 0);
    conditions_write(conditions, call, second);
    if (self->edits)
        memcpy(self->context, second, negatives * sizeof *second);
    const struct unet *unet = &self->pipeline->model.unet;
    for (size_t row = 0; row < self->rows; row++) {
        if (unet->config.time_ids)
            add_time_ids(
                self, row,
                conditions_pooled(conditions, rendering_condition(self, row), call));
        if (unet->config.classes || unet->config.class_steps)
            unet_class_values(unet, self->request->class,
                              self->added + row * unet_added_width(unet));
    }
    return denoiser_attend(denoiser, self->context, self->added, error);
}
