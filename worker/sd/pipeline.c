/* Rendering a batch
 *
 *     prompts -> context      conditioning.c, each distinct text once
 *     seeds -> noise          draws.c, on the host, one generator an image
 *     steps -> latents        denoiser.c, all images in one batch
 *     latents -> pixels       tiles.c, one image at a time: the VAE's largest tensors
 *                             are a hundred times the UNet's
 *
 * Pictures that a request brings become latents in canvas.c and start.c.
 */
#include "worker/sd/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/pixels.h"
#include "worker/sd/prompt.h"
#include "worker/sd/rendering.h"
#include "worker/sd/tiles.h"

enum { SIDE_MOST = 4096, BATCH_MOST = 64 };

/* ---- The door */

struct pipeline *pipeline_load(struct gpu *gpu, const struct model_files *files,
                               enum dtype dtype, struct error *error)
{
    struct pipeline *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a model");
        return NULL;
    }
    self->gpu = gpu;
    self->dtype = dtype;
    self->model.gpu = gpu;
    self->plans = (struct plans){
        .gpu = gpu, .dtype = dtype, .unet = &self->model.unet, .vae = &self->model.vae};
    if (model_load(&self->model, gpu, files, dtype, error))
        self->conditioning = conditioning_new(&self->model.text, error);
    if (self->conditioning)
        self->adapters = adapters_new(&self->model, error);
    if (!self->adapters)
        pipeline_destroy(&self);
    return self;
}

void pipeline_destroy(struct pipeline **self)
{
    if (!*self)
        return;
    plans_drop(&(*self)->plans);
    conditioning_destroy(&(*self)->conditioning);
    adapters_destroy(&(*self)->adapters);
    embedding_cache_clear(&(*self)->embeddings);
    vae_other_put(&(*self)->vae, &(*self)->model, NULL, NULL, NULL);
    vae_other_clear(&(*self)->vae, (*self)->gpu);
    model_clear(&(*self)->model);
    free(*self);
    *self = NULL;
}

void pipeline_watch(struct pipeline *self, const struct pipeline_watch *watch)
{
    self->watch = watch ? *watch : (struct pipeline_watch){0};
}

size_t pipeline_factor(const struct pipeline *self)
{
    return self->model.pixels ? 1 : vae_factor(&self->model.vae);
}

void pipeline_default_size(const struct pipeline *self, size_t *width, size_t *height)
{
    *width = self->model.unet.config.sample_width * pipeline_factor(self);
    *height = self->model.unet.config.sample_height * pipeline_factor(self);
}

void image_clear(struct image *self)
{
    free(self->rgb);
    free(self->latents);
    *self = (struct image){0};
}

/* ---- One rendering */

/* Puts the request's VAE, LoRAs and embeddings in their places. */
static bool take_files(struct rendering *self, struct error *error)
{
    struct pipeline *pipeline = self->pipeline;
    const struct image_request *request = self->request;
    if (vae_other_differs(&pipeline->vae, request->vae_path)) {
        plans_drop(&pipeline->plans);
        pipeline->preview = (struct preview_map){0};
    }
    return vae_other_put(&pipeline->vae, &pipeline->model, request->vae_path,
                         request->vae_name, error) &&
           adapters_set(pipeline->adapters, request->loras, request->lora_count,
                        &self->adapters, error) &&
           embedding_cache_load(&pipeline->embeddings, &pipeline->model.text,
                                request->embeddings, request->embedding_count, error);
}

static bool check_side(const char *name, size_t pixels, size_t factor,
                       struct error *error)
{
    if (pixels % factor)
        return error_set_kind(error, ERROR_INPUT,
                              "%s %zu: this model's sizes are multiples of %zu", name,
                              pixels, factor);
    if (pixels > SIDE_MOST)
        return error_set_kind(error, ERROR_INPUT, "%s %zu: the most is %d", name,
                              pixels, SIDE_MOST);
    return true;
}

static bool check_requests(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    size_t factor = pipeline_factor(self->pipeline), width, height;
    if (self->count < 1 || self->count > BATCH_MOST)
        return error_set_kind(error, ERROR_INPUT, "a batch of %zu: from 1 to %d images",
                              self->count, BATCH_MOST);
    for (size_t i = 1; i < self->count; i++)
        if (!image_request_alike(&request[0], &request[i]))
            return error_set_kind(error, ERROR_INPUT,
                                  "images of one batch differ in more than prompt, "
                                  "negative prompt and seed");
    if (!(fabs(request->cfg) <= 1000))
        return error_set_kind(error, ERROR_INPUT, "cfg %g: from -1000 to 1000",
                              request->cfg);
    if (self->pipeline->model.pixels)
        factor = (size_t)1 << (self->pipeline->model.unet.config.levels - 1);
    pipeline_default_size(self->pipeline, &width, &height);
    width = request->width ? request->width : width;
    height = request->height ? request->height : height;
    if (!check_side("width", width, factor, error) ||
        !check_side("height", height, factor, error))
        return false;
    self->w = width / pipeline_factor(self->pipeline);
    self->h = height / pipeline_factor(self->pipeline);
    return model_knows_class(&self->pipeline->model, request->class, error);
}

/* Which pictures the model needs is told by its UNet's channels: those of the latents alone;
 * with a mask and masked latents; or with the latents of a picture to be edited. */
static bool choose_mode(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    const struct model *model = &self->pipeline->model;
    size_t channels = model->unet.config.in_channels;
    size_t c = self->c = model->pixels ? model->unet.config.out_channels
                                       : model->vae.config.latent_channels;
    bool inpaints = channels == 2 * c + 1 && !model->pixels;
    bool edits = channels == 2 * c && !model->pixels;
    self->extra = channels - c;
    if (model->pixels && (request->init || request->mask || request->image))
        return error_set_kind(error, ERROR_INPUT,
                              "init: a model of pixels begins from noise alone");
    if (inpaints && !request->mask)
        return error_set_kind(error, ERROR_INPUT,
                              "this model repaints pictures: it needs init and mask");
    if (edits != (request->image != NULL))
        return error_set_kind(error, ERROR_INPUT,
                              edits ? "this model edits a picture: it needs image"
                                    : "image: this model does not edit pictures by "
                                      "instruction; init begins with one");
    if (edits && (request->init || request->mask))
        return error_set_kind(error, ERROR_INPUT,
                              "init: this model edits a picture; give it as image");
    if (edits && self->run.uncond)
        return error_set_kind(error, ERROR_INPUT,
                              "sampler %s: a model that edits pictures takes none with "
                              "CFG++",
                              request->sampler);
    self->guided =
        edits ? request->cfg > 1 && request->image_cfg >= 1 : self->run.guided;
    self->edits = edits && self->guided;
    self->keeps = request->mask && !inpaints;
    return true;
}

static bool prepare(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    const struct model *model = &self->pipeline->model;
    struct sampler_options options = {.schedule = request->schedule,
                                      .steps = request->steps,
                                      .eta = request->eta,
                                      .guidance = request->cfg,
                                      .guidance_rescale = request->guidance_rescale,
                                      .is_xl = model->unet.config.time_ids > 0,
                                      .strength = request->init ? request->strength : 1,
                                      .from_image = request->init && !request->mask};
    struct schedule_config schedule;
    if (!check_requests(self, error) || !take_files(self, error) ||
        !model_schedule(model, request->prediction, request->zsnr, &schedule, error) ||
        !sampler_plan(&self->run, request->sampler, &schedule, &options, error) ||
        !choose_mode(self, error))
        return false;
    size_t values = self->count * self->c * self->h * self->w;
    self->draws = calloc(self->count, sizeof *self->draws);
    self->nchw = calloc(values, sizeof *self->nchw);
    self->nhwc = calloc(values, sizeof *self->nhwc);
    if (!self->draws || !self->nchw || !self->nhwc)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu images",
                              self->count);
    return true;
}

static bool encode_texts(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    const struct model *model = &self->pipeline->model;
    const struct text_stack *text = &model->text;
    enum prompt_syntax syntax = prompt_syntax_of(request->syntax, request->sampler);
    struct conditions_options options = {
        .form = {.syntax = syntax,
                 .clip_skip = request->clip_skip,
                 .adapters = self->adapters,
                 .embeddings = &self->pipeline->embeddings.set,
                 .words = self->pipeline->embeddings.id},
        .calls = prompt_calls(request->sampler, request->steps),
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

/* The condition of a row: of three rows an image the first two are without the prompt. */
static size_t condition_of(const struct rendering *self, size_t row)
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
            add_time_ids(self, row,
                         conditions_pooled(conditions, condition_of(self, row), call));
        if (unet->config.classes || unet->config.class_steps)
            unet_class_values(unet, self->request->class,
                              self->added + row * unet_added_width(unet));
    }
    return denoiser_attend(denoiser, self->context, self->added, error);
}

/* The denoiser with everything that holds for all steps. */
static bool start_denoiser(struct rendering *self, struct denoiser *denoiser,
                           struct error *error)
{
    const struct start *start = &self->start;
    struct denoiser_row *rows = calloc(self->rows, sizeof *rows);
    for (size_t i = 0; rows && i < self->rows; i++) {
        const struct conditions_row *row = &self->conditions.row[condition_of(self, i)];
        rows[i] = (struct denoiser_row){row->image, row->weight, row->keys};
    }
    bool ok =
        rows ? denoiser_start(denoiser, start->latents, rows, error) &&
                   (!self->extra || denoiser_extra(denoiser, start->extra, rows, error))
             : error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
    ok = ok && (!self->keeps || denoiser_keep(denoiser, self->canvas.mask, start->known,
                                              start->noise, error));
    denoiser_image_guidance(denoiser, self->request->image_cfg);
    free(rows);
    return ok;
}

/* The latents before the first step, from the generators' first draws. */
static bool begin(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    size_t factor = pipeline_factor(self->pipeline);
    struct start_shape shape = {.images = self->count,
                                .c = self->c,
                                .h = self->h,
                                .w = self->w,
                                .extra = self->extra,
                                .draws = self->draws};
    bool pictured = request->init || request->mask || request->image;
    bool ok =
        image_request_draws(request, &shape, &self->run, factor, self->draws, error) &&
        (!pictured || canvas_make(&self->canvas, request, self->w * factor,
                                  self->h * factor, factor, error)) &&
        start_make(&self->start, &shape, &self->run, request,
                   pictured ? &self->canvas : NULL, &self->pipeline->plans, error);
    if (ok && self->pipeline->model.class_width)
        model_class_channels(&self->pipeline->model, request->class,
                             self->count * self->h * self->w, self->start.extra);
    return ok;
}

/* Leaves the last latents in nhwc. */
static bool denoise(struct rendering *self, pipeline_progress *progress, void *owner,
                    struct error *error)
{
    struct denoiser_shape shape = {
        .images = self->count,
        .h = self->h,
        .w = self->w,
        .guided = self->conditions.guided,
        .composes = self->conditions.composes,
        .edits = self->edits,
        .extra = self->extra,
        .keeps = self->keeps,
        .rows = self->rows,
        .tokens = self->conditions.keys,
    };
    struct pipeline *pipeline = self->pipeline;
    size_t first;
    if (pipeline->watch.preview_every && !pipeline->model.pixels &&
        !pipeline->preview.c)
        preview_fit(&pipeline->preview, &pipeline->plans, NULL); /* else none are had */
    /* pictures are encoded first, since that may cost the denoiser's plan */
    struct denoiser *denoiser =
        begin(self, error) ? plans_denoiser(&self->pipeline->plans, &shape, error)
                           : NULL;
    if (!denoiser || !start_denoiser(self, denoiser, error) ||
        !rendering_resume(self, denoiser, &first, error))
        return false;
    if (self->run.adaptive)
        return rendering_adapt(self, denoiser, progress, owner, error);
    for (size_t done = first; done < self->run.count; done++) {
        const struct step *step = &self->run.step[done];
        if (progress && !progress(owner, done, self->run.count))
            return rendering_stopped(self, denoiser, done, error);
        if (!rendering_attend(self, denoiser, done, done == first, error))
            return false;
        bool noisy = step->noise != 0;
        if (noisy && !rendering_draw(self, done, error))
            return false;
        denoiser_level(denoiser, self->run.known[done].image,
                       self->run.known[done].noise);
        if (!denoiser_step(denoiser, step, noisy ? self->nhwc : NULL, error) ||
            !rendering_watch(self, denoiser, done + 1, error))
            return false;
    }
    if (progress && !progress(owner, self->run.count, self->run.count))
        return error_set_kind(error, ERROR_BUSY, "stopped");
    return denoiser_latents(denoiser, self->nhwc, error);
}

static bool finish_image(struct rendering *self, size_t i, struct image *image,
                         struct error *error)
{
    size_t factor = pipeline_factor(self->pipeline);
    size_t values = self->c * self->h * self->w;
    const float *latents = self->nhwc + i * values;
    *image = (struct image){.width = self->w * factor,
                            .height = self->h * factor,
                            .c = self->c,
                            .h = self->h,
                            .w = self->w,
                            .truncated = self->conditions.truncated[i]};
    image->latents = calloc(values, sizeof *image->latents);
    image->rgb = calloc(image->width * image->height, 3);
    if (!image->latents || !image->rgb)
        return error_set_kind(error, ERROR_MEMORY, "no memory for an image");
    nhwc_to_nchw(image->latents, latents, 1, self->c, self->h, self->w);
    for (size_t v = 0; v < values; v++)
        if (!isfinite(latents[v]))
            return error_set_kind(error, ERROR_DEVICE,
                                  "seed %llu: latents are not finite after %zu steps",
                                  (unsigned long long)self->request[i].seed,
                                  self->run.count);
    if (self->pipeline->model.pixels) {
        pixels_to_rgb(latents, self->h * self->w, self->c, image->rgb);
        return true;
    }
    return tiles_picture(&self->pipeline->plans, self->request->tile, latents, self->h,
                         self->w, image->rgb, error);
}

static void rendering_clear(struct rendering *self)
{
    sampler_run_clear(&self->run);
    conditions_clear(&self->conditions);
    canvas_clear(&self->canvas);
    start_clear(&self->start);
    for (size_t i = 0; self->draws && i < self->count; i++)
        draws_destroy(&self->draws[i]);
    free(self->draws);
    free(self->context);
    free(self->added);
    free(self->nchw);
    free(self->nhwc);
}

bool rendering_together(struct pipeline *self, const struct image_request *requests,
                        size_t count, pipeline_progress *progress, void *owner,
                        struct image *images, struct error *error)
{
    struct rendering rendering = {
        .pipeline = self, .request = requests, .count = count};
    size_t filled = 0;
    bool ok = prepare(&rendering, error) && encode_texts(&rendering, error) &&
              denoise(&rendering, progress, owner, error);
    while (ok && filled < count) {
        ok = finish_image(&rendering, filled, &images[filled], error);
        filled++;
    }
    for (size_t i = 0; !ok && i < filled; i++)
        image_clear(&images[i]);
    rendering_clear(&rendering);
    return ok;
}
