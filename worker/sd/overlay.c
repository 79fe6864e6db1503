/* Pillow's formulas: products of bytes by 255 are rounded, un-premultiplying cuts off, and
 * alpha_composite works with seven bits more.
 */
#include "worker/sd/overlay.h"

#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 3, MORE_BITS = 7 };

/* a / 255 where a has half of it added already */
static uint32_t shift_255(uint32_t a)
{
    return ((a >> 8) + a) >> 8;
}

static uint8_t multiply(uint8_t a, uint8_t b)
{
    return (uint8_t)shift_255((uint32_t)a * b + 128);
}

static uint8_t unmultiply(uint8_t value, uint8_t alpha)
{
    if (alpha == 0 || alpha == 255)
        return value;
    int whole = 255 * value / alpha;
    return (uint8_t)(whole > 255 ? 255 : whole);
}

/* Image.alpha_composite of one pixel over another; *under_alpha becomes the result's. */
static void composite(uint8_t under[CHANNELS], uint8_t *under_alpha,
                      const uint8_t over[CHANNELS], uint8_t alpha)
{
    if (!alpha)
        return;
    uint32_t rest = (uint32_t)*under_alpha * (255U - alpha);
    uint32_t whole = alpha * 255U + rest;
    uint32_t a = alpha * 255U * 255U * (1U << MORE_BITS) / whole;
    uint32_t b = 255U * (1U << MORE_BITS) - a;
    for (size_t c = 0; c < CHANNELS; c++) {
        uint32_t sum = over[c] * a + under[c] * b;
        under[c] = (uint8_t)(shift_255(sum + (0x80U << MORE_BITS)) >> MORE_BITS);
    }
    *under_alpha = (uint8_t)shift_255(whole + 0x80);
}

void overlay_put(struct pixels *picture, const struct pixels *over,
                 const struct pixels *mask)
{
    for (size_t i = 0; i < picture->width * picture->height; i++) {
        uint8_t alpha = (uint8_t)(255 - pixels_grey(mask->rgb + i * CHANNELS));
        uint8_t colour[CHANNELS], solid = 255;
        for (size_t c = 0; c < CHANNELS; c++)
            colour[c] = unmultiply(multiply(over->rgb[i * CHANNELS + c], alpha), alpha);
        composite(picture->rgb + i * CHANNELS, &solid, colour, alpha);
    }
}

/* Premultiplied colours, and alphas in all three channels of a second picture, so that the
 * blur of pictures does for them too. */
static bool masked(const struct pixels *picture, const struct pixels *mask,
                   struct pixels *colours, struct pixels *alphas, struct error *error)
{
    *colours = *alphas = (struct pixels){picture->width, picture->height, NULL};
    if (!pixels_crop(colours, picture, 0, 0, error) ||
        !pixels_crop(alphas, picture, 0, 0, error))
        return false;
    for (size_t i = 0; i < picture->width * picture->height; i++) {
        uint8_t alpha = (uint8_t)(255 - pixels_grey(mask->rgb + i * CHANNELS));
        for (size_t c = i * CHANNELS; c < (i + 1) * CHANNELS; c++) {
            colours->rgb[c] = multiply(colours->rgb[c], alpha);
            alphas->rgb[c] = alpha;
        }
    }
    return true;
}

bool overlay_fill(struct pixels *picture, const struct pixels *mask,
                  struct error *error)
{
    static const struct {
        double radius;
        size_t times;
    } blurs[] = {{256, 1}, {64, 1}, {16, 2}, {4, 4}, {2, 2}, {0, 1}};
    size_t places = picture->width * picture->height;
    struct pixels made = {picture->width, picture->height, calloc(places, CHANNELS)};
    uint8_t *alpha = calloc(places, 1);
    bool ok = made.rgb && alpha;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for a picture");
    for (size_t b = 0; ok && b < sizeof blurs / sizeof *blurs; b++) {
        struct pixels colours = {0}, alphas = {0};
        ok = masked(picture, mask, &colours, &alphas, error) &&
             pixels_blur(&colours, blurs[b].radius, error) &&
             pixels_blur(&alphas, blurs[b].radius, error);
        for (size_t i = 0; ok && i < places; i++) {
            uint8_t *over = colours.rgb + i * CHANNELS,
                    share = alphas.rgb[i * CHANNELS];
            for (size_t c = 0; c < CHANNELS; c++)
                over[c] = unmultiply(over[c], share);
            for (size_t k = 0; k < blurs[b].times; k++)
                composite(made.rgb + i * CHANNELS, &alpha[i], over, share);
        }
        pixels_clear(&colours);
        pixels_clear(&alphas);
    }
    if (ok)
        memcpy(picture->rgb, made.rgb, places * CHANNELS);
    pixels_clear(&made);
    free(alpha);
    return ok;
}
