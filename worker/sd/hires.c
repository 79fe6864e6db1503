#include "worker/sd/hires.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/interpolate.h"
#include "worker/sd/resize.h"
#include "worker/sd/start.h"
#include "worker/sd/tiles.h"

static const struct upscaler {
    const char *name;
    bool is_latent;
    enum interpolation how;    /* of latents */
    enum resize_filter filter; /* of pictures */
} upscalers[] = {
    {"Latent", true, INTERPOLATE_BILINEAR, RESIZE_NEAREST},
    {"Latent (antialiased)", true, INTERPOLATE_BILINEAR_SMOOTH, RESIZE_NEAREST},
    {"Latent (bicubic)", true, INTERPOLATE_BICUBIC, RESIZE_NEAREST},
    {"Latent (bicubic antialiased)", true, INTERPOLATE_BICUBIC_SMOOTH, RESIZE_NEAREST},
    {"Latent (nearest)", true, INTERPOLATE_NEAREST, RESIZE_NEAREST},
    {"Latent (nearest-exact)", true, INTERPOLATE_NEAREST_EXACT, RESIZE_NEAREST},
    {"Lanczos", false, INTERPOLATE_NEAREST, RESIZE_LANCZOS},
    {"Nearest", false, INTERPOLATE_NEAREST, RESIZE_NEAREST},
    {"None", false, INTERPOLATE_NEAREST, RESIZE_LANCZOS},
};
enum { UPSCALERS = sizeof upscalers / sizeof *upscalers };

static const struct upscaler *find(const char *name, struct error *error)
{
    struct buffer known = {0};
    for (size_t i = 0; i < UPSCALERS; i++)
        if (strcmp(upscalers[i].name, name) == 0)
            return &upscalers[i];
    for (size_t i = 0; i < UPSCALERS; i++)
        buffer_printf(&known, NULL, "%s%s", i ? ", " : "", upscalers[i].name);
    error_set_kind(error, ERROR_INPUT, "no hires-upscaler %.60s; there are %s", name,
                   buffer_text(&known));
    buffer_clear(&known);
    return NULL;
}

bool hires_wanted(const struct hires_request *asked)
{
    return asked->scale > 0 || (asked->width && asked->height);
}

/* Of two sides given, the picture is to cover both: A1111's hires resize. */
static void cover(struct hires_size *self, const struct hires_request *asked,
                  size_t width, size_t height)
{
    double ratio = (double)width / (double)height;
    double wanted = (double)asked->width / (double)asked->height;
    self->width = asked->width;
    self->height = asked->height;
    if (ratio < wanted)
        self->height = asked->width * height / width;
    else
        self->width = asked->height * width / height;
}

bool hires_plan(struct hires_size *self, const struct hires_request *asked,
                size_t width, size_t height, size_t factor, struct error *error)
{
    enum { SIDE_MOST = 4096 };
    const struct upscaler *upscaler = find(asked->upscaler, error);
    *self = (struct hires_size){0};
    if (!upscaler)
        return false;
    if (!(asked->scale >= 0 && asked->scale <= SIDE_MOST) || asked->width > SIDE_MOST ||
        asked->height > SIDE_MOST)
        return error_set_kind(error, ERROR_INPUT, "hires: the most is %d pixels a side",
                              SIDE_MOST);
    self->width = (size_t)((double)width * asked->scale);
    self->height = (size_t)((double)height * asked->scale);
    size_t over_w = 0, over_h = 0;
    if (!(asked->scale > 0)) {
        cover(self, asked, width, height);
        over_w = (self->width - asked->width) / factor;
        over_h = (self->height - asked->height) / factor;
    }
    self->w = self->width / factor;
    self->h = self->height / factor;
    if (self->width > SIDE_MOST || self->height > SIDE_MOST || self->w <= over_w ||
        self->h <= over_h)
        return error_set_kind(
            error, ERROR_INPUT,
            "hires: %zux%zu becomes %zux%zu, sides are from %zu to %d", width, height,
            self->width, self->height, factor, SIDE_MOST);
    if (!upscaler->is_latent && (self->width % factor || self->height % factor))
        return error_set_kind(error, ERROR_INPUT,
                              "hires: %zux%zu becomes %zux%zu, which %s cannot encode: "
                              "sides are multiples "
                              "of %zu; a Latent upscaler takes any",
                              width, height, self->width, self->height, asked->upscaler,
                              factor);
    self->top = over_h / 2;
    self->left = over_w / 2;
    self->out_h = self->h - over_h;
    self->out_w = self->w - over_w;
    return true;
}

/* One after the other as A1111's upscalers go about it: by the larger of the two scales, to
 * multiples of 8, and to the size; the last two by Lanczos. */
static bool resize_picture(struct pixels *picture, const struct hires_size *size,
                           const struct upscaler *upscaler, struct error *error)
{
    double scale = fmax((double)size->width / (double)picture->width,
                        (double)size->height / (double)picture->height);
    double wide = (double)picture->width * scale,
           high = (double)picture->height * scale;
    const struct {
        size_t width, height;
        enum resize_filter filter;
        bool is_first;
    } way[] = {
        {(size_t)wide, (size_t)high, upscaler->filter, true},
        {(size_t)wide / 8 * 8, (size_t)high / 8 * 8, RESIZE_LANCZOS, true},
        {size->width, size->height, RESIZE_LANCZOS, false},
    };
    bool by_name = scale > 1 && strcmp(upscaler->name, "None") != 0;
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        struct pixels next = {way[i].width, way[i].height, NULL};
        if ((way[i].is_first && !by_name) ||
            (next.width == picture->width && next.height == picture->height))
            continue;
        if (!pixels_resize(&next, picture, way[i].filter, error)) {
            pixels_clear(&next);
            return false;
        }
        pixels_clear(picture);
        *picture = next;
    }
    return true;
}

/* The picture of latents in bytes, cut off rather than rounded, as A1111 has it. */
static bool decode(struct pixels *into, const float *latents, size_t h, size_t w,
                   struct plans *plans, bool tile, struct error *error)
{
    size_t f = vae_factor(plans->vae), count = h * f * w * f * 3;
    float *values = calloc(count, sizeof *values);
    *into = (struct pixels){w * f, h * f, calloc(count, 1)};
    bool ok = values && into->rgb;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for a picture of %zux%zu", w * f,
                       h * f);
    ok = ok && tiles_values(plans, tile, latents, h, w, values, error);
    for (size_t i = 0; ok && i < count; i++)
        into->rgb[i] = (uint8_t)(255 * fminf(fmaxf((values[i] + 1) / 2, 0), 1));
    free(values);
    return ok;
}

static bool encode(const struct hires_size *self, const struct pixels *picture,
                   size_t c, struct plans *plans, bool tile, struct draws *draws,
                   float *latents, struct error *error)
{
    size_t places = self->h * self->w, count = picture->width * picture->height * 3;
    float *values = calloc(count, sizeof *values);
    float *moments = calloc(2 * places * c, sizeof *moments);
    bool is_drawn = draws && !plans->vae->config.tiny;
    float *drawn = calloc(2 * places * c, sizeof *drawn);
    bool ok = values && moments && drawn;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    for (size_t i = 0; ok && i < count; i++)
        values[i] = (float)picture->rgb[i] / 255 * 2 - 1;
    ok = ok && tiles_moments(plans, tile, values, self->h, self->w, moments, error);
    if (ok && is_drawn) {
        draws_aside(draws, drawn + places * c, places * c);
        nchw_to_nhwc(drawn, drawn + places * c, 1, c, self->h, self->w);
    }
    if (ok) {
        start_posterior(latents, moments, is_drawn ? drawn : NULL, places, c);
        start_scale(latents, places * c, &plans->vae->config, true);
    }
    free(values);
    free(moments);
    free(drawn);
    return ok;
}

bool hires_enlarge(const struct hires_size *self, const char *upscaler,
                   const float *latents, size_t h, size_t w, size_t c,
                   struct plans *plans, bool tile, struct draws *draws, float *into,
                   struct error *error)
{
    const struct upscaler *how = find(upscaler, error);
    float *whole = calloc(self->h * self->w * c, sizeof *whole);
    struct pixels picture = {0};
    bool ok = how && whole;
    if (how && !whole)
        error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    if (ok && how->is_latent)
        ok = interpolate(whole, self->h, self->w, latents, h, w, c, how->how, error);
    else if (ok)
        ok = decode(&picture, latents, h, w, plans, tile, error) &&
             resize_picture(&picture, self, how, error) &&
             encode(self, &picture, c, plans, tile, draws, whole, error);
    for (size_t y = 0; ok && y < self->out_h; y++)
        memcpy(into + y * self->out_w * c,
               whole + ((self->top + y) * self->w + self->left) * c,
               self->out_w * c * sizeof *into);
    pixels_clear(&picture);
    free(whole);
    return ok;
}
