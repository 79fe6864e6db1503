#include "worker/sd/start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/tiles.h"

/* What stands in the way of every function here. */
struct work {
    const struct start_shape *shape;
    const struct sampler_run *run;
    const struct image_request *request;
    const struct canvas *canvas;
    struct plans *plans;
    size_t places, image; /* h w; h w c */
    float *moments;       /* [h, w, 2c] */
    float *drawn, *nchw;  /* of one image */
};

void start_clear(struct start *self)
{
    free(self->latents);
    free(self->known);
    free(self->noise);
    free(self->extra);
    *self = (struct start){0};
}

void start_posterior(float *latents, const float *moments, const float *noise,
                     size_t count, size_t c)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < c; k++) {
            float mean = moments[i * 2 * c + k], value = mean;
            if (noise) {
                float variance = moments[i * 2 * c + c + k];
                variance = fminf(fmaxf(variance, -30), 20);
                value = mean + expf(0.5F * variance) * noise[i * c + k];
            }
            latents[i * c + k] = value;
        }
}

void start_scale(float *latents, size_t count, const struct vae_config *vae,
                 bool normalise)
{
    for (size_t i = 0; i < count; i++) {
        size_t k = i % vae->latent_channels;
        if (normalise && vae->normalised)
            latents[i] = (float)((latents[i] - vae->mean[k]) * vae->scaling_factor /
                                 vae->deviation[k]);
        else
            latents[i] *= (float)vae->scaling_factor;
    }
}

static bool no_memory(struct error *error)
{
    return error_set_kind(error, ERROR_MEMORY, "no memory for latents");
}

/* What was drawn, as [h, w, c] into `into`. */
static void turn(struct work *self, float *into)
{
    const struct start_shape *shape = self->shape;
    nchw_to_nhwc(into, self->nchw, 1, shape->c, shape->h, shape->w);
}

static bool encode(struct work *self, const float *picture, struct error *error)
{
    return tiles_moments(self->plans, self->request->tile, picture, self->shape->h,
                         self->shape->w, self->moments, error);
}

/* The posterior of a picture for every image, each with a draw of its own; its mean as A1111's
 * and ComfyUI's samplers have it, whose draw no seed reaches. A tiny VAE's latents are drawn
 * from nothing. */
static bool sample(struct work *self, const float *picture, float *latents,
                   struct error *error)
{
    const struct start_shape *shape = self->shape;
    const struct vae_config *vae = &self->plans->vae->config;
    bool draws = self->run->posterior && !vae->tiny;
    if (!encode(self, picture, error))
        return false;
    for (size_t i = 0; i < shape->images; i++) {
        float *into = latents + i * self->image;
        if (draws) {
            draws_next(shape->draws[i], self->nchw);
            turn(self, self->drawn);
        }
        start_posterior(into, self->moments, draws ? self->drawn : NULL, self->places,
                        shape->c);
        start_scale(into, self->image, vae,
                    !self->canvas->mask || self->run->ways != WAYS_DIFFUSERS);
    }
    return true;
}

/* A1111's ways to fill what is repainted before it begins: new noise of the same seed, or
 * nothing. */
static void fill(struct work *self, float *known)
{
    const struct start_shape *shape = self->shape;
    enum inpaint_fill how = self->request->inpaint_fill;
    if (!self->canvas->mask || (how != INPAINT_NOISE && how != INPAINT_NOTHING))
        return;
    for (size_t i = 0; i < shape->images; i++) {
        draws_again(shape->draws[i], self->nchw);
        turn(self, self->drawn);
        for (size_t place = 0; place < self->places; place++)
            if (self->canvas->held[place] == 1)
                for (size_t k = place * shape->c; k < (place + 1) * shape->c; k++)
                    known[i * self->image + k] =
                        how == INPAINT_NOISE ? self->drawn[k] : 0;
    }
}

/* mask, then the masked picture's latents */
static bool add_inpainting(struct work *self, struct start *start, struct error *error)
{
    const struct start_shape *shape = self->shape;
    float *masked = calloc(shape->images * self->image, sizeof *masked);
    if (!masked)
        return no_memory(error);
    bool ok = sample(self, self->canvas->masked, masked, error);
    size_t places = ok && shape->extra ? shape->images * self->places : 0;
    for (size_t p = 0; p < places; p++) {
        float *into = start->extra + p * shape->extra;
        into[0] = self->canvas->mask[p % self->places];
        memcpy(into + 1, masked + p * shape->c, shape->c * sizeof *into);
    }
    free(masked);
    return ok;
}

/* The mean of the posterior, as it is: neither scaled nor drawn. */
static bool add_edited(struct work *self, struct start *start, struct error *error)
{
    const struct start_shape *shape = self->shape;
    if (!encode(self, self->canvas->picture, error))
        return false;
    for (size_t i = 0; i < shape->images; i++)
        start_posterior(start->extra + i * self->image, self->moments, NULL,
                        self->places, shape->c);
    return true;
}

static bool allocate(struct work *work, struct start *self, struct error *error)
{
    const struct start_shape *shape = work->shape;
    size_t values = shape->images * work->image;
    work->moments = calloc(2 * work->image, sizeof *work->moments);
    work->drawn = calloc(work->image, sizeof *work->drawn);
    work->nchw = calloc(work->image, sizeof *work->nchw);
    self->latents = calloc(values, sizeof *self->latents);
    self->known = calloc(values, sizeof *self->known);
    self->noise = calloc(values, sizeof *self->noise);
    self->extra =
        calloc(shape->images * work->places * shape->extra + 1, sizeof *self->extra);
    return (work->moments && work->drawn && work->nchw && self->latents &&
            self->known && self->noise && self->extra) ||
           no_memory(error);
}

/* ComfyUI's ddim: outside the mask other noise than the run begins with. */
static void renew(struct work *self, float *noise)
{
    for (size_t i = 0; i < self->shape->images; i++) {
        draws_next(self->shape->draws[i], self->nchw);
        turn(self, noise + i * self->image);
    }
}

static void mix(struct start *self, const struct sampler_run *run, size_t values)
{
    float image = (float)run->start_image, noise = (float)run->start_scale;
    for (size_t v = 0; v < values; v++)
        self->latents[v] = image * self->known[v] + noise * self->noise[v];
}

bool start_make(struct start *self, const struct start_shape *shape,
                const struct sampler_run *run, const struct image_request *request,
                const struct canvas *canvas, struct plans *plans, struct error *error)
{
    struct work work = {.shape = shape,
                        .run = run,
                        .request = request,
                        .canvas = canvas,
                        .plans = plans,
                        .places = shape->h * shape->w,
                        .image = shape->h * shape->w * shape->c};
    bool masked = canvas && canvas->mask, edits = canvas && request->image;
    bool needs_picture =
        canvas && !edits && (!masked || !shape->extra || run->start_image != 0);
    *self = (struct start){0};
    bool ok = allocate(&work, self, error);
    if (ok && needs_picture) {
        ok = sample(&work, canvas->picture, self->known, error);
        fill(&work, self->known);
    }
    if (ok && shape->given)
        memcpy(self->known, shape->given,
               shape->images * work.image * sizeof *self->known);
    for (size_t i = 0; ok && i < shape->images; i++) {
        ok = draws_step(shape->draws[i], NULL, work.nchw, error);
        turn(&work, self->noise + i * work.image);
    }
    if (ok)
        mix(self, run, shape->images * work.image);
    if (ok && masked && run->renews)
        renew(&work, self->noise);
    if (ok && masked && (shape->extra || run->ways == WAYS_DIFFUSERS))
        ok = add_inpainting(&work, self, error);
    if (ok && edits)
        ok = add_edited(&work, self, error);
    free(work.moments);
    free(work.drawn);
    free(work.nchw);
    if (!ok)
        start_clear(self);
    return ok;
}
