/* Changing the size of a picture of bytes as Pillow does, bit for bit.
 *
 * Image.resize: a separable filter, across first, each pass rounded to bytes, weights in
 * fixed point of 22 bits. The filter is widened when the picture shrinks.
 */
#ifndef FARM_RESIZE_H
#define FARM_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* 8-bit RGB, rows from the top. */
struct pixels {
    size_t width, height;
    uint8_t *rgb; /* height x width x 3 */
};

enum resize_filter { RESIZE_NEAREST, RESIZE_BILINEAR, RESIZE_BICUBIC, RESIZE_LANCZOS };

/* `into` says the size and is given its pixels (heap); equal sizes make a copy. Sides from 1
 * to 65535. */
bool pixels_resize(struct pixels *into, const struct pixels *from,
                   enum resize_filter filter, struct error *error);

/* The part that begins at column x, row y and has the size that `into` says; what lies
 * outside is black. */
bool pixels_crop(struct pixels *into, const struct pixels *from, long x, long y,
                 struct error *error);

/* Image.filter(GaussianBlur(radius)): three box blurs of a fractional radius each way
 * (Gwosdek et al. 2011), in place. */
bool pixels_blur(struct pixels *self, double radius, struct error *error);

/* cv2.GaussianBlur across and then down, each with a kernel of 2 int(2.5 deviation + 0.5) + 1
 * pixels, as A1111 blurs masks: OpenCV's fixed point, bit for bit. In place. */
bool pixels_blur_fixed(struct pixels *self, double deviation, struct error *error);

/* What Image.convert("L") makes of one pixel. */
uint8_t pixels_grey(const uint8_t rgb[3]);

void pixels_clear(struct pixels *self);

#endif
