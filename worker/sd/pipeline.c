/* Rendering a batch
 *
 *     prompts -> context      conditioning.c, each distinct text once
 *     seeds -> noise          draws.c, on the host, one generator an image
 *     steps -> latents        denoiser.c, all images in one batch
 *     latents -> latents      hires.c, where a second pass is wanted, which is a rendering
 *                             of its own: the same requests with what differs put in
 *     latents -> pixels       tiles.c, one image at a time: the VAE's largest tensors
 *                             are a hundred times the UNet's
 *
 * Pictures that a request brings become latents in canvas.c and start.c.
 */
#include "worker/sd/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/hires.h"
#include "worker/sd/pixels.h"
#include "worker/sd/residence.h"
#include "worker/sd/tiles.h"

/* ---- The door */

struct pipeline *pipeline_load(struct gpu *gpu, const struct model_files *files,
                               enum dtype dtype, struct error *error)
{
    return residence_new(gpu, files, dtype, NULL, error);
}

void pipeline_destroy(struct pipeline **self)
{
    if (!*self)
        return;
    pipeline_destroy(&(*self)->refiner);
    residence_sleep(*self);
    model_files_clear(&(*self)->files);
    free(*self);
    *self = NULL;
}

void pipeline_watch(struct pipeline *self, const struct pipeline_watch *watch)
{
    self->watch = watch ? *watch : (struct pipeline_watch){0};
    if (self->refiner)
        self->refiner->watch = self->watch;
}

void pipeline_on_shortage(struct pipeline *self, bool (*make_room)(void *owner),
                          void *owner)
{
    self->make_room = make_room;
    self->room_owner = owner;
}

size_t pipeline_factor(const struct pipeline *self)
{
    return self->factor;
}

void pipeline_default_size(const struct pipeline *self, size_t *width, size_t *height)
{
    *width = self->width;
    *height = self->height;
}

void image_clear(struct image *self)
{
    free(self->rgb);
    free(self->latents);
    *self = (struct image){0};
}

/* ---- A rendering, of one pass or two */

/* The picture that was inpainted, over what was made of it. */
static bool lay_over(const struct canvas *canvas, struct image *image,
                     struct error *error)
{
    struct pixels made = {image->width, image->height, image->rgb};
    bool ok = canvas_lay_over(canvas, &made, error);
    image->rgb = made.rgb;
    image->width = made.width;
    image->height = made.height;
    return ok;
}

/* The safety checker the request names, on the device. */
static bool put_safety(void *owner, struct error *error)
{
    const struct image_request *request = ((struct rendering *)owner)->request;
    struct pipeline *pipeline = ((struct rendering *)owner)->pipeline;
    if (pipeline->safety && safety_is(pipeline->safety, request->safety_path))
        return true;
    safety_destroy(&pipeline->safety);
    pipeline->safety =
        safety_load(pipeline->gpu, request->safety_path, request->safety_name, error);
    return pipeline->safety;
}

/* A picture that is flagged leaves nothing of itself. */
static bool judge(struct rendering *self, struct image *image, struct error *error)
{
    struct safety_finding finding;
    const struct pixels made = {image->width, image->height, image->rgb};
    if (!residence_take(self->pipeline, put_safety, self, error) ||
        !safety_check(self->pipeline->safety, &made, &finding, error))
        return false;
    image->flagged = finding.flagged;
    if (finding.flagged) {
        memset(image->rgb, 0, image->width * image->height * 3);
        memset(image->latents, 0, self->c * self->h * self->w * sizeof(float));
    }
    return true;
}

static bool finish_image(struct rendering *self, size_t i, struct image *image,
                         struct error *error)
{
    size_t factor = pipeline_factor(self->pipeline);
    size_t values = self->c * self->h * self->w;
    const float *latents = self->nhwc + i * values;
    size_t pixels = self->w * factor * self->h * factor;
    *image = (struct image){.asked_width = self->w * factor,
                            .asked_height = self->h * factor,
                            .step_pixels = self->request->steps * pixels,
                            .width = self->w * factor,
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
    if (self->pipeline->model.pixels)
        pixels_to_rgb(latents, self->h * self->w, self->c, image->rgb);
    else if (!tiles_picture(&self->pipeline->plans, self->request->tile, latents,
                            self->h, self->w, image->rgb, error) ||
             (self->canvas.lays_over && !lay_over(&self->canvas, image, error)))
        return false;
    return !self->request->safety_path || judge(self, image, error);
}

/* The requests as the second pass has them. */
static bool prepare_second(struct rendering *self, const struct rendering *first,
                           const struct hires_size *size, struct error *error)
{
    const struct hires_request *asked = &first->request->hires;
    size_t factor = pipeline_factor(first->pipeline);
    struct image_request *own = calloc(first->count, sizeof *own);
    *self = (struct rendering){.pipeline = first->pipeline,
                               .request = own,
                               .own = own,
                               .count = first->count,
                               .first = first,
                               .done = first->length};
    if (!own)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a second pass");
    for (size_t i = 0; i < first->count; i++) {
        own[i] = first->request[i];
        own[i].hires = (struct hires_request){0};
        own[i].steps = asked->steps ? asked->steps : own[i].steps;
        own[i].cfg = asked->cfg > 0 ? asked->cfg : own[i].cfg;
        own[i].sampler = asked->sampler ? asked->sampler : own[i].sampler;
        own[i].schedule = asked->schedule ? asked->schedule : own[i].schedule;
        own[i].width = size->out_w * factor;
        own[i].height = size->out_h * factor;
        if (own[i].resume && own[i].resume->step <= first->length)
            own[i].resume = NULL;
    }
    return rendering_prepare(self, error);
}

/* Both passes, where there are two, and the refiner's part of the last of them, where there is
 * one; what is left in the last one's nhwc are its latents. */
struct passes {
    struct rendering first, second, refined;
    struct hires_size size;
    bool enlarges, refines;
};

static struct rendering *last_pass(struct passes *self)
{
    return self->enlarges ? &self->second : &self->first;
}

static bool check_refined(const struct rendering *self, struct error *error)
{
    const struct rendering *before = self->before;
    if (self->c != before->c || self->factor != before->factor || self->extra)
        return error_set_kind(error, ERROR_INPUT,
                              "its UNet takes %zu channels of %zu-pixel latents; the "
                              "model's latents have %zu, of %zu pixels",
                              self->c + self->extra, self->factor, before->c,
                              before->factor);
    return self->run.ways == WAYS_DIFFUSERS ||
           sampler_goes_on(&self->run, &before->run) ||
           error_set_kind(error, ERROR_INPUT,
                          "it was trained on another noise schedule than the model; "
                          "samplers of diffusers' do with that");
}

/* The requests as the refiner has them: what is made for the model's weights is not for its
 * own. */
static bool prepare_refined(struct passes *self, struct error *error)
{
    struct rendering *before = last_pass(self), *refined = &self->refined;
    const struct image_request *request = before->request;
    if (request->mask || before->extra || before->pipeline->model.pixels)
        return error_set_kind(error, ERROR_INPUT,
                              "refiner: it goes on with whole pictures of models of "
                              "latents, made from noise or from init");
    if (!residence_refiner(before->pipeline, &request->refiner, error))
        return false;
    struct image_request *own = calloc(before->count, sizeof *own);
    *refined = (struct rendering){.pipeline = before->pipeline->refiner,
                                  .request = own,
                                  .own = own,
                                  .count = before->count,
                                  .before = before};
    if (!own)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a refiner");
    for (size_t i = 0; i < before->count; i++) {
        own[i] = before->request[i];
        own[i].width = before->w * before->factor;
        own[i].height = before->h * before->factor;
        own[i].init = NULL;
        own[i].prediction = own[i].zsnr = NULL;
        own[i].lora_count = own[i].embedding_count = 0;
        if (own[i].resume && own[i].resume->step <= before->done + before->length)
            own[i].resume = NULL;
    }
    if (!rendering_prepare(refined, error) || !check_refined(refined, error))
        return error_prefix(error, "refiner %s", request->refiner.name);
    bool follows = refined->run.ways == WAYS_DIFFUSERS;
    refined->done = before->done + (follows ? before->length : 0);
    refined->calls = follows ? before->length : 0;
    refined->of = refined->done + refined->length;
    before->carries = !follows;
    return true;
}

static bool prepare_passes(struct passes *self, struct error *error)
{
    struct rendering *first = &self->first;
    const struct image_request *request = first->request;
    size_t factor = pipeline_factor(first->pipeline);
    self->enlarges = hires_wanted(&request->hires);
    if (!rendering_prepare(first, error))
        return false;
    if (!self->enlarges)
        return true;
    if (request->init || request->image || first->pipeline->model.pixels)
        return error_set_kind(error, ERROR_INPUT,
                              "hires: a second pass is for pictures made from noise by "
                              "models of latents");
    if (!hires_plan(&self->size, &request->hires, first->w * factor, first->h * factor,
                    factor, error) ||
        !prepare_second(&self->second, first, &self->size, error))
        return error_prefix(error, "second pass");
    return true;
}

static bool prepare(struct passes *self, struct error *error)
{
    if (!prepare_passes(self, error))
        return false;
    self->refines = self->first.request->refiner.model;
    if (self->refines && !prepare_refined(self, error))
        return false;
    /* A1111's may have no call late enough */
    self->refines = self->refines && self->refined.run.begin < self->refined.run.end;
    size_t of = self->refines ? self->refined.of : last_pass(self)->of;
    self->first.of = self->second.of = of;
    return true;
}

/* The first pass's latents, enlarged, for the second to begin with. */
static bool enlarge(struct passes *self, struct error *error)
{
    const struct rendering *first = &self->first;
    struct rendering *second = &self->second;
    size_t c = first->c, from = first->h * first->w * c;
    size_t values = second->h * second->w * c;
    second->given = calloc(first->count * values, sizeof *second->given);
    if (!second->given)
        return error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    for (size_t i = 0; i < first->count; i++) {
        bool drawn = second->run.ways != WAYS_COMFY;
        if (!hires_enlarge(
                &self->size, first->request->hires.upscaler, first->nhwc + i * from,
                first->h, first->w, c, &first->pipeline->plans, first->request->tile,
                drawn ? first->draws[i] : NULL, second->given + i * values, error))
            return error_prefix(error, "second pass");
    }
    return true;
}

static bool is_over(const struct rendering *pass, const struct snapshot *resume)
{
    return resume && resume->step > pass->done + pass->length;
}

static bool run(struct rendering *pass, pipeline_progress *progress, void *owner,
                struct error *error)
{
    return rendering_wake(pass, error) && rendering_encode(pass, error) &&
           rendering_denoise(pass, progress, owner, error);
}

/* The model may sleep from here on, and with it what its texts became. */
static bool hand_over(struct passes *self, struct error *error)
{
    struct rendering *before = last_pass(self);
    if (!before->start.latents && /* its part was left out */
        !(rendering_wake(before, error) && rendering_begin(before, error)))
        return false;
    conditions_clear(&self->first.conditions);
    conditions_clear(&self->second.conditions);
    return true;
}

static bool denoise(struct passes *self, pipeline_progress *progress, void *owner,
                    struct error *error)
{
    const struct snapshot *resume = self->first.request->resume;
    bool first_over = is_over(&self->first, resume);
    bool over = self->refines && is_over(last_pass(self), resume);
    if (!(first_over && (self->enlarges || self->refines)) &&
        !run(&self->first, progress, owner, error))
        return false;
    if (self->enlarges && !over &&
        ((!first_over && !enlarge(self, error)) ||
         !run(&self->second, progress, owner, error)))
        return false;
    return !self->refines ||
           (hand_over(self, error) && run(&self->refined, progress, owner, error));
}

/* What the first of two passes adds to what is said of an image. */
static void count_first(const struct rendering *first, struct image *image)
{
    image->asked_width = first->w * first->factor;
    image->asked_height = first->h * first->factor;
    image->step_pixels +=
        first->request->steps * image->asked_width * image->asked_height;
}

bool rendering_together(struct pipeline *self, const struct image_request *requests,
                        size_t count, pipeline_progress *progress, void *owner,
                        struct image *images, struct error *error)
{
    struct passes passes = {
        .first = {.pipeline = self, .request = requests, .count = count}};
    size_t filled = 0;
    bool ok = residence_wake(self, error) && prepare(&passes, error);
    self->present = requests;
    ok = ok && denoise(&passes, progress, owner, error);
    self->present = NULL;
    struct rendering *last = passes.refines ? &passes.refined : last_pass(&passes);
    while (ok && filled < count) {
        ok = finish_image(last, filled, &images[filled], error);
        if (passes.enlarges)
            count_first(&passes.first, &images[filled]);
        filled++;
    }
    for (size_t i = 0; !ok && i < filled; i++)
        image_clear(&images[i]);
    rendering_clear(&passes.first);
    rendering_clear(&passes.second);
    rendering_clear(&passes.refined);
    return ok;
}

bool pipeline_encode_ahead(struct pipeline *self, const struct image_request *request,
                           struct error *error)
{
    struct rendering ahead = {.pipeline = self,
                              .request = request,
                              .count = 1,
                              .beside = self->present != NULL};
    if (ahead.beside &&
        (!self->awake || !image_request_same_files(self->present, request)))
        return true;
    bool ok = residence_wake(self, error) && rendering_prepare(&ahead, error) &&
              rendering_encode(&ahead, error);
    rendering_clear(&ahead);
    return ok;
}
