/* libpng leaves a failing call by longjmp. So that no local variable can be lost by it,
 * everything a reading or writing holds stands in one struct outside the function that
 * calls setjmp, and that function has no variables of its own that change.
 *
 * libpng and zlib decide the compressed bytes: equal files need the same versions of both.
 * Equal pixels are told by their own hash.
 */
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "proto/files/picture_private.h"
#include "proto/files/picture_turn.h"

enum {
    PIXELS_MOST = 64 << 20,
    SIDE_MOST = 65535,
    CHUNK_MOST = 8 << 20, /* bytes of a chunk besides pixels, decompressed */
    CHUNKS_MOST = 100,
};

struct png_work {
    png_structp png;
    png_infop info;
    struct error *error;
    /* writing */
    struct buffer *into;
    png_textp texts;
    /* reading */
    const uint8_t *data;
    size_t size, at;
    size_t width, height, passes;
    uint8_t *rgba; /* height x width x 4, or one row when only text is wanted */
};

void picture_clear(struct picture *self)
{
    free(self->rgb);
    *self = (struct picture){0};
}

static void on_error(png_structp png, png_const_charp text)
{
    struct png_work *work = png_get_error_ptr(png);
    error_set_kind(work->error, ERROR_INPUT, "PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

/* Writing */

static void write_bytes(png_structp png, png_bytep data, size_t size)
{
    struct png_work *work = png_get_io_ptr(png);
    if (!buffer_append(work->into, data, size, work->error))
        png_longjmp(png, 1);
}

static void write_flush(png_structp png)
{
    (void)png;
}

/* UTF-8 as Latin-1; NULL when it holds other characters. Heap. */
static char *as_latin1(const char *text)
{
    char *latin1 = malloc(strlen(text) + 1), *into = latin1;
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    while (latin1 && *at) {
        utf8proc_int32_t point;
        utf8proc_ssize_t used = utf8proc_iterate(at, -1, &point);
        if (used <= 0 || point > 0xff) {
            free(latin1);
            return NULL;
        }
        *into++ = (char)point;
        at += used;
    }
    if (latin1)
        *into = 0;
    return latin1;
}

/* Fills work->texts; keys and texts of the array are heap copies. */
static bool prepare_texts(struct png_work *work, const struct picture_text *texts,
                          size_t count, struct error *error)
{
    work->texts = calloc(count + 1, sizeof *work->texts);
    bool ok = work->texts != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        char *latin1 = as_latin1(texts[i].text);
        work->texts[i] = (png_text){
            .key = strdup(texts[i].keyword),
            .text = latin1 ? latin1 : strdup(texts[i].text),
            .compression =
                latin1 ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
        };
        ok = work->texts[i].key && work->texts[i].text;
    }
    return ok || error_set_kind(error, ERROR_MEMORY, "PNG: out of memory");
}

static bool write_png(struct png_work *work, const struct picture *self, size_t texts)
{
    if (setjmp(png_jmpbuf(work->png)))
        return false;
    png_set_write_fn(work->png, work, write_bytes, write_flush);
    png_set_user_limits(work->png, SIDE_MOST, SIDE_MOST);
    png_set_IHDR(work->png, work->info, (png_uint_32)self->width,
                 (png_uint_32)self->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(work->png, 6);
    png_set_filter(work->png, PNG_FILTER_TYPE_BASE, PNG_FILTER_PAETH);
    png_set_text(work->png, work->info, work->texts, (int)texts);
    png_write_info(work->png, work->info);
    for (size_t y = 0; y < self->height; y++)
        png_write_row(work->png, self->rgb + y * self->width * 3);
    png_write_end(work->png, NULL);
    return true;
}

bool picture_check_size(const char *format, size_t width, size_t height,
                        struct error *error)
{
    if (width < 1 || height < 1 || width > SIDE_MOST || height > SIDE_MOST ||
        width * height > PIXELS_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: %zux%zu pixels, at most 64 Mpixel are taken", format,
                              width, height);
    return true;
}

bool picture_write_png(const struct picture *self, const struct picture_text *texts,
                       size_t count, struct buffer *into, struct error *error)
{
    struct png_work work = {.into = into, .error = error};
    bool ok = picture_check_size("PNG", self->width, self->height, error) &&
              prepare_texts(&work, texts, count, error);
    if (ok) {
        work.png =
            png_create_write_struct(PNG_LIBPNG_VER_STRING, &work, on_error, on_warning);
        work.info = work.png ? png_create_info_struct(work.png) : NULL;
        ok = work.info ? write_png(&work, self, count)
                       : error_set_kind(error, ERROR_MEMORY, "PNG: out of memory");
    }
    png_destroy_write_struct(&work.png, &work.info);
    for (size_t i = 0; work.texts && i < count; i++) {
        free(work.texts[i].key);
        free(work.texts[i].text);
    }
    free(work.texts);
    return ok;
}

/* Reading */

static void read_bytes(png_structp png, png_bytep into, size_t size)
{
    struct png_work *work = png_get_io_ptr(png);
    if (size > work->size - work->at)
        png_error(png, "the file ends too early");
    memcpy(into, work->data + work->at, size);
    work->at += size;
}

/* Reads all up to the end of the file, as RGBA rows; into one row that is overwritten when
 * `whole` is false. */
static bool read_png(struct png_work *work, bool whole)
{
    if (setjmp(png_jmpbuf(work->png)))
        return false;
    png_set_read_fn(work->png, work, read_bytes);
    png_set_user_limits(work->png, SIDE_MOST, SIDE_MOST);
    png_set_chunk_malloc_max(work->png, CHUNK_MOST);
    png_set_chunk_cache_max(work->png, CHUNKS_MOST);
    png_set_crc_action(work->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(work->png, work->info);
    work->width = png_get_image_width(work->png, work->info);
    work->height = png_get_image_height(work->png, work->info);
    if (!picture_check_size("PNG", work->width, work->height, work->error))
        return false;
    png_set_expand(work->png);
    png_set_scale_16(work->png);
    png_set_gray_to_rgb(work->png);
    png_set_add_alpha(work->png, 0xff, PNG_FILLER_AFTER);
    work->passes = (size_t)png_set_interlace_handling(work->png);
    png_read_update_info(work->png, work->info);
    if (png_get_rowbytes(work->png, work->info) != work->width * 4)
        png_error(work->png, "this kind of pixels is not known");
    work->rgba = calloc(whole ? work->height : 1, work->width * 4);
    if (!work->rgba)
        png_error(work->png, "out of memory");
    for (size_t row = 0; row < work->passes * work->height; row++)
        png_read_row(work->png,
                     work->rgba + (whole ? row % work->height * work->width * 4 : 0),
                     NULL);
    png_read_end(work->png, work->info);
    return true;
}

static bool start_reading(struct png_work *work, const void *data, size_t size,
                          bool whole, struct error *error)
{
    *work = (struct png_work){.data = data, .size = size, .error = error};
    if (size < 8 || png_sig_cmp(data, 0, 8))
        return error_set_kind(error, ERROR_INPUT, "PNG: this is no PNG file");
    work->png =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, work, on_error, on_warning);
    work->info = work->png ? png_create_info_struct(work->png) : NULL;
    if (!work->info)
        return error_set_kind(error, ERROR_MEMORY, "PNG: out of memory");
    return read_png(work, whole);
}

static void end_reading(struct png_work *work)
{
    png_destroy_read_struct(&work->png, &work->info, NULL);
    free(work->rgba);
}

static unsigned orientation_of(struct png_work *work)
{
    png_uint_32 size = 0;
    png_bytep exif = NULL;
    return png_get_eXIf_1(work->png, work->info, &size, &exif)
               ? picture_orientation(exif, size)
               : 1;
}

bool picture_read_png(const void *data, size_t size, struct picture *into,
                      struct error *error)
{
    struct png_work work;
    bool ok = start_reading(&work, data, size, true, error);
    if (ok) {
        size_t pixels = work.width * work.height;
        uint8_t *rgb = work.rgba; /* in place: three bytes never pass four */
        for (size_t i = 0; i < pixels; i++) {
            unsigned alpha = work.rgba[i * 4 + 3];
            for (size_t c = 0; c < 3; c++)
                rgb[i * 3 + c] = (uint8_t)((work.rgba[i * 4 + c] * alpha +
                                            255 * (255 - alpha) + 127) /
                                           255);
        }
        *into = (struct picture){work.width, work.height, rgb};
        work.rgba = NULL;
        ok = picture_turn(into, orientation_of(&work), error);
        if (!ok)
            picture_clear(into);
    }
    end_reading(&work);
    return ok;
}

bool picture_read(const void *data, size_t size, struct picture *into,
                  struct error *error)
{
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
    if (size >= sizeof jpeg && memcmp(data, jpeg, sizeof jpeg) == 0)
        return picture_read_jpeg(data, size, into, error);
    if (size < 8 || png_sig_cmp(data, 0, 8))
        return error_set_kind(error, ERROR_INPUT,
                              "this is neither a PNG nor a JPEG picture");
    return picture_read_png(data, size, into, error);
}

static bool append_latin1(const char *text, struct buffer *into, struct error *error)
{
    for (; *text; text++) {
        utf8proc_uint8_t point[4];
        utf8proc_ssize_t size = utf8proc_encode_char((unsigned char)*text, point);
        if (!buffer_append(into, point, (size_t)size, error))
            return false;
    }
    return true;
}

static bool append_utf8(const char *text, struct buffer *into, struct error *error)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t point;
    for (utf8proc_ssize_t used; *at; at += used)
        if ((used = utf8proc_iterate(at, -1, &point)) <= 0)
            return error_set_kind(error, ERROR_INPUT, "PNG: its text is not UTF-8");
    return buffer_append(into, text, strlen(text), error);
}

bool picture_read_text(const void *data, size_t size, const char *keyword,
                       struct buffer *into, struct error *error)
{
    struct png_work work;
    bool ok = start_reading(&work, data, size, false, error);
    if (ok) {
        png_textp texts = NULL, found = NULL;
        int count = 0;
        png_get_text(work.png, work.info, &texts, &count);
        for (int i = 0; i < count && !found; i++)
            if (!strcmp(texts[i].key, keyword))
                found = &texts[i];
        if (!found)
            ok = error_set_kind(error, ERROR_NOT_FOUND, "PNG: it has no text \"%s\"",
                                keyword);
        else if (found->compression >= PNG_ITXT_COMPRESSION_NONE)
            ok = append_utf8(found->text, into, error);
        else
            ok = append_latin1(found->text, into, error);
    }
    end_reading(&work);
    return ok;
}
