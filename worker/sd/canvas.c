#include "worker/sd/canvas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/overlay.h"

static bool no_memory(struct error *error)
{
    return error_set_kind(error, ERROR_MEMORY, "no memory for a picture");
}

void canvas_clear(struct canvas *self)
{
    free(self->picture);
    free(self->masked);
    free(self->mask);
    free(self->held);
    pixels_clear(&self->under);
    pixels_clear(&self->cover);
    *self = (struct canvas){0};
}

/* The picture, or its region, at the canvas's size. */
static bool size_picture(const struct canvas *self, const struct pixels *from,
                         struct pixels *sized, struct error *error)
{
    *sized = (struct pixels){.width = self->width, .height = self->height};
    return self->is_part ? region_take(sized, from, &self->region, error)
                         : pixels_resize(sized, from, RESIZE_LANCZOS, error);
}

static bool set_picture(struct canvas *self, const struct pixels *sized,
                        struct error *error)
{
    size_t count = self->width * self->height * 3;
    self->picture = calloc(count, sizeof *self->picture);
    for (size_t i = 0; self->picture && i < count; i++)
        self->picture[i] = 2 * ((float)sized->rgb[i] / 255) - 1;
    return self->picture || no_memory(error);
}

static bool add_picture(struct canvas *self, const struct pixels *from,
                        struct error *error)
{
    struct pixels sized;
    bool ok =
        size_picture(self, from, &sized, error) && set_picture(self, &sized, error);
    pixels_clear(&sized);
    return ok;
}

/* The mask in grey, turned where that is asked, and blurred; still of its own size. */
static bool blur_mask(struct pixels *mask, const struct image_request *request,
                      enum sampler_ways ways, struct error *error)
{
    *mask =
        (struct pixels){.width = request->mask->width, .height = request->mask->height};
    if (!pixels_crop(mask, request->mask, 0, 0, error))
        return false;
    for (size_t i = 0; i < mask->width * mask->height; i++) {
        uint8_t grey = pixels_grey(mask->rgb + i * 3);
        memset(mask->rgb + i * 3, request->mask_invert ? 255 - grey : grey, 3);
    }
    return ways == WAYS_A1111 ? pixels_blur_fixed(mask, request->mask_blur, error)
                              : pixels_blur(mask, request->mask_blur, error);
}

/* What is laid over the result in the end: the whole picture, where a region was worked on;
 * else, by A1111, the picture at the canvas's size, its mask made twice as bright. */
static bool add_cover(struct canvas *self, const struct image_request *request,
                      const struct pixels *mask, const struct pixels *sized,
                      struct error *error)
{
    const struct pixels *init = request->init;
    self->under.width = self->cover.width = self->is_part ? init->width : self->width;
    self->under.height = self->cover.height =
        self->is_part ? init->height : self->height;
    self->lays_over = true;
    bool ok = pixels_resize(&self->under, init, RESIZE_LANCZOS, error) &&
              pixels_crop(&self->cover, self->is_part ? mask : sized, 0, 0, error);
    size_t count = ok && !self->is_part ? self->width * self->height * 3 : 0;
    for (size_t i = 0; i < count; i++)
        self->cover.rgb[i] =
            self->cover.rgb[i] < 128 ? (uint8_t)(2 * self->cover.rgb[i]) : 255;
    return ok;
}

/* The mask between pixels, as PyTorch's bilinear filter has it, which does not smooth. */
static float between(const struct canvas *self, const struct pixels *sized, size_t x,
                     size_t y)
{
    size_t f = self->factor, near = (f - 1) / 2, more = f % 2 ? 0 : 1;
    const uint8_t *from =
        sized->rgb + ((y * f + near) * sized->width + x * f + near) * 3;
    const uint8_t *below = from + more * sized->width * 3;
    return (float)(from[0] + from[more * 3] + below[0] + below[more * 3]) / (4 * 255);
}

/* Where latents are repainted: by A1111 the mask shrunk by Pillow's bicubic filter, by
 * ComfyUI by PyTorch's bilinear one, with all between; the model is told its halves. */
static bool hold(struct canvas *self, enum sampler_ways ways,
                 const struct pixels *sized, struct error *error)
{
    size_t h = self->height / self->factor, w = self->width / self->factor;
    struct pixels small = {.width = w, .height = h};
    if (ways == WAYS_DIFFUSERS) {
        memcpy(self->held, self->mask, h * w * sizeof *self->held);
        return true;
    }
    for (size_t i = 0; ways == WAYS_COMFY && i < h * w; i++) {
        self->held[i] = between(self, sized, i % w, i / w);
        self->mask[i] = self->held[i] > 0.5F;
    }
    if (ways == WAYS_COMFY)
        return true;
    bool ok = pixels_resize(&small, sized, RESIZE_BICUBIC, error);
    for (size_t i = 0; ok && i < h * w; i++)
        self->held[i] = small.rgb[i * 3] >= 128;
    pixels_clear(&small);
    return ok;
}

/* Of the mask at the canvas's size, beside the picture that is there already. */
static bool add_masked(struct canvas *self, const struct pixels *sized,
                       struct error *error)
{
    size_t count = self->width * self->height, f = self->factor;
    size_t h = self->height / f, w = self->width / f;
    self->masked = malloc(count * 3 * sizeof *self->masked);
    self->mask = malloc(h * w * sizeof *self->mask);
    self->held = malloc(h * w * sizeof *self->held);
    if (!self->masked || !self->mask || !self->held)
        return no_memory(error);
    for (size_t i = 0; i < count; i++) {
        bool kept = sized->rgb[i * 3] < 128;
        for (size_t c = 0; c < 3; c++)
            self->masked[i * 3 + c] = kept ? self->picture[i * 3 + c] : 0;
    }
    for (size_t i = 0; i < h * w; i++) {
        size_t pixel = i / w * f * self->width + i % w * f;
        self->mask[i] = sized->rgb[pixel * 3] >= 128;
    }
    return true;
}

/* A picture of which a part is repainted. */
static bool add_both(struct canvas *self, const struct image_request *request,
                     enum sampler_ways ways, struct error *error)
{
    struct pixels mask = {0}, sized = {0}, picture = {0};
    bool webui = ways == WAYS_A1111;
    bool fills = webui ? request->inpaint_fill != INPAINT_ORIGINAL
                       : request->inpaint_fill == INPAINT_FILL;
    bool ok = blur_mask(&mask, request, ways, error);
    if (ok && request->full_res) {
        ok = region_find(&self->region, &mask, request->full_res_padding, self->width,
                         self->height, error);
        self->is_part = true;
    }
    ok =
        ok && size_picture(self, &mask, &sized, error) &&
        size_picture(self, request->init, &picture, error) &&
        (!(webui || self->is_part) || add_cover(self, request, &mask, &sized, error)) &&
        (!fills || overlay_fill(&picture, &sized, error)) &&
        set_picture(self, &picture, error) && add_masked(self, &sized, error) &&
        hold(self, ways, &sized, error);
    pixels_clear(&mask);
    pixels_clear(&sized);
    pixels_clear(&picture);
    return ok;
}

bool canvas_make(struct canvas *self, const struct image_request *request,
                 enum sampler_ways ways, size_t width, size_t height, size_t factor,
                 struct error *error)
{
    const struct pixels *init = request->init, *mask = request->mask;
    *self = (struct canvas){.width = width, .height = height, .factor = factor};
    if (mask && !init)
        return error_set_kind(error, ERROR_INPUT,
                              "mask: there is no picture to repaint; give one as init");
    if (mask && (mask->width != init->width || mask->height != init->height))
        return error_set_kind(error, ERROR_INPUT,
                              "mask: it has %zux%zu pixels, the picture %zux%zu",
                              mask->width, mask->height, init->width, init->height);
    bool ok = true;
    if (mask)
        ok = add_both(self, request, ways, error);
    else if (init)
        ok = add_picture(self, init, error);
    ok = ok && (!request->image || add_picture(self, request->image, error));
    if (!ok)
        canvas_clear(self);
    return ok;
}

bool canvas_lay_over(const struct canvas *self, struct pixels *made,
                     struct error *error)
{
    struct pixels whole = {.width = self->under.width, .height = self->under.height};
    if (self->is_part) {
        const struct region *region = &self->region;
        struct pixels part = {.width = region->width, .height = region->height};
        bool ok = region_fit(&part, made, error) &&
                  pixels_crop(&whole, &part, -(long)region->x, -(long)region->y, error);
        pixels_clear(&part);
        if (!ok)
            return false;
        pixels_clear(made);
        *made = whole;
    }
    overlay_put(made, &self->under, &self->cover);
    return true;
}
