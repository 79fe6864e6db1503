/* Rendering a batch
 *
 *     prompts -> context      conditioning.c, each distinct text once
 *     seeds -> noise          noise.c, on the host, one generator an image
 *     steps -> latents        denoiser.c, all images in one batch
 *     latents -> pixels       decoder.c, one image at a time: the VAE's largest tensors
 *                             are a hundred times the UNet's
 *
 * Plans for a size are kept, the ones used last, because a farm sends many batches of one
 * size. When the device's memory is short the others are dropped first.
 */
#include "worker/sd/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/conditions.h"
#include "worker/sd/decoder.h"
#include "worker/sd/denoiser.h"
#include "worker/sd/model.h"
#include "worker/sd/noise.h"
#include "worker/sd/prompt.h"
#include "worker/sd/sampler.h"

enum { DENOISERS = 4, DECODERS = 2, SIDE_MOST = 4096, BATCH_MOST = 64 };

struct pipeline {
    struct gpu *gpu;
    enum dtype dtype;
    struct model model;
    struct conditioning *conditioning;
    void *denoiser[DENOISERS]; /* the one used last first */
    void *decoder[DECODERS];   /* likewise */
};

/* ---- Plans */

struct decoder_shape {
    size_t h, w;
};

static bool fits_denoiser(const void *plan, const void *shape)
{
    return denoiser_fits(plan, shape);
}

static void *make_denoiser(struct pipeline *self, const void *shape,
                           struct error *error)
{
    return denoiser_new(self->gpu, self->dtype, &self->model.unet, shape, error);
}

static void drop_denoiser(void *plan)
{
    struct denoiser *denoiser = plan;
    denoiser_destroy(&denoiser);
}

static bool fits_decoder(const void *plan, const void *shape)
{
    const struct decoder_shape *wanted = shape;
    return decoder_fits(plan, wanted->h, wanted->w);
}

static void *make_decoder(struct pipeline *self, const void *shape, struct error *error)
{
    const struct decoder_shape *wanted = shape;
    return decoder_new(self->gpu, self->model.vae.dtype, &self->model.vae, wanted->h,
                       wanted->w, error);
}

static void drop_decoder(void *plan)
{
    struct decoder *decoder = plan;
    decoder_destroy(&decoder);
}

/* What is planned, and how many of its plans are kept. */
struct plan_kind {
    size_t most;
    bool (*fits)(const void *plan, const void *shape);
    void *(*make)(struct pipeline *, const void *shape, struct error *);
    void (*drop)(void *plan);
};
static const struct plan_kind denoisers = {DENOISERS, fits_denoiser, make_denoiser,
                                           drop_denoiser};
static const struct plan_kind decoders = {DECODERS, fits_decoder, make_decoder,
                                          drop_decoder};

static void drop_all(void **list, const struct plan_kind *kind)
{
    for (size_t i = 0; i < kind->most; i++) {
        kind->drop(list[i]);
        list[i] = NULL;
    }
}

static void drop_plans(struct pipeline *self)
{
    drop_all(self->denoiser, &denoisers);
    drop_all(self->decoder, &decoders);
}

/* Brings the plan that fits to the front of its list, or makes one there: the last of a
 * full list then goes, or all of them where memory is short. */
static void *get_plan(struct pipeline *self, void **list, const struct plan_kind *kind,
                      const void *shape, struct error *error)
{
    size_t i = 0;
    while (i + 1 < kind->most && list[i] && !kind->fits(list[i], shape))
        i++;
    if (list[i] && !kind->fits(list[i], shape)) {
        kind->drop(list[i]);
        list[i] = NULL;
    }
    void *plan = list[i];
    memmove(list + 1, list, i * sizeof *list);
    list[0] = plan;
    struct error first = {0};
    if (!plan)
        plan = kind->make(self, shape, &first);
    if (!plan && first.kind == ERROR_MEMORY) {
        drop_plans(self);
        plan = kind->make(self, shape, &first);
    }
    if (!plan && error)
        *error = first;
    return list[0] = plan;
}

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
    if (model_load(&self->model, gpu, files, dtype, error))
        self->conditioning = conditioning_new(&self->model.text, error);
    if (!self->conditioning)
        pipeline_destroy(&self);
    return self;
}

void pipeline_destroy(struct pipeline **self)
{
    if (!*self)
        return;
    drop_plans(*self);
    conditioning_destroy(&(*self)->conditioning);
    model_clear(&(*self)->model);
    free(*self);
    *self = NULL;
}

size_t pipeline_factor(const struct pipeline *self)
{
    return vae_factor(&self->model.vae);
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

struct rendering {
    struct pipeline *pipeline;
    const struct image_request *request;
    size_t count;
    size_t c, h, w; /* latents of an image */
    struct sampler_run run;
    struct conditions conditions;
    struct noise *generator; /* of each image */
    float *context;          /* [rows, keys, width] of the conditions */
    float *added;            /* [rows, added], where the UNet takes it */
    float *nchw, *nhwc;      /* latents or noise of all images */
};

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

static const char *syntax_of(const struct image_request *request)
{
    return request->syntax ? request->syntax : "auto";
}

static bool same_but_text_and_seed(const struct image_request *a,
                                   const struct image_request *b)
{
    return a->steps == b->steps && a->cfg == b->cfg && a->width == b->width &&
           a->height == b->height && a->original_width == b->original_width &&
           a->original_height == b->original_height && a->crop_x == b->crop_x &&
           a->crop_y == b->crop_y && a->aesthetic == b->aesthetic && a->eta == b->eta &&
           a->clip_skip == b->clip_skip && strcmp(a->sampler, b->sampler) == 0 &&
           strcmp(a->schedule, b->schedule) == 0 &&
           strcmp(syntax_of(a), syntax_of(b)) == 0;
}

static bool check_requests(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    size_t factor = pipeline_factor(self->pipeline), width, height;
    if (self->count < 1 || self->count > BATCH_MOST)
        return error_set_kind(error, ERROR_INPUT, "a batch of %zu: from 1 to %d images",
                              self->count, BATCH_MOST);
    for (size_t i = 1; i < self->count; i++)
        if (!same_but_text_and_seed(&request[0], &request[i]))
            return error_set_kind(error, ERROR_INPUT,
                                  "images of one batch differ in more than prompt, "
                                  "negative prompt and seed");
    if (!(fabs(request->cfg) <= 1000))
        return error_set_kind(error, ERROR_INPUT, "cfg %g: from -1000 to 1000",
                              request->cfg);
    pipeline_default_size(self->pipeline, &width, &height);
    width = request->width ? request->width : width;
    height = request->height ? request->height : height;
    if (!check_side("width", width, factor, error) ||
        !check_side("height", height, factor, error))
        return false;
    self->w = width / factor;
    self->h = height / factor;
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
                                      .strength = 1};
    if (!check_requests(self, error) ||
        !sampler_plan(&self->run, request->sampler, &model->schedule, &options, error))
        return false;
    self->c = model->vae.config.latent_channels;
    if (model->unet.config.in_channels != self->c)
        return error_set_kind(error, ERROR_INPUT,
                              "this model's UNet takes %zu channels, the latents have "
                              "%zu: it needs a picture to edit",
                              model->unet.config.in_channels, self->c);
    size_t values = self->count * self->c * self->h * self->w;
    self->generator = calloc(self->count, sizeof *self->generator);
    self->nchw = calloc(values, sizeof *self->nchw);
    self->nhwc = calloc(values, sizeof *self->nhwc);
    if (!self->generator || !self->nchw || !self->nhwc)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu images",
                              self->count);
    return true;
}

static bool encode_texts(struct rendering *self, struct error *error)
{
    const struct image_request *request = self->request;
    const struct model *model = &self->pipeline->model;
    const struct text_stack *text = &model->text;
    enum prompt_syntax syntax = prompt_syntax_of(syntax_of(request), request->sampler);
    struct conditions_options options = {
        .form = {.syntax = syntax, .clip_skip = request->clip_skip},
        .calls = prompt_calls(request->sampler, request->steps),
        .guided = request->cfg > 1,
    };
    struct conditions_image *images = calloc(self->count, sizeof *images);
    for (size_t i = 0; images && i < self->count; i++) {
        const char *negative = self->request[i].negative;
        /* A1111 takes an empty one for none */
        if (model->zero_negative && syntax == PROMPT_A1111 && negative && !*negative)
            negative = NULL;
        if (!model->zero_negative && !negative)
            negative = "";
        images[i] = (struct conditions_image){self->request[i].prompt, negative};
    }
    bool ok = images ? conditions_make(&self->conditions, self->pipeline->conditioning,
                                       text->c, text->tokens, images, self->count,
                                       &options, error)
                     : error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
    free(images);
    if (!ok)
        return false;
    size_t rows = self->conditions.count, row = self->conditions.keys * text->c;
    self->context = calloc(rows * row + 1, sizeof *self->context);
    self->added = calloc(rows * model->unet.config.added + 1, sizeof *self->added);
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

/* The UNet's text for call `call`, where it is another than before. */
static bool attend(struct rendering *self, struct denoiser *denoiser, size_t call,
                   struct error *error)
{
    if (!conditions_change(&self->conditions, call))
        return true;
    conditions_write(&self->conditions, call, self->context);
    for (size_t row = 0;
         self->pipeline->model.unet.config.added && row < self->conditions.count; row++)
        add_time_ids(self, row, conditions_pooled(&self->conditions, row, call));
    return denoiser_attend(denoiser, self->context, self->added, error);
}

static bool start(struct rendering *self, struct denoiser *denoiser,
                  struct error *error)
{
    const struct conditions *conditions = &self->conditions;
    struct denoiser_row *rows = calloc(conditions->count, sizeof *rows);
    for (size_t i = 0; rows && i < conditions->count; i++) {
        const struct conditions_row *row = &conditions->row[i];
        rows[i] = (struct denoiser_row){row->image, row->weight, row->keys};
    }
    bool ok = rows ? denoiser_start(denoiser, self->nhwc, rows, error)
                   : error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
    free(rows);
    return ok;
}

/* One draw of every image's generator into nhwc, times `factor` in float32. */
static void draw(struct rendering *self, double factor)
{
    size_t image = self->c * self->h * self->w;
    for (size_t i = 0; i < self->count; i++)
        noise_normal(&self->generator[i], self->nchw + i * image, image);
    for (size_t i = 0; i < self->count * image; i++)
        self->nchw[i] *= (float)factor;
    nchw_to_nhwc(self->nhwc, self->nchw, self->count, self->c, self->h, self->w);
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
        .rows = self->conditions.count,
        .tokens = self->conditions.keys,
    };
    struct denoiser *denoiser =
        get_plan(self->pipeline, self->pipeline->denoiser, &denoisers, &shape, error);
    if (!denoiser)
        return false;
    for (size_t i = 0; i < self->count; i++)
        noise_seed(&self->generator[i], self->request[i].seed);
    draw(self, self->run.start_scale);
    if (!start(self, denoiser, error))
        return false;
    for (size_t done = 0; done < self->run.count; done++) {
        const struct step *step = &self->run.step[done];
        if (progress && !progress(owner, done, self->run.count))
            return error_set_kind(error, ERROR_BUSY, "stopped");
        if (!attend(self, denoiser, done, error))
            return false;
        bool noisy = step->noise != 0;
        if (noisy)
            draw(self, 1);
        if (!denoiser_step(denoiser, step, noisy ? self->nhwc : NULL, error))
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
    struct decoder_shape shape = {.h = self->h, .w = self->w};
    struct decoder *decoder =
        get_plan(self->pipeline, self->pipeline->decoder, &decoders, &shape, error);
    return decoder && decoder_run(decoder, latents, image->rgb, error);
}

static void rendering_clear(struct rendering *self)
{
    sampler_run_clear(&self->run);
    conditions_clear(&self->conditions);
    free(self->generator);
    free(self->context);
    free(self->added);
    free(self->nchw);
    free(self->nhwc);
}

bool pipeline_render(struct pipeline *self, const struct image_request *requests,
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
