#include "worker/sd/region.h"

#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 3 };

static bool any_white(const struct pixels *mask, size_t from, size_t step, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (mask->rgb[(from + i * step) * CHANNELS])
            return true;
    return false;
}

/* One side of the region, [*from, *to) of `size`, made `wanted` long about its middle. */
static void widen(long *from, long *to, double wanted, long size)
{
    long more = (long)(wanted - (double)(*to - *from));
    *from -= more / 2;
    *to += more - more / 2;
    if (*to >= size) {
        *from -= *to - size;
        *to = size;
    }
    if (*from < 0) {
        *to -= *from;
        *from = 0;
    }
    if (*to >= size)
        *to = size;
}

bool region_find(struct region *self, const struct pixels *mask, size_t padding,
                 size_t width, size_t height, struct error *error)
{
    size_t w = mask->width, h = mask->height, left = 0, top = 0, right = 0, bottom = 0;
    while (left < w && !any_white(mask, left, w, h))
        left++;
    if (left == w)
        return error_set_kind(error, ERROR_INPUT,
                              "mask: there is nothing white in it to repaint");
    while (!any_white(mask, w - 1 - right, w, h))
        right++;
    while (!any_white(mask, top * w, 1, w))
        top++;
    while (!any_white(mask, (h - 1 - bottom) * w, 1, w))
        bottom++;
    long x1 = left > padding ? (long)(left - padding) : 0;
    long y1 = top > padding ? (long)(top - padding) : 0;
    long x2 = (long)(right > padding ? w - right + padding : w);
    long y2 = (long)(bottom > padding ? h - bottom + padding : h);
    double ratio = (double)width / (double)height;
    double wide = (double)(x2 - x1), high = (double)(y2 - y1);
    if (wide / high > ratio)
        widen(&y1, &y2, wide / ratio, (long)h);
    else
        widen(&x1, &x2, high * ratio, (long)w);
    *self =
        (struct region){(size_t)x1, (size_t)y1, (size_t)(x2 - x1), (size_t)(y2 - y1)};
    return true;
}

static bool make(struct pixels *self, struct error *error)
{
    self->rgb = calloc(self->width * self->height, CHANNELS);
    return self->rgb ||
           error_set_kind(error, ERROR_MEMORY, "no memory for a picture of %zux%zu",
                          self->width, self->height);
}

/* What Pillow's bicubic filter makes of a strip without height: the picture's edge, a little
 * sharper. */
static uint8_t drawn_out(uint8_t edge, uint8_t next)
{
    int value = (9 * edge - next + 4) >> 3;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Lines `at` .. `at + count` of `into` from line `edge` and the one next to it; a line is
 * `length` pixels, `step` apart, lines are `line` apart. */
static void draw_out(struct pixels *into, size_t at, size_t count, size_t edge,
                     size_t next, size_t line, size_t step, size_t length)
{
    for (size_t k = at; k < at + count; k++)
        for (size_t i = 0; i < length; i++)
            for (size_t c = 0; c < CHANNELS; c++) {
                const uint8_t *a = into->rgb + (edge * line + i * step) * CHANNELS + c;
                const uint8_t *b = into->rgb + (next * line + i * step) * CHANNELS + c;
                into->rgb[(k * line + i * step) * CHANNELS + c] = drawn_out(*a, *b);
            }
}

/* Both edges of `size` lines of which `count` from `at` on are there. */
static void draw_edges(struct pixels *into, size_t at, size_t count, size_t size,
                       size_t line, size_t step, size_t length)
{
    size_t last = at + count - 1, inner = count > 1;
    size_t behind = size - (at + count) < at ? size - (at + count) : at;
    draw_out(into, 0, at, at, at + inner, line, step, length);
    draw_out(into, last + 1, behind, last, last - inner, line, step, length);
}

bool region_take(struct pixels *into, const struct pixels *from,
                 const struct region *region, struct error *error)
{
    struct pixels part = {region->width, region->height, NULL}, sized = {0};
    size_t width = into->width, height = into->height;
    double ratio = (double)width / (double)height;
    double own = (double)part.width / (double)part.height;
    sized.width = ratio < own ? width : part.width * height / part.height;
    sized.height = ratio >= own ? height : part.height * width / part.width;
    bool ok = pixels_crop(&part, from, (long)region->x, (long)region->y, error) &&
              pixels_resize(&sized, &part, RESIZE_LANCZOS, error) && make(into, error);
    size_t x = width / 2 - sized.width / 2, y = height / 2 - sized.height / 2;
    for (size_t row = 0; ok && row < sized.height; row++)
        memcpy(into->rgb + ((y + row) * width + x) * CHANNELS,
               sized.rgb + row * sized.width * CHANNELS, sized.width * CHANNELS);
    if (ok && ratio < own)
        draw_edges(into, y, sized.height, height, width, 1, width);
    else if (ok && ratio > own)
        draw_edges(into, x, sized.width, width, 1, width, height);
    pixels_clear(&part);
    pixels_clear(&sized);
    return ok;
}

bool region_fit(struct pixels *into, const struct pixels *from, struct error *error)
{
    double ratio = (double)into->width / (double)into->height;
    double own = (double)from->width / (double)from->height;
    struct pixels sized = {
        ratio > own ? into->width : from->width * into->height / from->height,
        ratio <= own ? into->height : from->height * into->width / from->width, NULL};
    long x = (long)(into->width / 2) - (long)(sized.width / 2);
    long y = (long)(into->height / 2) - (long)(sized.height / 2);
    bool ok = pixels_resize(&sized, from, RESIZE_LANCZOS, error) &&
              pixels_crop(into, &sized, -x, -y, error);
    pixels_clear(&sized);
    return ok;
}
