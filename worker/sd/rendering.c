/* One pass of a rendering: what is checked and chosen before, and the steps themselves. */
#include "worker/sd/residence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/hires.h"

enum { SIDE_MOST = 4096, BATCH_MOST = 64 };

static bool put_files(void *owner, struct error *error)
{
    struct rendering *self = owner;
    struct pipeline *pipeline = self->pipeline;
    const struct image_request *request = self->request;
    return vae_other_put(&pipeline->vae, &pipeline->model, request->vae_path,
                         request->vae_name, error) &&
           adapters_set(pipeline->adapters, request->loras, request->lora_count,
                        &self->adapters, error) &&
           embedding_cache_load(&pipeline->embeddings, &pipeline->model.text,
                                request->embeddings, request->embedding_count, error);
}

/* Puts the request's VAE, LoRAs and embeddings in their places. */
static bool take_files(struct rendering *self, struct error *error)
{
    struct pipeline *pipeline = self->pipeline;
    if (vae_other_differs(&pipeline->vae, self->request->vae_path)) {
        plans_drop(&pipeline->plans);
        pipeline->preview = (struct preview_map){0};
    }
    self->loads = pipeline->loads;
    if (self->beside) /* nothing is taken then, and the plans of both stay */
        return put_files(self, error);
    return residence_take(pipeline, put_files, self, error);
}

bool rendering_wake(struct rendering *self, struct error *error)
{
    return residence_wake(self->pipeline, error) &&
           (self->loads == self->pipeline->loads || take_files(self, error));
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
    const struct unet_config *unet = &self->pipeline->model.unet.config;
    size_t least = unet->pad_end ? (size_t)1 << (unet->levels - 1) : 1;
    if (self->w < least || self->h < least)
        return error_set_kind(error, ERROR_INPUT,
                              "size %zux%zu: this model halves its latents to nothing; "
                              "each side has at least %zu pixels",
                              width, height, least * pipeline_factor(self->pipeline));
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
    if ((edits || model->unet.config.guidance) && self->run.uncond)
        return error_set_kind(
            error, ERROR_INPUT, "sampler %s: a model that %s takes none with CFG++",
            request->sampler, edits ? "edits pictures" : "is told its guidance");
    self->guided =
        edits ? request->cfg > 1 && request->image_cfg >= 1 : self->run.guided;
    self->edits = edits && self->guided;
    self->inpaints = inpaints;
    return true;
}

/* A refiner's run is that of the model whose it is. */
static struct sampler_options plan_as(const struct rendering *self)
{
    const struct image_request *request = self->request;
    const struct rendering *whole = self->before ? self->before : self;
    bool begins = whole->request->init || whole->first;
    bool refined = request->refiner.model &&
                   (whole->first || !hires_wanted(&whole->request->hires));
    return (struct sampler_options){
        .schedule = request->schedule,
        .steps = request->steps,
        .eta = request->eta,
        /* a UNet that is told of it is not guided besides */
        .guidance = self->pipeline->model.unet.config.guidance ? 1 : request->cfg,
        .guidance_rescale = request->guidance_rescale,
        .is_xl = whole->is_xl,
        .strength = begins ? request->strength : 1,
        .from_image = begins,
        .inpaints = request->mask,
        .is_second = whole->first,
        .refiner_at = refined ? request->refiner.at : 0,
        .refines = self->before,
    };
}

bool rendering_prepare(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    const struct model *model = &self->pipeline->model;
    self->is_xl = model->unet.config.time_ids > 0;
    self->factor = self->pipeline->factor;
    struct sampler_options options = plan_as(self);
    struct schedule_config schedule;
    if (!check_requests(self, error) || !take_files(self, error) ||
        !model_schedule(model, request->prediction, request->zsnr, &schedule, error) ||
        !sampler_plan(&self->run, request->sampler, &schedule, &options, error) ||
        !choose_mode(self, error))
        return false;
    self->holds = request->mask && self->run.ways != WAYS_DIFFUSERS;
    self->keeps = request->mask && !self->holds && !self->inpaints;
    self->length = self->run.adaptive ? request->steps : self->run.end;
    self->of = self->done + self->length;
    size_t values = self->count * self->c * self->h * self->w;
    self->draws = calloc(self->count, sizeof *self->draws);
    self->nchw = calloc(values, sizeof *self->nchw);
    self->nhwc = calloc(values, sizeof *self->nhwc);
    if (!self->draws || !self->nchw || !self->nhwc)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu images",
                              self->count);
    return true;
}

/* The denoiser with everything that holds for all steps. */
static bool start_denoiser(struct rendering *self, struct denoiser *denoiser,
                           struct error *error)
{
    const struct start *start = &self->start;
    struct denoiser_row *rows = calloc(self->rows, sizeof *rows);
    for (size_t i = 0; rows && i < self->rows; i++) {
        const struct conditions_row *row =
            &self->conditions.row[rendering_condition(self, i)];
        rows[i] = (struct denoiser_row){row->image, row->weight, row->keys};
    }
    bool ok =
        rows ? denoiser_start(denoiser, start->latents, rows, error) &&
                   (!self->extra || denoiser_extra(denoiser, start->extra, rows, error))
             : error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
    ok = ok && (!(self->keeps || self->holds) ||
                denoiser_keep(denoiser, self->canvas.held, start->known, start->noise,
                              error));
    ok = ok && denoiser_embed_guidance(denoiser, self->request->cfg, error);
    if (ok && self->before && self->before->carried)
        ok = denoiser_load(denoiser, self->before->carried, error);
    denoiser_image_guidance(denoiser, self->request->image_cfg);
    free(rows);
    return ok;
}

/* A refiner's part begins with what the model's leaves. */
static void take_over(struct rendering *self, struct rendering *before)
{
    self->start = before->start;
    before->start = (struct start){0};
    memcpy(self->draws, before->draws, self->count * sizeof *self->draws);
    memset(before->draws, 0, self->count * sizeof *self->draws);
    memcpy(self->start.latents, before->nhwc,
           self->count * self->c * self->h * self->w * sizeof *before->nhwc);
}

bool rendering_begin(struct rendering *self, struct error *error)
{
    if (self->before) {
        take_over(self, self->before);
        return true;
    }
    const struct image_request *request = self->request;
    size_t factor = pipeline_factor(self->pipeline);
    struct start_shape shape = {.images = self->count,
                                .c = self->c,
                                .h = self->h,
                                .w = self->w,
                                .extra = self->extra,
                                .draws = self->draws,
                                .given = self->given};
    bool pictured = request->init || request->mask || request->image;
    bool ok =
        image_request_draws(request, &shape, &self->run, factor, self->draws, error) &&
        (!pictured || canvas_make(&self->canvas, request, self->run.ways,
                                  self->w * factor, self->h * factor, factor, error)) &&
        start_make(&self->start, &shape, &self->run, request,
                   pictured ? &self->canvas : NULL, &self->pipeline->plans, error);
    if (ok && self->pipeline->model.class_width)
        model_class_channels(&self->pipeline->model, request->class,
                             self->count * self->h * self->w, self->start.extra);
    return ok;
}

/* What another part of the run, on another model, goes on with besides the latents. */
static bool carry(struct rendering *self, struct denoiser *denoiser,
                  struct error *error)
{
    size_t values = self->count * self->c * self->h * self->w;
    self->carried = calloc((1 + DENOISER_HISTORY) * values, sizeof *self->carried);
    return self->carried ? denoiser_save(denoiser, self->carried, error)
                         : error_set_kind(error, ERROR_MEMORY, "no memory for latents");
}

/* Outside the mask A1111's latents are the picture's in the end. */
static void put_known(struct rendering *self)
{
    size_t places = self->h * self->w;
    for (size_t i = 0; i < self->count * places; i++)
        if (self->canvas.held[i % places] != 1)
            memcpy(self->nhwc + i * self->c, self->start.known + i * self->c,
                   self->c * sizeof *self->nhwc);
}

bool rendering_denoise(struct rendering *self, pipeline_progress *progress, void *owner,
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
        .holds = self->holds,
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
        rendering_begin(self, error)
            ? plans_denoiser(&self->pipeline->plans, &shape, error)
            : NULL;
    if (!denoiser || !start_denoiser(self, denoiser, error) ||
        !rendering_resume(self, denoiser, &first, error))
        return false;
    if (self->run.adaptive)
        return rendering_adapt(self, denoiser, progress, owner, error);
    for (size_t done = first; done < self->length; done++) {
        const struct step *step = &self->run.step[done];
        if (progress && !progress(owner, self->done + done, self->of))
            return rendering_stopped(self, denoiser, done, error);
        if (!rendering_attend(self, denoiser, self->calls + done, done == first, error))
            return false;
        bool noisy = step->noise != 0;
        if (noisy && !rendering_draw(self, done, error))
            return false;
        denoiser_level(denoiser, self->run.known[done].image,
                       self->run.known[done].noise);
        denoiser_hold(denoiser, &self->run.hold[done]);
        if (!denoiser_step(denoiser, step, noisy ? self->nhwc : NULL, error) ||
            !rendering_watch(self, denoiser, done + 1, error))
            return false;
    }
    bool ends = self->done + self->length == self->of;
    if (progress && ends && !progress(owner, self->of, self->of))
        return error_set_kind(error, ERROR_BUSY, "stopped");
    if (ends && pipeline->watch.keep_last && !pipeline->model.pixels)
        return rendering_stopped(self, denoiser, self->length, error);
    if (!denoiser_latents(denoiser, self->nhwc, error) ||
        (self->carries && !carry(self, denoiser, error)))
        return false;
    if (self->holds && self->run.ways == WAYS_A1111)
        put_known(self);
    return true;
}

void rendering_clear(struct rendering *self)
{
    sampler_run_clear(&self->run);
    conditions_clear(&self->conditions);
    canvas_clear(&self->canvas);
    start_clear(&self->start);
    for (size_t i = 0; self->draws && i < self->count; i++)
        draws_destroy(&self->draws[i]);
    free(self->draws);
    free(self->own);
    free(self->given);
    free(self->carried);
    free(self->context);
    free(self->added);
    free(self->nchw);
    free(self->nhwc);
}
