#include "opencl/tuning.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kernel_names[TUNING_KERNELS] = {"gemm_cpu", "gemm_gpu",
                                                         "gemm_matrix"};

/* gemm_cpu.cl: the first that fits in local memory, with PoCL the second-level cache, is the
 * default (gemm.c). A block of A and its sums then stay there, a panel of W and a few rows of
 * A in the first level. W is read once a block of rows: with 2 MiB, products of 256 rows read
 * it once instead of three times and take 0.83 of the time. */
static const struct tuning_variant cpu_variants[] = {
    {.name = "default"},
    {"264x320", 264, 320, 320, 0, 0},
    {"96x320", 96, 320, 320, 0, 0},
    {"96x256", 96, 256, 320, 0, 0},
    {"48x256", 48, 256, 320, 0, 0},
    {"48x128", 48, 128, 128, 0, 0},
    {"24x64", 24, 64, 64, 0, 0},
};

static const struct tuning_variant gpu_variants[] = {
    {.name = "default"},
    {.name = "large", .tile = 1},
    {.name = "middle", .tile = 2},
    {.name = "small", .tile = 3},
    {.name = "large/8", .tile = 1, .band = 8},
    {.name = "middle/8", .tile = 2, .band = 8},
    {.name = "small/8", .tile = 3, .band = 8},
    {.name = "large/1", .tile = 1, .band = 1},
    {.name = "middle/1", .tile = 2, .band = 1},
    {.name = "small/1", .tile = 3, .band = 1},
};

const struct tuning_variant *tuning_variant(enum tuning_kernel kernel, size_t index)
{
    if (kernel == TUNING_CPU)
        return index < sizeof cpu_variants / sizeof *cpu_variants ? &cpu_variants[index]
                                                                  : NULL;
    return index < sizeof gpu_variants / sizeof *gpu_variants ? &gpu_variants[index]
                                                              : NULL;
}

/* ---- Classes */

uint8_t tuning_exponent(size_t value)
{
    uint8_t exponent = 0;
    while (exponent < 63 && ((size_t)1 << exponent) < value)
        exponent++;
    return exponent;
}

void tuning_shape_write(const struct tuning_shape *self, char into[TUNING_SHAPE])
{
    snprintf(into, TUNING_SHAPE, "%s %" PRIu64 "x%" PRIu64 "x%" PRIu64 "/%u f%d f%d",
             kernel_names[self->kernel], (uint64_t)1 << self->rows,
             (uint64_t)1 << self->k, (uint64_t)1 << self->columns, self->size,
             self->x_half ? 16 : 32, self->w_half ? 16 : 32);
}

/* Read loosely, then strictly: it must be what would be written. */
bool tuning_shape_read(struct tuning_shape *self, const char *text)
{
    char kernel[16], again[TUNING_SHAPE];
    uint64_t rows, k, columns;
    unsigned size, x, w;
    *self = (struct tuning_shape){0};
    if (strlen(text) >= TUNING_SHAPE ||
        sscanf(text,
               "%15[a-z_] %12" SCNu64 "x%12" SCNu64 "x%12" SCNu64 "/%3u f%2u f%2u",
               kernel, &rows, &k, &columns, &size, &x, &w) != 7 ||
        size > UINT8_MAX)
        return false;
    while (self->kernel < TUNING_KERNELS &&
           strcmp(kernel, kernel_names[self->kernel]) != 0)
        self->kernel++;
    if (self->kernel == TUNING_KERNELS)
        return false;
    self->rows = tuning_exponent(rows);
    self->k = tuning_exponent(k);
    self->columns = tuning_exponent(columns);
    self->size = (uint8_t)size;
    self->x_half = x == 16;
    self->w_half = w == 16;
    tuning_shape_write(self, again);
    return strcmp(again, text) == 0;
}

static bool is_same(const struct tuning_shape *a, const struct tuning_shape *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool tuned_read(struct tuned *into, const char *shape, const char *variant, double gain,
                int64_t at)
{
    *into = (struct tuned){.gain = gain, .at = at};
    if (!tuning_shape_read(&into->shape, shape) || !isfinite(gain) || gain < 1 ||
        gain > 1000 || at <= 0)
        return false;
    const struct tuning_variant *known;
    for (size_t i = 0; (known = tuning_variant(into->shape.kernel, i)); i++)
        if (strcmp(known->name, variant) == 0) {
            into->variant = i;
            return true;
        }
    return false;
}

const char *tuned_variant_name(const struct tuned *self)
{
    return tuning_variant(self->shape.kernel, self->variant)->name;
}

/* ---- The table */

struct tuning *tuning_new(const uint8_t identity[TUNING_IDENTITY])
{
    struct tuning *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    memcpy(self->identity, identity, TUNING_IDENTITY);
    return self;
}

struct tuning *tuning_copy(const struct tuning *self)
{
    struct tuning *copy = self ? tuning_new(self->identity) : NULL;
    if (copy)
        *copy = *self;
    return copy;
}

void tuning_destroy(struct tuning **self)
{
    free(*self);
    *self = NULL;
}

const struct tuned *tuning_find(const struct tuning *self,
                                const struct tuning_shape *shape)
{
    for (size_t i = 0; i < self->count; i++)
        if (is_same(&self->tuned[i].shape, shape))
            return &self->tuned[i];
    return NULL;
}

bool tuning_learn(struct tuning *self, const struct tuned *tuned)
{
    size_t at = 0;
    if (!tuning_variant(tuned->shape.kernel, tuned->variant))
        return false;
    while (at < self->count && !is_same(&self->tuned[at].shape, &tuned->shape))
        at++;
    if (at == TUNED_MOST)
        return false;
    self->tuned[at] = *tuned;
    self->count += at == self->count;
    tuning_unwant(self, &tuned->shape);
    return true;
}

void tuning_want(struct tuning *self, const struct tuning_wanted *wanted)
{
    for (size_t i = 0; i < self->wanted_count; i++)
        if (is_same(&self->wanted[i].shape, &wanted->shape))
            return;
    if (self->wanted_count < TUNING_WANTED_MOST && self->count < TUNED_MOST)
        self->wanted[self->wanted_count++] = *wanted;
}

void tuning_unwant(struct tuning *self, const struct tuning_shape *shape)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->wanted_count; i++)
        if (!is_same(&self->wanted[i].shape, shape))
            self->wanted[kept++] = self->wanted[i];
    self->wanted_count = kept;
}

/* ---- The choice */

size_t tuning_fastest(const struct tuning_times *times, size_t count)
{
    static const double CLEARLY = 0.97;
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (times[i].fits && times[i].median < CLEARLY * times[0].median &&
            times[i].least < times[0].least && times[i].median < times[best].median)
            best = i;
    return best;
}
