/* A1111's modules/rng.py, ComfyUI's prepare_noise and diffusers' randn_tensor in one: they
 * differ in where the generator of the steps' noise begins.
 */
#include "worker/sd/draws.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct draws {
    struct draws_options options;
    enum noise_source source;
    struct sampler_interval range;
    size_t c, h, w;
    struct noise noise, aside;
    struct brownian *brownian;
    float *whole; /* a draw of the whole batch */
};

static size_t count_of(const struct draws *self)
{
    return self->c * self->h * self->w;
}

static void seed(const struct draws *self, struct noise *noise, uint64_t value)
{
    if (self->options.is_philox)
        noise_seed_philox(noise, value);
    else
        noise_seed(noise, value);
}

struct draws *draws_new(const struct draws_options *options,
                        const struct sampler_run *run, size_t c, size_t h, size_t w,
                        struct error *error)
{
    struct draws *self = calloc(1, sizeof *self);
    size_t values, batch = options->batch ? options->batch : 1;
    if (options->index >= batch) {
        draws_destroy(&self);
        error_set_kind(error, ERROR_INPUT,
                       "batch-index %zu: a batch of %zu has 0 to %zu", options->index,
                       batch, batch - 1);
        return NULL;
    }
    if (self && !__builtin_mul_overflow(batch, c * h * w, &values))
        self->whole = calloc(values, sizeof *self->whole);
    if (!self || !self->whole) {
        draws_destroy(&self);
        error_set_kind(error, ERROR_MEMORY, "no memory for noise");
        return NULL;
    }
    self->options = *options;
    self->options.batch = batch;
    self->source = run->source;
    self->range = run->range;
    self->c = c;
    self->h = h;
    self->w = w;
    seed(self, &self->noise, options->seed);
    noise_seed(&self->aside, options->seed);
    return self;
}

void draws_destroy(struct draws **self)
{
    if (*self) {
        brownian_destroy(&(*self)->brownian);
        free((*self)->whole);
    }
    free(*self);
    *self = NULL;
}

/* This image's part of the batch's numbers. */
static void take_part(const struct draws *self, float *values)
{
    size_t count = count_of(self);
    memcpy(values, self->whole + self->options.index * count, count * sizeof *values);
}

void draws_next(struct draws *self, float *values)
{
    noise_normal(&self->noise, self->whole, self->options.batch * count_of(self));
    take_part(self, values);
}

void draws_again(struct draws *self, float *values)
{
    struct noise noise;
    seed(self, &noise, self->options.seed);
    noise_normal(&noise, self->whole, self->options.batch * count_of(self));
    take_part(self, values);
}

void draws_aside(struct draws *self, float *values, size_t count)
{
    noise_normal(&self->aside, values, count);
}

/* A1111's slerp over tensors [c, h, w], whose vectors run along h: between a and b by the
 * share, into a. */
static bool slerp(float *a, const float *b, double share, size_t c, size_t h, size_t w,
                  struct error *error)
{
    size_t columns = c * w;
    double *dot = calloc(columns, sizeof *dot), mean = 0;
    if (!dot)
        return error_set_kind(error, ERROR_MEMORY, "no memory for noise");
    for (size_t k = 0; k < columns; k++) {
        const size_t start = k / w * h * w + k % w;
        double aa = 0, bb = 0, ab = 0;
        for (size_t y = 0; y < h; y++) {
            double p = a[start + y * w], q = b[start + y * w];
            aa += p * p;
            bb += q * q;
            ab += p * q;
        }
        dot[k] = ab / sqrt(aa * bb);
        mean += dot[k] / (double)columns;
    }
    for (size_t k = 0; k < columns; k++) {
        double angle = acos(dot[k]), of_a = share, of_b = 1 - share;
        if (mean <= 0.9995) {
            of_a = sin((1 - share) * angle) / sin(angle);
            of_b = sin(share * angle) / sin(angle);
        }
        for (size_t y = 0; y < h; y++) {
            size_t i = k / w * h * w + k % w + y * w;
            a[i] = (float)(of_a * a[i] + of_b * b[i]);
        }
    }
    free(dot);
    return true;
}

/* Pastes the middle of `from` [c, from_h, from_w] over the middle of `into`. */
static void paste(const struct draws *self, float *into, const float *from)
{
    size_t from_h = self->options.resize_h, from_w = self->options.resize_w;
    size_t h = from_h < self->h ? from_h : self->h;
    size_t w = from_w < self->w ? from_w : self->w;
    /* Where one is smaller by an odd number Python's // rounds towards minus infinity. */
    size_t top = self->h > from_h ? (self->h - from_h) / 2 : 0;
    size_t left = self->w > from_w ? (self->w - from_w) / 2 : 0;
    size_t cut_top = from_h > self->h ? (from_h - self->h + 1) / 2 : 0;
    size_t cut_left = from_w > self->w ? (from_w - self->w + 1) / 2 : 0;
    h = from_h > self->h ? from_h - 2 * cut_top : h;
    w = from_w > self->w ? from_w - 2 * cut_left : w;
    for (size_t c = 0; c < self->c; c++)
        for (size_t y = 0; y < h; y++)
            memcpy(into + (c * self->h + top + y) * self->w + left,
                   from + (c * from_h + cut_top + y) * from_w + cut_left,
                   w * sizeof *into);
}

/* The seed's noise, varied, for latents of another size where that is asked. */
static bool make_first(struct draws *self, float *values, struct error *error)
{
    const struct draws_options *options = &self->options;
    bool resized = options->resize_h && options->resize_w &&
                   (options->resize_h != self->h || options->resize_w != self->w);
    size_t h = resized ? options->resize_h : self->h;
    size_t w = resized ? options->resize_w : self->w, count = self->c * h * w;
    float *base = calloc(count, sizeof *base), *other = calloc(count, sizeof *other);
    struct noise noise;
    bool ok = base && other;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for noise");
    if (ok && resized) {
        seed(self, &noise, options->seed);
        noise_normal(&noise, base, count);
    } else if (ok) {
        draws_next(self, base);
    }
    if (ok && options->variation > 0) {
        seed(self, &noise, options->variation_seed);
        noise_normal(&noise, other, count);
        ok = slerp(base, other, options->variation, self->c, h, w, error);
    }
    if (ok && resized) {
        draws_next(self, values);
        paste(self, values, base);
    } else if (ok) {
        memcpy(values, base, count * sizeof *values);
    }
    free(base);
    free(other);
    return ok;
}

static bool draw_first(struct draws *self, float *values, struct error *error)
{
    if (!make_first(self, values, error))
        return false;
    uint64_t delta = self->options.delta + (self->source == NOISE_RESEEDED);
    if (delta)
        seed(self, &self->noise, self->options.seed + delta);
    return true;
}

bool draws_step(struct draws *self, const struct sampler_interval *interval,
                float *values, struct error *error)
{
    if (!interval)
        return draw_first(self, values, error);
    if (self->source != NOISE_BROWNIAN) {
        draws_next(self, values);
        return true;
    }
    if (!self->brownian)
        self->brownian =
            brownian_new(self->options.seed, self->range.from, self->range.to,
                         self->options.batch * count_of(self), error);
    if (!self->brownian || !brownian_draw(self->brownian, interval->from, interval->to,
                                          self->whole, error))
        return false;
    take_part(self, values);
    return true;
}
