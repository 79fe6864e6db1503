/* Pictures: 8-bit RGB pixels <-> PNG files with text; JPEG files are read, too.
 *
 * Equal pixels and equal text give equal files: fixed filter, compression level and chunk
 * order, no time stamps.
 */
#ifndef FARM_PICTURE_H
#define FARM_PICTURE_H

#include "base/buffer.h"
#include "base/error.h"

struct picture {
    size_t width, height;
    uint8_t *rgb; /* height x width x 3, heap */
};

struct picture_text {
    const char *keyword; /* "parameters" */
    const char *text;    /* UTF-8: tEXt when it is Latin-1, else iTXt */
};

void picture_clear(struct picture *self);

/* Appends a PNG file with the texts (count may be 0) before its pixels. */
bool picture_write_png(const struct picture *self, const struct picture_text *texts,
                       size_t count, struct buffer *into, struct error *error);

/* Any PNG or JPEG of at most 64 Mpixel, as 8-bit RGB: alpha over white, CMYK as Pillow
 * converts it, turned as its EXIF orientation says. ERROR_INPUT names what is wrong. */
bool picture_read(const void *data, size_t size, struct picture *into,
                  struct error *error);

/* The same for PNG files alone. */
bool picture_read_png(const void *data, size_t size, struct picture *into,
                      struct error *error);

/* The text under `keyword` of a PNG file (tEXt, zTXt, iTXt) as UTF-8, appended to `into`.
 * ERROR_NOT_FOUND when there is none. */
bool picture_read_text(const void *data, size_t size, const char *keyword,
                       struct buffer *into, struct error *error);

/* A finished PNG file with a text more, appended to `into`, nothing else changed; and the
 * same without it (the text itself is appended to `text`): what was put and cut again is
 * the same file. Text of Latin-1. ERROR_INPUT for what is no PNG. */
bool picture_put_text(const void *png, size_t size, const char *keyword,
                      const char *text, struct buffer *into, struct error *error);
bool picture_cut_text(const void *png, size_t size, const char *keyword,
                      struct buffer *into, struct buffer *text, struct error *error);

#endif
