/* What a rendering hands out on its way, and how it goes on from what another handed out.
 *
 * A snapshot holds neither noise nor pictures: a rendering that resumes begins like any
 * other, draws the noises of the steps that are done, and then puts the snapshot's latents
 * and history in place of those it began with.
 */
#include <stdlib.h>
#include <string.h>

#include "worker/sd/pixels.h"
#include "worker/sd/rendering.h"

static size_t image_values(const struct rendering *self)
{
    return self->c * self->h * self->w;
}

static bool draw(struct rendering *self, const struct sampler_interval *interval,
                 struct error *error)
{
    size_t image = image_values(self);
    for (size_t i = 0; i < self->count; i++)
        if (!draws_step(self->draws[i], interval, self->nchw + i * image, error))
            return false;
    return true;
}

bool rendering_draw(struct rendering *self, size_t step, struct error *error)
{
    if (!draw(self, &self->run.interval[step], error))
        return false;
    nchw_to_nhwc(self->nhwc, self->nchw, self->count, self->c, self->h, self->w);
    return true;
}

/* Noises that the steps of a run draw. */
static bool draw_again(struct rendering *self, const struct sampler_run *run,
                       size_t from, size_t to, struct error *error)
{
    for (size_t step = from; step < to; step++)
        if (run->step[step].noise != 0 && !draw(self, &run->interval[step], error))
            return false;
    return true;
}

static size_t draws_before(const struct rendering *self, size_t step)
{
    size_t draws = 0;
    for (size_t i = self->run.begin; i < step; i++)
        draws += self->run.step[i].noise != 0;
    return draws;
}

static bool no_memory(struct error *error)
{
    return error_set_kind(error, ERROR_MEMORY, "no memory for snapshots");
}

/* [1 + history] tensors of the batch; those of image i in each. */
static float *part_of(const struct rendering *self, float *values, size_t tensor,
                      size_t i)
{
    return values + (tensor * self->count + i) * image_values(self);
}

static bool fits(const struct rendering *self, size_t i, struct error *error)
{
    const struct snapshot *from = self->request[i].resume;
    const struct snapshot *first = self->request[0].resume;
    if (!from || !first || from->step != first->step)
        return error_set_kind(error, ERROR_INPUT,
                              "snapshot: images of one batch stand at different steps");
    if (from->c == self->c && from->h == self->h && from->w == self->w &&
        from->steps == self->of && from->step >= self->done + self->run.begin &&
        from->seed == self->request[i].seed &&
        from->step - self->done <= self->length &&
        from->draws == draws_before(self, from->step - self->done))
        return true;
    return error_set_kind(error, ERROR_INPUT,
                          "snapshot: it is of another picture than seed %llu, %zux%zu "
                          "latents, %zu steps",
                          (unsigned long long)self->request[i].seed, self->w, self->h,
                          self->of);
}

bool rendering_resume(struct rendering *self, struct denoiser *denoiser, size_t *first,
                      struct error *error)
{
    size_t image = image_values(self), tensors = 1 + SNAPSHOT_HISTORY;
    bool resumes = false;
    *first = self->run.begin;
    for (size_t i = 0; i < self->count; i++)
        resumes = resumes || self->request[i].resume;
    if (!resumes)
        return true;
    float *values = calloc(tensors * self->count * image, sizeof *values);
    if (!values)
        return no_memory(error);
    bool ok = true;
    for (size_t i = 0; ok && i < self->count; i++) {
        const struct snapshot *from = self->request[i].resume;
        ok = fits(self, i, error) && from;
        for (size_t t = 0; ok && t < tensors; t++)
            memcpy(part_of(self, values, t, i), from->values + t * image,
                   image * sizeof *values);
    }
    ok = ok && denoiser_load(denoiser, values, error);
    free(values);
    if (!ok)
        return false;
    *first = self->request[0].resume->step - self->done;
    const struct rendering *before = self->before;
    return (!before ||
            draw_again(self, &before->run, before->run.begin, before->length, error)) &&
           draw_again(self, &self->run, self->run.begin, *first, error);
}

static bool keep(struct rendering *self, float *values, size_t done,
                 struct error *error)
{
    const struct pipeline_watch *watch = &self->pipeline->watch;
    size_t image = image_values(self);
    struct snapshot snapshot = {.c = self->c,
                                .h = self->h,
                                .w = self->w,
                                .step = self->done + done,
                                .steps = self->of,
                                .draws = draws_before(self, done)};
    if (!snapshot_make(&snapshot, error))
        return false;
    for (size_t i = 0; i < self->count; i++) {
        snapshot.seed = self->request[i].seed;
        for (size_t t = 0; t <= SNAPSHOT_HISTORY; t++)
            memcpy(snapshot.values + t * image, part_of(self, values, t, i),
                   image * sizeof *values);
        watch->keep(watch->owner, i, &snapshot);
    }
    snapshot_clear(&snapshot);
    return true;
}

/* By a tiny VAE, which is quick enough: NULL pixels where there is none, or no room. */
static struct pixels decode(struct rendering *self, const float *latents)
{
    enum { PLACES_MOST = 128 * 128 };
    struct plans *plans = &self->pipeline->plans;
    struct pixels picture = {self->w * self->factor, self->h * self->factor, NULL};
    struct vae_pass *pass = plans->vae->config.tiny && self->h * self->w <= PLACES_MOST
                                ? plans_spare_decoder(plans, self->h, self->w)
                                : NULL;
    size_t places = picture.width * picture.height;
    float *values = pass ? calloc(places * 3, sizeof *values) : NULL;
    if (values && vae_pass_run(pass, latents, values, NULL))
        picture.rgb = calloc(places, 3);
    if (picture.rgb && !pixels_to_rgb(values, places, 3, picture.rgb))
        pixels_clear(&picture);
    free(values);
    return picture;
}

/* Latents as the next step would give them to the UNet, of about the deviation that clean
 * ones have. */
static bool show(struct rendering *self, const float *values, size_t done,
                 struct error *error)
{
    const struct pipeline_watch *watch = &self->pipeline->watch;
    struct preview_map *map = &self->pipeline->preview;
    size_t places = self->h * self->w, image = image_values(self);
    float scale = done < self->run.count ? self->run.step[done].input_scale : 1;
    float *scaled = calloc(image, sizeof *scaled);
    struct pixels picture = {self->w, self->h, calloc(places, 3)};
    bool ok = scaled && picture.rgb;
    if (!ok)
        no_memory(error);
    for (size_t i = 0; ok && i < self->count; i++) {
        for (size_t v = 0; v < image; v++)
            scaled[v] = scale * values[i * image + v];
        struct pixels decoded = decode(self, scaled);
        if (!decoded.rgb)
            preview_draw(map, scaled, places, picture.rgb);
        watch->preview(watch->owner, i, decoded.rgb ? &decoded : &picture);
        pixels_clear(&decoded);
    }
    free(scaled);
    pixels_clear(&picture);
    return ok;
}

bool rendering_stopped(struct rendering *self, struct denoiser *denoiser, size_t done,
                       struct error *error)
{
    const struct pipeline_watch *watch = &self->pipeline->watch;
    size_t tensors = 1 + SNAPSHOT_HISTORY;
    float *values =
        watch->keep && (watch->keep_stopped || watch->keep_last) && done > 0
            ? calloc(tensors * self->count * image_values(self), sizeof *values)
            : NULL;
    bool ok = !values || (denoiser_save(denoiser, values, error) &&
                          keep(self, values, done, error));
    free(values);
    return ok && error_set_kind(error, ERROR_BUSY, "stopped");
}

static bool is_due(size_t every, size_t done)
{
    return every && done % every == 0;
}

bool rendering_watch(struct rendering *self, struct denoiser *denoiser, size_t done,
                     struct error *error)
{
    const struct pipeline_watch *watch = &self->pipeline->watch;
    bool keeps = is_due(watch->keep_every, done) && done < self->run.count;
    bool shows = is_due(watch->preview_every, done) && self->pipeline->preview.c &&
                 !self->request->safety_path; /* nobody sees what is not judged yet */
    if (!keeps && !shows)
        return true;
    size_t tensors = 1 + SNAPSHOT_HISTORY;
    float *values = calloc(tensors * self->count * image_values(self), sizeof *values);
    if (!values)
        return no_memory(error);
    bool ok = keeps ? denoiser_save(denoiser, values, error)
                    : denoiser_latents(denoiser, values, error);
    ok = ok && (!keeps || keep(self, values, done, error)) &&
         (!shows || show(self, values, done, error));
    free(values);
    return ok;
}
