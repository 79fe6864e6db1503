/* One walk serves both directions: tiles are cut from a grid of `in_c` channels and put into
 * one of `out_c`, whose cells are `num / den` times as many each way. Tiles are blended in
 * place, left to right and top to bottom, so that a row of them is all that is kept.
 */
#include "worker/sd/tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct part {
    size_t h, w;
    float *values; /* [h, w, channels] */
};

struct walk {
    struct plans *plans;
    const float *from;
    float *into;
    size_t h, w, channels;      /* of `from`, in its cells */
    size_t out_h, out_w, out_c; /* of `into` */
    size_t tile, step;          /* in cells of `from` */
    size_t blend, kept;         /* in cells of `into` */
    enum vae_way way;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* b's first rows fade in from a's last ones. */
static void blend_down(struct part *b, const struct part *a, size_t rows, size_t c)
{
    rows = least(rows, least(a->h, b->h));
    size_t line = least(a->w, b->w) * c;
    for (size_t y = 0; y < rows; y++) {
        const float *above = a->values + (a->h - rows + y) * a->w * c;
        float *own = b->values + y * b->w * c;
        float share = (float)y / (float)rows;
        for (size_t i = 0; i < line; i++)
            own[i] = above[i] * (1 - share) + own[i] * share;
    }
}

static void blend_across(struct part *b, const struct part *a, size_t columns, size_t c)
{
    columns = least(columns, least(a->w, b->w));
    for (size_t y = 0; y < least(a->h, b->h); y++)
        for (size_t x = 0; x < columns; x++) {
            const float *left = a->values + (y * a->w + a->w - columns + x) * c;
            float *own = b->values + (y * b->w + x) * c;
            float share = (float)x / (float)columns;
            for (size_t i = 0; i < c; i++)
                own[i] = left[i] * (1 - share) + own[i] * share;
        }
}

static bool make_part(struct part *self, size_t h, size_t w, size_t c,
                      struct error *error)
{
    *self = (struct part){h, w, calloc(h * w * c, sizeof *self->values)};
    return self->values ||
           error_set_kind(error, ERROR_MEMORY, "no memory for a tile of %zux%zu", w, h);
}

static bool run_whole(struct walk *self, const struct part *in, struct part *out,
                      struct error *error)
{
    size_t f = vae_factor(self->plans->vae);
    bool decodes = self->way == VAE_DECODES;
    size_t h = decodes ? in->h : in->h / f, w = decodes ? in->w : in->w / f;
    struct vae_pass *pass = plans_vae(self->plans, self->way, h, w, error);
    return pass &&
           make_part(out, decodes ? h * f : h, decodes ? w * f : w, self->out_c,
                     error) &&
           vae_pass_run(pass, in->values, out->values, error);
}

/* Runs the tile that begins at row y, column x of `from`. */
static bool run_tile(struct walk *self, size_t y, size_t x, struct part *out,
                     struct error *error)
{
    struct part in;
    size_t h = least(self->tile, self->h - y), w = least(self->tile, self->w - x);
    if (!make_part(&in, h, w, self->channels, error))
        return false;
    for (size_t row = 0; row < h; row++)
        memcpy(in.values + row * w * self->channels,
               self->from + ((y + row) * self->w + x) * self->channels,
               w * self->channels * sizeof *in.values);
    bool ok = run_whole(self, &in, out, error);
    free(in.values);
    return ok;
}

/* The part of a blended tile that stays, in its place. */
static void put(struct walk *self, const struct part *tile, size_t row, size_t column)
{
    size_t y = row * self->kept, x = column * self->kept, c = self->out_c;
    if (y >= self->out_h || x >= self->out_w)
        return;
    size_t h = least(least(self->kept, tile->h), self->out_h - y);
    size_t w = least(least(self->kept, tile->w), self->out_w - x);
    for (size_t line = 0; line < h; line++)
        memcpy(self->into + ((y + line) * self->out_w + x) * c,
               tile->values + line * tile->w * c, w * c * sizeof *self->into);
}

static bool walk_run(struct walk *self, struct error *error)
{
    size_t columns = (self->w + self->step - 1) / self->step, row = 0;
    struct part *above = calloc(columns, sizeof *above);
    struct part *own = calloc(columns, sizeof *own);
    bool ok = above && own;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for tiles");
    for (size_t y = 0; ok && y < self->h; y += self->step, row++) {
        for (size_t i = 0; ok && i < columns; i++) {
            ok = run_tile(self, y, i * self->step, &own[i], error);
            if (ok && row)
                blend_down(&own[i], &above[i], self->blend, self->out_c);
            if (ok && i)
                blend_across(&own[i], &own[i - 1], self->blend, self->out_c);
            if (ok)
                put(self, &own[i], row, i);
        }
        for (size_t i = 0; i < columns; i++)
            free(above[i].values);
        memcpy(above, own, columns * sizeof *above);
        memset(own, 0, columns * sizeof *own);
    }
    for (size_t i = 0; above && i < columns; i++)
        free(above[i].values);
    for (size_t i = 0; own && i < columns; i++)
        free(own[i].values);
    free(above);
    free(own);
    return ok;
}

bool tiles_decode(struct plans *plans, size_t tile, const float *latents, size_t h,
                  size_t w, float *pixels, struct error *error)
{
    size_t f = vae_factor(plans->vae), side = tile * f, blend = side / 4;
    struct walk walk = {.plans = plans,
                        .from = latents,
                        .into = pixels,
                        .h = h,
                        .w = w,
                        .channels = plans->vae->config.latent_channels,
                        .out_h = h * f,
                        .out_w = w * f,
                        .out_c = VAE_PICTURE_CHANNELS,
                        .tile = tile,
                        .step = tile * 3 / 4,
                        .blend = blend,
                        .kept = side - blend,
                        .way = VAE_DECODES};
    return walk_run(&walk, error);
}

bool tiles_encode(struct plans *plans, size_t tile, const float *picture, size_t h,
                  size_t w, float *moments, struct error *error)
{
    size_t f = vae_factor(plans->vae), side = tile * f, blend = tile / 4;
    struct walk walk = {.plans = plans,
                        .from = picture,
                        .into = moments,
                        .h = h * f,
                        .w = w * f,
                        .channels = VAE_PICTURE_CHANNELS,
                        .out_h = h,
                        .out_w = w,
                        .out_c = 2 * plans->vae->config.latent_channels,
                        .tile = side,
                        .step = side * 3 / 4,
                        .blend = blend,
                        .kept = tile - blend,
                        .way = VAE_ENCODES};
    return walk_run(&walk, error);
}

size_t tiles_side(const struct vae *vae)
{
    enum { USUAL = 512, LEAST = 4 };
    size_t pixels = vae->config.sample ? vae->config.sample : USUAL;
    size_t side = pixels / vae_factor(vae);
    return side < LEAST ? LEAST : side;
}

/* Whether what failed may do in tiles. */
static bool may_tile(const struct plans *plans, size_t h, size_t w,
                     const struct error *why)
{
    size_t side = tiles_side(plans->vae);
    return why->kind == ERROR_MEMORY && (h > side || w > side);
}

/* Whole or in tiles, as tiles.h says. */
static bool pass(struct plans *plans, enum vae_way way, bool tiled, const float *from,
                 size_t h, size_t w, float *to, struct error *error)
{
    struct error first = {0};
    size_t side = tiles_side(plans->vae);
    if (!tiled || (h <= side && w <= side)) {
        struct vae_pass *whole = plans_vae(plans, way, h, w, &first);
        if (whole && vae_pass_run(whole, from, to, &first))
            return true;
        if (!may_tile(plans, h, w, &first)) {
            if (error)
                *error = first;
            return false;
        }
        plans_drop(plans);
    }
    return way == VAE_DECODES ? tiles_decode(plans, side, from, h, w, to, error)
                              : tiles_encode(plans, side, from, h, w, to, error);
}

/* Half to even, from -1 .. 1. */
static void round_to_bytes(uint8_t *rgb, const float *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float unit = fminf(fmaxf(pixels[i] * 0.5F + 0.5F, 0), 1);
        rgb[i] = (uint8_t)rintf(unit * 255);
    }
}

bool tiles_values(struct plans *plans, bool tiled, const float *latents, size_t h,
                  size_t w, float *pixels, struct error *error)
{
    return pass(plans, VAE_DECODES, tiled, latents, h, w, pixels, error);
}

bool tiles_picture(struct plans *plans, bool tiled, const float *latents, size_t h,
                   size_t w, uint8_t *rgb, struct error *error)
{
    size_t f = vae_factor(plans->vae), count = h * f * w * f * VAE_PICTURE_CHANNELS;
    float *pixels = calloc(count, sizeof *pixels);
    if (!pixels)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a picture of %zux%zu",
                              w * f, h * f);
    bool ok = tiles_values(plans, tiled, latents, h, w, pixels, error);
    if (ok)
        round_to_bytes(rgb, pixels, count);
    free(pixels);
    return ok;
}

bool tiles_moments(struct plans *plans, bool tiled, const float *picture, size_t h,
                   size_t w, float *moments, struct error *error)
{
    return pass(plans, VAE_ENCODES, tiled, picture, h, w, moments, error);
}
