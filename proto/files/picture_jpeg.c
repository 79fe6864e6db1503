/* libjpeg leaves a failing call by our error_exit, which jumps; everything a reading holds
 * stands in one struct outside the function that calls setjmp, as in picture.c.
 *
 * A progressive file of few bytes can ask for scans without end: each is counted.
 */
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "proto/files/picture_private.h"
#include "proto/files/picture_turn.h"

enum { SCANS_MOST = 200, EXIF_HEADER = 6 };

struct jpeg_work {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    struct error *error;
    struct picture picture;
    uint8_t *row;
    unsigned orientation;
};

static void on_error(j_common_ptr jpeg)
{
    struct jpeg_work *work = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    error_set_kind(work->error,
                   jpeg->err->msg_code == JERR_OUT_OF_MEMORY ? ERROR_MEMORY
                                                             : ERROR_INPUT,
                   "JPEG: %s", text);
    longjmp(work->out, 1);
}

/* What is only odd is let pass; a file that ends too early is not. */
static void on_message(j_common_ptr jpeg, int level)
{
    struct jpeg_work *work = jpeg->client_data;
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF) {
        error_set_kind(work->error, ERROR_INPUT, "JPEG: the file ends too early");
        longjmp(work->out, 1);
    }
}

static void on_progress(j_common_ptr jpeg)
{
    struct jpeg_work *work = jpeg->client_data;
    if (work->jpeg.input_scan_number <= SCANS_MOST)
        return;
    error_set_kind(work->error, ERROR_INPUT, "JPEG: it has more than %d scans",
                   SCANS_MOST);
    longjmp(work->out, 1);
}

static unsigned orientation_of(const struct jpeg_work *work)
{
    static const uint8_t header[EXIF_HEADER] = "Exif\0";
    for (jpeg_saved_marker_ptr marker = work->jpeg.marker_list; marker;
         marker = marker->next)
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > EXIF_HEADER &&
            memcmp(marker->data, header, EXIF_HEADER) == 0)
            return picture_orientation(marker->data + EXIF_HEADER,
                                       marker->data_length - EXIF_HEADER);
    return 1;
}

static unsigned divide_255(unsigned product)
{
    product += 128;
    return (product + (product >> 8)) >> 8;
}

/* One row of CMYK, stored inverted as Adobe's programs do. */
static void from_cmyk(uint8_t *rgb, const uint8_t *cmyk, size_t width)
{
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++) {
            unsigned black = cmyk[x * 4 + 3];
            rgb[x * 3 + c] =
                (uint8_t)(black - divide_255((255U - cmyk[x * 4 + c]) * black));
        }
}

static bool read_jpeg(struct jpeg_work *work, const uint8_t *data, size_t size)
{
    struct jpeg_decompress_struct *jpeg = &work->jpeg;
    if (setjmp(work->out))
        return false;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &work->progress;
    jpeg_mem_src(jpeg, data, size);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    if (!picture_check_size("JPEG", jpeg->image_width, jpeg->image_height, work->error))
        return false;
    bool inks = jpeg->num_components == 4;
    jpeg->out_color_space = inks ? JCS_CMYK : JCS_RGB;
    work->orientation = orientation_of(work);
    jpeg_start_decompress(jpeg);
    work->picture =
        (struct picture){jpeg->output_width, jpeg->output_height,
                         calloc(jpeg->output_height, (size_t)jpeg->output_width * 3)};
    work->row = malloc((size_t)jpeg->output_width * 4);
    if (!work->picture.rgb || !work->row)
        return error_set_kind(work->error, ERROR_MEMORY, "JPEG: out of memory");
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *into =
            work->picture.rgb + jpeg->output_scanline * work->picture.width * 3;
        JSAMPROW row = inks ? work->row : into;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (inks)
            from_cmyk(into, work->row, work->picture.width);
    }
    jpeg_finish_decompress(jpeg);
    return true;
}

bool picture_read_jpeg(const void *data, size_t size, struct picture *into,
                       struct error *error)
{
    struct jpeg_work *work = calloc(1, sizeof *work);
    if (!work)
        return error_set_kind(error, ERROR_MEMORY, "JPEG: out of memory");
    work->error = error;
    work->jpeg.err = jpeg_std_error(&work->errors);
    work->jpeg.client_data = work;
    work->errors.error_exit = on_error;
    work->errors.emit_message = on_message;
    work->progress.progress_monitor = on_progress;
    bool ok = read_jpeg(work, data, size);
    jpeg_destroy_decompress(&work->jpeg);
    ok = ok && picture_turn(&work->picture, work->orientation, error);
    if (ok)
        *into = work->picture;
    else
        picture_clear(&work->picture);
    free(work->row);
    free(work);
    return ok;
}
