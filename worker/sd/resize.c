/* A pass over one line is the same for both directions: a line of `from` with its step
 * between neighbours, a line of `into` likewise. Weights of a pixel of the result are made
 * once and used for every line.
 */
#include "worker/sd/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_MOST = 65535, CHANNELS = 3, PRECISION = 22, BLUR_PRECISION = 24 };
static const double pi = 3.14159265358979323846;

void pixels_clear(struct pixels *self)
{
    free(self->rgb);
    *self = (struct pixels){0};
}

static bool make(struct pixels *self, struct error *error)
{
    if (self->width < 1 || self->height < 1 || self->width > SIDE_MOST ||
        self->height > SIDE_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "a picture of %zux%zu: sides are from 1 to %d",
                              self->width, self->height, SIDE_MOST);
    self->rgb = calloc(self->width * self->height, CHANNELS);
    if (self->rgb)
        return true;
    error_set_kind(error, ERROR_MEMORY, "no memory for a picture of %zux%zu",
                   self->width, self->height);
    return false;
}

/* ---- filters */

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double bicubic(double x) /* Keys 1981, a = -0.5 */
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(x * pi) / (x * pi);
}

static double lanczos(double x)
{
    return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct filter {
    double (*weight)(double x);
    double support;
} filters[] = {
    [RESIZE_BILINEAR] = {bilinear, 1},
    [RESIZE_BICUBIC] = {bicubic, 2},
    [RESIZE_LANCZOS] = {lanczos, 3},
};

/* The pixels that make pixel i of the result: first, first + 1, ... with their weights. */
struct window {
    size_t first, count;
    int *weight; /* borrowed from the plan's one block */
};

struct plan {
    size_t size; /* of the result */
    struct window *window;
    int *weights;
};

static void plan_clear(struct plan *self)
{
    free(self->window);
    free(self->weights);
}

static void fill_window(struct window *self, size_t from, double centre, double support,
                        double shrink, const struct filter *filter, double *exact)
{
    double first = trunc(centre - support + 0.5), end = trunc(centre + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > (double)from ? (double)from : end;
    self->first = (size_t)first;
    self->count = (size_t)(end - first);
    double sum = 0;
    for (size_t k = 0; k < self->count; k++) {
        exact[k] = filter->weight(((double)k + first - centre + 0.5) * (1 / shrink));
        sum += exact[k];
    }
    for (size_t k = 0; k < self->count; k++) {
        double weight = sum == 0 ? exact[k] : exact[k] / sum;
        self->weight[k] =
            (int)((weight < 0 ? -0.5 : 0.5) + weight * (double)(1 << PRECISION));
    }
}

static bool plan_make(struct plan *self, size_t from, size_t to,
                      enum resize_filter kind, struct error *error)
{
    const struct filter *filter = &filters[kind];
    double scale = (double)from / (double)to, shrink = scale < 1 ? 1 : scale;
    double support = filter->support * shrink;
    size_t most = (size_t)ceil(support) * 2 + 1;
    double *exact = calloc(most, sizeof *exact);
    *self = (struct plan){.size = to};
    self->window = calloc(to, sizeof *self->window);
    self->weights = calloc(to * most, sizeof *self->weights);
    bool ok = exact && self->window && self->weights;
    for (size_t i = 0; ok && i < to; i++) {
        self->window[i].weight = self->weights + i * most;
        fill_window(&self->window[i], from, ((double)i + 0.5) * scale, support, shrink,
                    filter, exact);
    }
    free(exact);
    return ok || error_set_kind(error, ERROR_MEMORY, "no memory to resize a picture");
}

static uint8_t to_byte(int64_t sum)
{
    int64_t value = sum >> PRECISION;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

/* One line; the distance from a pixel to the next is `from_step` bytes and `to_step`. */
static void run_line(const struct plan *plan, const uint8_t *from, size_t from_step,
                     uint8_t *to, size_t to_step)
{
    for (size_t i = 0; i < plan->size; i++) {
        const struct window *window = &plan->window[i];
        for (size_t c = 0; c < CHANNELS; c++) {
            const uint8_t *at = from + window->first * from_step + c;
            int64_t sum = 1 << (PRECISION - 1);
            for (size_t k = 0; k < window->count; k++)
                sum += at[k * from_step] * (int64_t)window->weight[k];
            to[i * to_step + c] = to_byte(sum);
        }
    }
}

static bool resize_across(struct pixels *into, const struct pixels *from,
                          enum resize_filter filter, struct error *error)
{
    struct plan plan;
    bool ok = plan_make(&plan, from->width, into->width, filter, error) &&
              make(into, error) && into->rgb;
    for (size_t y = 0; ok && y < from->height; y++)
        run_line(&plan, from->rgb + y * from->width * CHANNELS, CHANNELS,
                 into->rgb + y * into->width * CHANNELS, CHANNELS);
    plan_clear(&plan);
    return ok;
}

static bool resize_down(struct pixels *into, const struct pixels *from,
                        enum resize_filter filter, struct error *error)
{
    struct plan plan;
    bool ok = plan_make(&plan, from->height, into->height, filter, error) &&
              make(into, error);
    size_t row = from->width * CHANNELS;
    for (size_t x = 0; ok && x < row; x += CHANNELS)
        run_line(&plan, from->rgb + x, row, into->rgb + x, row);
    plan_clear(&plan);
    return ok;
}

static bool copy(struct pixels *into, const struct pixels *from, struct error *error)
{
    if (!make(into, error))
        return false;
    memcpy(into->rgb, from->rgb, from->width * from->height * CHANNELS);
    return true;
}

static size_t clamp(long at, size_t count)
{
    return at < 0 ? 0 : (size_t)at < count ? (size_t)at : count - 1;
}

/* Where a pixel falls between two, Pillow's sum of steps decides. */
static bool nearest(struct pixels *into, const struct pixels *from, struct error *error)
{
    double across = (double)from->width / (double)into->width;
    double down = (double)from->height / (double)into->height;
    double at_y = down * 0.5, at_x;
    if (!make(into, error))
        return false;
    for (size_t y = 0; y < into->height; y++, at_y += down) {
        size_t from_y = clamp((long)at_y, from->height);
        at_x = across * 0.5;
        for (size_t x = 0; x < into->width; x++, at_x += across) {
            size_t from_x = clamp((long)at_x, from->width);
            memcpy(into->rgb + (y * into->width + x) * CHANNELS,
                   from->rgb + (from_y * from->width + from_x) * CHANNELS, CHANNELS);
        }
    }
    return true;
}

bool pixels_resize(struct pixels *into, const struct pixels *from,
                   enum resize_filter filter, struct error *error)
{
    bool across = into->width != from->width, down = into->height != from->height;
    if (filter == RESIZE_NEAREST)
        return nearest(into, from, error);
    if (!across && !down)
        return copy(into, from, error);
    if (!down)
        return resize_across(into, from, filter, error);
    if (!across)
        return resize_down(into, from, filter, error);
    struct pixels wide = {.width = into->width, .height = from->height};
    bool ok = resize_across(&wide, from, filter, error) &&
              resize_down(into, &wide, filter, error);
    pixels_clear(&wide);
    return ok;
}

bool pixels_crop(struct pixels *into, const struct pixels *from, long x, long y,
                 struct error *error)
{
    if (!make(into, error))
        return false;
    for (size_t row = 0; row < into->height; row++)
        for (size_t column = 0; column < into->width; column++) {
            long from_x = x + (long)column, from_y = y + (long)row;
            if (from_x < 0 || from_y < 0 || (size_t)from_x >= from->width ||
                (size_t)from_y >= from->height)
                continue;
            memcpy(into->rgb + (row * into->width + column) * CHANNELS,
                   from->rgb +
                       ((size_t)from_y * from->width + (size_t)from_x) * CHANNELS,
                   CHANNELS);
        }
    return true;
}

uint8_t pixels_grey(const uint8_t rgb[3])
{
    return (uint8_t)((rgb[0] * 19595U + rgb[1] * 38470U + rgb[2] * 7471U + 0x8000U) >>
                     16);
}

/* ---- blurring */

struct box {
    size_t radius;       /* whole pixels each side with full weight */
    uint32_t full, edge; /* weights of those, and of the next one each side */
};

/* The box whose threefold blur comes nearest to a Gaussian of this deviation. */
static struct box box_of(double deviation)
{
    float radius_asked = (float)deviation;
    float sigma2 = radius_asked * radius_asked / 3;
    float length = (float)sqrt(12.0 * (double)sigma2 + 1.0);
    float whole = (float)floor(((double)length - 1.0) / 2.0);
    float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * sigma2);
    part /= 6 * (sigma2 - (whole + 1) * (whole + 1));
    float radius = whole + part;
    struct box box = {.radius = (size_t)radius};
    box.full = (uint32_t)((float)(1 << BLUR_PRECISION) / (radius * 2 + 1));
    box.edge = ((1U << BLUR_PRECISION) - (2 * (uint32_t)box.radius + 1) * box.full) / 2;
    return box;
}

/* The line as if its ends went on for ever; `line` is scratch of `count` bytes. */
static void blur_line(uint8_t *at, size_t step, size_t count, struct box box,
                      uint8_t *line)
{
    long radius = (long)box.radius;
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        line[i] = at[i * step];
    for (long k = -radius; k <= radius; k++)
        sum += line[clamp(k, count)];
    for (long i = 0; i < (long)count; i++) {
        uint32_t outer =
            line[clamp(i - radius - 1, count)] + line[clamp(i + radius + 1, count)];
        uint32_t all = sum * box.full + outer * box.edge;
        at[(size_t)i * step] =
            (uint8_t)((all + (1U << (BLUR_PRECISION - 1))) >> BLUR_PRECISION);
        sum += line[clamp(i + radius + 1, count)];
        sum -= line[clamp(i - radius, count)];
    }
}

bool pixels_blur(struct pixels *self, double radius, struct error *error)
{
    if (!(radius >= 0 && radius <= 1000))
        return error_set_kind(error, ERROR_INPUT, "blur %g: from 0 to 1000 pixels",
                              radius);
    size_t longest = self->width > self->height ? self->width : self->height;
    uint8_t *line = malloc(longest);
    if (!line)
        return error_set_kind(error, ERROR_MEMORY, "no memory to blur a picture");
    struct box box = box_of(radius);
    size_t row = self->width * CHANNELS;
    for (int pass = 0; radius > 0 && pass < 3; pass++)
        for (size_t y = 0; y < self->height; y++)
            for (size_t c = 0; c < CHANNELS; c++)
                blur_line(self->rgb + y * row + c, CHANNELS, self->width, box, line);
    for (int pass = 0; radius > 0 && pass < 3; pass++)
        for (size_t x = 0; x < row; x++)
            blur_line(self->rgb + x, row, self->height, box, line);
    free(line);
    return true;
}

/* ---- blurring as OpenCV does */

/* Weights of 256 in all: rounded one by one from the end, what is lost handed to the next,
 * and the middle takes the rest. */
static void fixed_kernel(int *weight, size_t size, double deviation)
{
    size_t half = size / 2;
    double sum = 0, rest = 0, middle = (double)half;
    int all = 0;
    for (size_t i = 0; i < size; i++)
        sum += exp(-((double)i - middle) * ((double)i - middle) /
                   (2 * deviation * deviation));
    for (size_t i = 0; i < half; i++) {
        double x = (double)i - middle;
        double exact = exp(-x * x / (2 * deviation * deviation)) / sum * 256 + rest;
        weight[i] = weight[size - 1 - i] = (int)rint(exact);
        rest = exact - weight[i];
        all += 2 * weight[i];
    }
    weight[half] = 256 - all;
}

/* Beyond its ends a line goes on mirrored, without the last pixel twice. */
static size_t mirrored(long at, long count)
{
    while (count > 1 && (at < 0 || at >= count))
        at = at < 0 ? -at : 2 * (count - 1) - at;
    return count > 1 ? (size_t)at : 0;
}

static void weigh_line(uint8_t *at, size_t step, size_t count, const int *weight,
                       size_t size, uint8_t *line)
{
    for (size_t i = 0; i < count; i++)
        line[i] = at[i * step];
    for (size_t i = 0; i < count; i++) {
        int sum = 128;
        for (size_t k = 0; k < size; k++)
            sum += weight[k] *
                   line[mirrored((long)(i + k) - (long)(size / 2), (long)count)];
        at[i * step] = (uint8_t)(sum >> 8 > 255 ? 255 : sum >> 8);
    }
}

bool pixels_blur_fixed(struct pixels *self, double deviation, struct error *error)
{
    if (!(deviation >= 0 && deviation <= 1000))
        return error_set_kind(error, ERROR_INPUT, "blur %g: from 0 to 1000 pixels",
                              deviation);
    size_t size = 2 * (size_t)(2.5 * deviation + 0.5) + 1;
    size_t longest = self->width > self->height ? self->width : self->height;
    int *weight = calloc(size, sizeof *weight);
    uint8_t *line = malloc(longest);
    bool ok = weight && line;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory to blur a picture");
    bool works = ok && deviation > 0;
    if (works)
        fixed_kernel(weight, size, deviation);
    size_t row = self->width * CHANNELS;
    for (size_t i = 0; works && i < self->height * CHANNELS; i++)
        weigh_line(self->rgb + i / CHANNELS * row + i % CHANNELS, CHANNELS, self->width,
                   weight, size, line);
    for (size_t x = 0; works && x < row; x++)
        weigh_line(self->rgb + x, row, self->height, weight, size, line);
    free(weight);
    free(line);
    return ok;
}
