/* Every way is separable: a place of the result is a weighted sum of a few places of a line,
 * which are found once for all lines. Across first, as torch does.
 */
#include "worker/sd/interpolate.h"

#include <math.h>
#include <stdlib.h>

/* What makes one place of the result: `count` places from `first` on, with their weights. */
struct window {
    size_t first, count;
    double *weight; /* borrowed from the plan's one block */
};

struct plan {
    struct window *window;
    double *weights;
};

static void plan_clear(struct plan *self)
{
    free(self->window);
    free(self->weights);
}

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys 1981. torch's a is -0.75, and -0.5 where it antialiases. */
static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static size_t clamp(double at, size_t size)
{
    return at < 0 ? 0 : at < (double)size ? (size_t)at : size - 1;
}

static void add(struct window *self, double at, size_t size, double weight)
{
    size_t place = clamp(at, size);
    self->weight[place - self->first] += weight;
    if (place - self->first >= self->count)
        self->count = place - self->first + 1;
}

/* Places beyond the ends are the last ones. */
static void fill_plain(struct window *self, size_t from, float scale, size_t i,
                       enum interpolation how)
{
    double exact = ((double)i + 0.5) * (double)scale;
    if (how == INTERPOLATE_NEAREST || how == INTERPOLATE_NEAREST_EXACT) {
        float at = (float)i + (how == INTERPOLATE_NEAREST ? 0 : 0.5F);
        self->first = clamp(floor((double)(at * scale)), from);
        add(self, (double)self->first, from, 1);
        return;
    }
    double at = exact - 0.5;
    if (how == INTERPOLATE_BILINEAR) {
        at = fmax(at, 0);
        double share = at - floor(at);
        self->first = clamp(at, from);
        add(self, floor(at), from, 1 - share);
        add(self, floor(at) + 1, from, share);
        return;
    }
    self->first = clamp(floor(at) - 1, from);
    for (int k = -1; k <= 2; k++)
        add(self, floor(at) + k, from, cubic(at - floor(at) - k, -0.75));
}

/* Places beyond the ends do not count. */
static void fill_smooth(struct window *self, size_t from, double scale, size_t i,
                        enum interpolation how)
{
    double wide = fmax(scale, 1), centre = ((double)i + 0.5) * scale, sum = 0;
    double support = (how == INTERPOLATE_BILINEAR_SMOOTH ? 1 : 2) * wide;
    double end = fmin(floor(centre + support + 0.5), (double)from);
    self->first = (size_t)fmax(floor(centre - support + 0.5), 0);
    self->count = (size_t)end - self->first;
    for (size_t k = 0; k < self->count; k++) {
        double x = ((double)(self->first + k) - centre + 0.5) / wide;
        self->weight[k] =
            how == INTERPOLATE_BILINEAR_SMOOTH ? triangle(x) : cubic(x, -0.5);
        sum += self->weight[k];
    }
    for (size_t k = 0; k < self->count; k++)
        self->weight[k] /= sum;
}

static bool plan_make(struct plan *self, size_t from, size_t to, enum interpolation how,
                      struct error *error)
{
    bool smooth =
        how == INTERPOLATE_BILINEAR_SMOOTH || how == INTERPOLATE_BICUBIC_SMOOTH;
    double scale = (double)from / (double)to;
    size_t room = smooth ? (size_t)(4 * fmax(scale, 1)) + 3 : 4;
    self->window = calloc(to, sizeof *self->window);
    self->weights = calloc(to * room, sizeof *self->weights);
    if (!self->window || !self->weights)
        return error_set_kind(error, ERROR_MEMORY, "no memory to enlarge latents");
    for (size_t i = 0; i < to; i++) {
        self->window[i].weight = self->weights + i * room;
        if (smooth)
            fill_smooth(&self->window[i], from, scale, i, how);
        else
            fill_plain(&self->window[i], from, (float)scale, i, how);
    }
    return true;
}

/* `c` values side by side, whose next place is `step` values further. */
static void sum_up(const struct window *window, float *into, const float *from,
                   size_t step, size_t c)
{
    for (size_t k = 0; k < c; k++) {
        double sum = 0;
        for (size_t i = 0; i < window->count; i++)
            sum += window->weight[i] * (double)from[(window->first + i) * step + k];
        into[k] = (float)sum;
    }
}

bool interpolate(float *into, size_t to_h, size_t to_w, const float *from, size_t h,
                 size_t w, size_t c, enum interpolation how, struct error *error)
{
    struct plan across = {0}, down = {0};
    float *wide = calloc(h * to_w * c, sizeof *wide);
    bool ok = plan_make(&across, w, to_w, how, error) &&
              plan_make(&down, h, to_h, how, error);
    if (ok && !wide)
        ok = error_set_kind(error, ERROR_MEMORY, "no memory to enlarge latents");
    for (size_t i = 0; ok && i < h * to_w; i++)
        sum_up(&across.window[i % to_w], wide + i * c, from + i / to_w * w * c, c, c);
    for (size_t y = 0; ok && y < to_h; y++)
        sum_up(&down.window[y], into + y * to_w * c, wide, to_w * c, to_w * c);
    plan_clear(&across);
    plan_clear(&down);
    free(wide);
    return ok;
}
