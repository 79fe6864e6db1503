/* Layout, in pixels:
 *
 *   MARGIN | row labels LABEL wide | column 0 | GAP | column 1 ...
 *          | title                                over everything
 *          |                       | column labels
 *
 * Every cell is as large as the largest picture, times one factor for the whole sheet.
 */
#include "client/sheet.h"

#include <math.h>
#include <pango/pangocairo.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARGIN = 16,
    GAP = 8,
    LABEL = 200,
    TITLE_HEIGHT = 36,
    COLUMN_HEIGHT = 28,
    CELL_LEAST = 128,
    SIDE_MOST = 16384,
    PIXELS_MOST = 64 << 20,
};

struct layout {
    const struct sheet *sheet;
    double scale;           /* pixels of the sheet a pixel of a picture */
    int cell_w, cell_h;     /* on the sheet */
    int label_w, left, top; /* where cell 0 begins */
    int width, height;      /* of the sheet */
};

static void place(struct layout *self, double scale, size_t width, size_t height)
{
    self->scale = scale;
    self->cell_w = (int)ceil((double)width * scale);
    self->cell_h = (int)ceil((double)height * scale);
    self->label_w = self->sheet->rows > 1 || *self->sheet->row[0] ? LABEL : 0;
    self->left = MARGIN + self->label_w;
    self->top = MARGIN + TITLE_HEIGHT + COLUMN_HEIGHT;
    self->width =
        self->left + (int)self->sheet->columns * (self->cell_w + GAP) - GAP + MARGIN;
    self->height =
        self->top + (int)self->sheet->rows * (self->cell_h + GAP) - GAP + MARGIN;
}

static bool fits(const struct layout *self)
{
    return self->width <= SIDE_MOST && self->height <= SIDE_MOST &&
           (int64_t)self->width * self->height <= PIXELS_MOST;
}

static bool plan(struct layout *self, const struct sheet *sheet, struct error *error)
{
    size_t width = 0, height = 0;
    self->sheet = sheet;
    for (size_t i = 0; i < sheet->rows * sheet->columns; i++) {
        width = sheet->cell[i].width > width ? sheet->cell[i].width : width;
        height = sheet->cell[i].height > height ? sheet->cell[i].height : height;
    }
    if (!width)
        return error_set_kind(error, ERROR_INPUT,
                              "no picture of the job is done yet, there is nothing to "
                              "lay out");
    if (sheet->rows > SIDE_MOST / GAP || sheet->columns > SIDE_MOST / GAP)
        return error_set_kind(
            error, ERROR_INPUT,
            "%zu rows and %zu columns do not fit a sheet; choose other "
            "axes with --x and --y",
            sheet->rows, sheet->columns);
    double scale = width < CELL_LEAST ? ceil(CELL_LEAST / (double)width) : 1;
    for (place(self, scale, width, height); !fits(self) && scale > 1.0 / 64;
         place(self, scale, width, height))
        scale = scale > 1 ? scale - 1 : scale / 2;
    return fits(self) ||
           error_set_kind(error, ERROR_INPUT,
                          "%zu rows and %zu columns do not fit a sheet; choose other "
                          "axes with --x and --y",
                          sheet->rows, sheet->columns);
}

/* Text in a box, cut with an ellipsis where it would not fit; centred in both directions
 * or, for rows, set to the right. */
static void draw_text(cairo_t *cairo, const char *text, const char *font, int x, int y,
                      int width, int height, PangoAlignment alignment)
{
    PangoLayout *layout = pango_cairo_create_layout(cairo);
    PangoFontDescription *description = pango_font_description_from_string(font);
    int used;
    pango_layout_set_font_description(layout, description);
    pango_layout_set_text(layout, text, -1);
    pango_layout_set_width(layout, width * PANGO_SCALE);
    pango_layout_set_height(layout, height * PANGO_SCALE);
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
    pango_layout_set_alignment(layout, alignment);
    pango_layout_get_pixel_size(layout, NULL, &used);
    cairo_move_to(cairo, x, y + (height > used ? (height - used) / 2 : 0));
    cairo_set_source_rgb(cairo, 0.1, 0.1, 0.1);
    pango_cairo_show_layout(cairo, layout);
    pango_font_description_free(description);
    g_object_unref(layout);
}

static void draw_cell(cairo_t *cairo, const struct layout *layout,
                      const struct picture *picture, int x, int y)
{
    if (!picture->rgb) {
        cairo_set_source_rgb(cairo, 0.9, 0.9, 0.9);
        cairo_rectangle(cairo, x, y, layout->cell_w, layout->cell_h);
        cairo_fill(cairo);
        return;
    }
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, (int)picture->width, (int)picture->height);
    uint8_t *pixels = cairo_image_surface_get_data(surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    for (size_t row = 0; pixels && row < picture->height; row++)
        for (size_t column = 0; column < picture->width; column++) {
            const uint8_t *rgb = picture->rgb + (row * picture->width + column) * 3;
            uint32_t packed = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
            memcpy(pixels + row * stride + column * 4, &packed, 4);
        }
    cairo_surface_mark_dirty(surface);
    cairo_save(cairo);
    cairo_translate(cairo, x, y);
    cairo_scale(cairo, layout->scale, layout->scale);
    cairo_set_source_surface(cairo, surface, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo), layout->scale > 1
                                                          ? CAIRO_FILTER_NEAREST
                                                          : CAIRO_FILTER_GOOD);
    cairo_paint(cairo);
    cairo_restore(cairo);
    cairo_surface_destroy(surface);
}

static void draw(cairo_t *cairo, const struct layout *self)
{
    const struct sheet *sheet = self->sheet;
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    draw_text(cairo, sheet->title, "Sans Bold 11", MARGIN, MARGIN,
              self->width - 2 * MARGIN, TITLE_HEIGHT - 8, PANGO_ALIGN_LEFT);
    for (size_t c = 0; c < sheet->columns; c++)
        draw_text(cairo, sheet->column[c], "Sans 10",
                  self->left + (int)c * (self->cell_w + GAP), self->top - COLUMN_HEIGHT,
                  self->cell_w, COLUMN_HEIGHT - 4, PANGO_ALIGN_CENTER);
    for (size_t r = 0; r < sheet->rows; r++) {
        int y = self->top + (int)r * (self->cell_h + GAP);
        if (self->label_w)
            draw_text(cairo, sheet->row[r], "Sans 10", MARGIN, y, self->label_w - 12,
                      self->cell_h, PANGO_ALIGN_RIGHT);
        for (size_t c = 0; c < sheet->columns; c++)
            draw_cell(cairo, self, &sheet->cell[r * sheet->columns + c],
                      self->left + (int)c * (self->cell_w + GAP), y);
    }
}

static bool take_pixels(cairo_surface_t *surface, struct picture *into,
                        struct error *error)
{
    cairo_surface_flush(surface);
    const uint8_t *pixels = cairo_image_surface_get_data(surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    into->width = (size_t)cairo_image_surface_get_width(surface);
    into->height = (size_t)cairo_image_surface_get_height(surface);
    into->rgb = malloc(into->width * into->height * 3 + 1);
    if (!into->rgb || !pixels)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a sheet of %zux%zu",
                              into->width, into->height);
    for (size_t y = 0; y < into->height; y++)
        for (size_t x = 0; x < into->width; x++) {
            uint32_t packed;
            uint8_t *rgb = into->rgb + (y * into->width + x) * 3;
            memcpy(&packed, pixels + y * stride + x * 4, 4);
            rgb[0] = (uint8_t)(packed >> 16);
            rgb[1] = (uint8_t)(packed >> 8);
            rgb[2] = (uint8_t)packed;
        }
    return true;
}

bool sheet_draw(const struct sheet *self, struct picture *into, struct error *error)
{
    struct layout layout = {0};
    *into = (struct picture){0};
    if (!plan(&layout, self, error))
        return false;
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, layout.width, layout.height);
    cairo_t *cairo = cairo_create(surface);
    draw(cairo, &layout);
    bool ok = take_pixels(surface, into, error);
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
    return ok;
}
