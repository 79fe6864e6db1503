/* The interval is halved, and its halves, until a time asked for is an end: an increment is
 * known for the whole, and halving one draws how much of it falls in the left half
 *
 *     left = W (mid - start) / (end - start) + sqrt(variance) z,    right = W - left
 *
 * with z from a generator whose seed is that of the node: numpy's SeedSequence over the
 * seed, the node's place in its row (left to right) and its row. So nothing is kept between
 * draws but the whole interval's increment. Times are rounded to 6 decimals, the numbers are
 * float32 and in torchsde's order.
 */
#include "worker/sd/brownian.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/noise.h"

enum { POOL = 24, ROWS_MOST = 64 };

struct brownian {
    uint64_t seed;
    double start, end;
    size_t count;
    float *whole; /* the increment from start to end */
};

/* ---- numpy.random.SeedSequence (O'Neill's seed_seq) */

static uint32_t hash(uint32_t value, uint32_t *constant, uint32_t factor)
{
    value ^= *constant;
    *constant *= factor;
    value *= *constant;
    return value ^ value >> 16;
}

static uint32_t mix(uint32_t x, uint32_t y)
{
    uint32_t result = 0xca01f9ddu * x - 0x4973f715u * y;
    return result ^ result >> 16;
}

/* The first two words of the state; `key` has key_count words of spawn_key. */
static void seed_words(uint64_t entropy, const uint32_t *key, size_t key_count,
                       uint32_t words[2])
{
    uint32_t pool[POOL] = {(uint32_t)entropy, (uint32_t)(entropy >> 32)};
    uint32_t constant = 0x43b0d7e5u;
    const uint32_t factor = 0x931e8875u;
    for (size_t i = 0; i < POOL; i++)
        pool[i] = hash(pool[i], &constant, factor);
    for (size_t from = 0; from < POOL; from++)
        for (size_t to = 0; to < POOL; to++)
            if (from != to)
                pool[to] = mix(pool[to], hash(pool[from], &constant, factor));
    for (size_t from = 0; from < key_count; from++)
        for (size_t to = 0; to < POOL; to++)
            pool[to] = mix(pool[to], hash(key[from], &constant, factor));
    constant = 0x8b51f9ddu;
    for (size_t i = 0; i < 2; i++)
        words[i] = hash(pool[i], &constant, 0x58f38dedu);
}

/* ---- The tree */

/* Python's round(time, 6) */
static double rounded(double time)
{
    char text[64];
    snprintf(text, sizeof text, "%.6f", time);
    return strtod(text, NULL);
}

static void normal_of(uint32_t seed, float *values, size_t count)
{
    struct noise noise;
    noise_seed(&noise, seed);
    noise_normal(&noise, values, count);
}

struct node {
    double start, end;
    uint32_t place, row;
    const float *increment;
};

/* The increment's part in the left half, into `left`. */
static void halve(const struct brownian *self, const struct node *node, double middle,
                  float *left)
{
    uint32_t key[] = {node->place, node->row}, seeds[2];
    double reciprocal = 1 / (node->end - node->start);
    double before = middle - node->start, after = node->end - middle;
    float deviation = (float)sqrt(before * after * reciprocal);
    float share = (float)before, scale = (float)reciprocal;
    seed_words(self->seed, key, 2, seeds);
    normal_of(seeds[0], left, self->count);
    for (size_t i = 0; i < self->count; i++) {
        float mean = share * node->increment[i] * scale;
        left[i] = mean + deviation * left[i];
    }
}

/* Adds what falls between two times within the node; the first part is not added to 0 but
 * copied. */
static bool add(const struct brownian *self, const struct node *node, double from,
                double to, float *sum, bool *is_begun)
{
    if (from <= node->start && to >= node->end) {
        for (size_t i = 0; i < self->count; i++)
            sum[i] = *is_begun ? sum[i] + node->increment[i] : node->increment[i];
        *is_begun = true;
        return true;
    }
    double middle = rounded(0.5 * (node->end + node->start));
    float *half = calloc(self->count, sizeof *half);
    bool ok = half && node->row < ROWS_MOST;
    struct node child = {node->start, middle, 2 * node->place, node->row + 1, half};
    if (ok)
        halve(self, node, middle, half);
    if (ok && from < middle)
        ok = add(self, &child, from, to, sum, is_begun);
    if (ok && to > middle) {
        for (size_t i = 0; i < self->count; i++)
            half[i] = node->increment[i] - half[i];
        child =
            (struct node){middle, node->end, 2 * node->place + 1, node->row + 1, half};
        ok = add(self, &child, from, to, sum, is_begun);
    }
    free(half);
    return ok;
}

struct brownian *brownian_new(uint64_t seed, double first, double last, size_t count,
                              struct error *error)
{
    struct brownian *self = calloc(1, sizeof *self);
    uint32_t seeds[2];
    if (self)
        self->whole = calloc(count, sizeof *self->whole);
    if (!self || !self->whole) {
        error_set_kind(error, ERROR_MEMORY, "no memory for Brownian noise");
        brownian_destroy(&self);
        return NULL;
    }
    self->seed = seed;
    self->start = rounded(first);
    self->end = rounded(last);
    self->count = count;
    seed_words(seed, NULL, 0, seeds);
    normal_of(seeds[0], self->whole, count);
    float scale = (float)sqrt(last - first);
    for (size_t i = 0; i < count; i++)
        self->whole[i] *= scale;
    return self;
}

void brownian_destroy(struct brownian **self)
{
    if (*self)
        free((*self)->whole);
    free(*self);
    *self = NULL;
}

bool brownian_draw(struct brownian *self, double from, double to, float *values,
                   struct error *error)
{
    double low = fmax(fmin(from, to), self->start),
           high = fmin(fmax(from, to), self->end);
    struct node root = {self->start, self->end, 0, 0, self->whole};
    bool is_begun = false;
    float scale = sqrtf(fabsf((float)to - (float)from));
    memset(values, 0, self->count * sizeof *values);
    low = rounded(low);
    high = rounded(high);
    if (low < high && !add(self, &root, low, high, values, &is_begun))
        return error_set_kind(error, ERROR_MEMORY, "no memory for Brownian noise");
    for (size_t i = 0; i < self->count; i++)
        values[i] = (to < from ? -values[i] : values[i]) / scale;
    return true;
}
