#include "worker/sd/canvas.h"

#include <stdlib.h>
#include <string.h>

static bool no_memory(struct error *error)
{
    return error_set_kind(error, ERROR_MEMORY, "no memory for a picture");
}

void canvas_clear(struct canvas *self)
{
    free(self->picture);
    free(self->masked);
    free(self->mask);
    *self = (struct canvas){0};
}

static bool add_picture(struct canvas *self, const struct pixels *from,
                        struct error *error)
{
    struct pixels sized = {.width = self->width, .height = self->height};
    size_t count = self->width * self->height * 3;
    if (!pixels_resize(&sized, from, RESIZE_LANCZOS, error))
        return false;
    float *picture = calloc(count, sizeof *picture);
    for (size_t i = 0; picture && i < count; i++)
        picture[i] = 2 * ((float)sized.rgb[i] / 255) - 1;
    pixels_clear(&sized);
    self->picture = picture;
    return picture || no_memory(error);
}

/* The mask, blurred and at the canvas's size. */
static bool prepare_mask(const struct canvas *self, const struct image_request *request,
                         struct pixels *sized, struct error *error)
{
    struct pixels blurred = {.width = request->mask->width,
                             .height = request->mask->height};
    *sized = (struct pixels){.width = self->width, .height = self->height};
    bool ok = pixels_crop(&blurred, request->mask, 0, 0, error) &&
              pixels_blur(&blurred, request->mask_blur, error) &&
              pixels_resize(sized, &blurred, RESIZE_LANCZOS, error);
    pixels_clear(&blurred);
    return ok;
}

static bool add_mask(struct canvas *self, const struct image_request *request,
                     struct error *error)
{
    struct pixels sized;
    size_t count = self->width * self->height, f = self->factor;
    size_t h = self->height / f, w = self->width / f;
    float *masked = malloc(count * 3 * sizeof *masked);
    float *mask = malloc(h * w * sizeof *mask);
    self->masked = masked;
    self->mask = mask;
    if (!masked || !mask)
        return no_memory(error);
    if (!prepare_mask(self, request, &sized, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        bool kept = pixels_grey(sized.rgb + i * 3) < 128;
        for (size_t c = 0; c < 3; c++)
            masked[i * 3 + c] = kept ? self->picture[i * 3 + c] : 0;
    }
    for (size_t i = 0; i < h * w; i++) {
        size_t pixel = i / w * f * self->width + i % w * f;
        mask[i] = pixels_grey(sized.rgb + pixel * 3) >= 128;
    }
    pixels_clear(&sized);
    return true;
}

bool canvas_make(struct canvas *self, const struct image_request *request, size_t width,
                 size_t height, size_t factor, struct error *error)
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
    bool ok = (!init || add_picture(self, init, error)) &&
              (!mask || (self->picture && add_mask(self, request, error))) &&
              (!request->image || add_picture(self, request->image, error));
    if (!ok)
        canvas_clear(self);
    return ok;
}
