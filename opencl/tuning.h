/* Which variant of a product's kernel is fastest on this device, by classes of shapes.
 *
 * A kernel's variants differ in who computes an output and in which order outputs are visited,
 * never in the order of a sum or in rounding: their bytes are the same, so that a choice between
 * them is free. tune.h measures, on the device itself, and refuses a variant whose bytes differ.
 * Nothing has to be tuned: what is not known runs as variant 0. What is known is kept in a file
 * of the cache (tuning_load, tuning_save) and may come from other devices of the same kind.
 *
 * A class is the product's k and columns and the rows of one picture, each rounded up to a power
 * of two, and the kernel, the filter's size and the types; the batch is no part of it. As text:
 * "gemm_gpu 4096x512x512/3 f16 f16", the types x's and the weights'.
 */
#ifndef FARM_TUNING_H
#define FARM_TUNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    TUNING_SHAPE = 96,    /* bytes of a class's text, with its zero */
    TUNING_VARIANT = 16,  /* of a variant's name */
    TUNING_IDENTITY = 16, /* bytes that name device, driver and kernels */
    TUNED_MOST = 512,     /* classes of a device */
    TUNING_WANTED_MOST = 128,
};

enum tuning_kernel { TUNING_CPU, TUNING_GPU, TUNING_MATRIX, TUNING_KERNELS };

struct tuning_variant {
    const char *name;
    size_t rows, columns, depth; /* of a group, gemm_cpu.cl */
    unsigned tile;               /* GPUs: 1 the largest, 0: by the number of groups */
    size_t band;                 /* rows of tiles visited together; 0: all (tiles.cl) */
};

/* Variant `index` of the kernel, 0 the default; NULL from their number on. */
const struct tuning_variant *tuning_variant(enum tuning_kernel kernel, size_t index);

/* A class, comparable by memcmp. */
struct tuning_shape {
    uint8_t kernel;           /* enum tuning_kernel */
    uint8_t rows, k, columns; /* exponents of 2 */
    uint8_t size, x_half, w_half, zero;
};
void tuning_shape_write(const struct tuning_shape *self, char into[TUNING_SHAPE]);
bool tuning_shape_read(struct tuning_shape *self, const char *text);

/* The least e with 2^e >= value. */
uint8_t tuning_exponent(size_t value);

/* What one class is best run with. */
struct tuned {
    struct tuning_shape shape;
    size_t variant;
    double gain; /* the default's time over the variant's; 1: the default it is */
    int64_t at;  /* unix seconds; 0: it could not be measured, and is not kept */
    bool own;    /* measured by this device */
};

/* A product that was run and whose class is not known: what tune.h makes again. */
struct tuning_wanted {
    struct tuning_shape shape;
    size_t n, h, w, columns, x_h, x_w, x_c, up_h, up_w; /* of y and x */
    size_t stride, pad;
    bool geglu;
};

struct tuning {
    uint8_t identity[TUNING_IDENTITY];
    struct tuned tuned[TUNED_MOST];
    size_t count;
    struct tuning_wanted wanted[TUNING_WANTED_MOST]; /* in the order they came up */
    size_t wanted_count;
    size_t forced; /* variant + 1 of every product while one is measured; 0: none */
};

struct tuning *tuning_new(const uint8_t identity[TUNING_IDENTITY]);
struct tuning *tuning_copy(const struct tuning *self); /* of NULL: NULL */
void tuning_destroy(struct tuning **self);

const struct tuned *tuning_find(const struct tuning *self,
                                const struct tuning_shape *shape);

/* Replaces what is known of its class. False when there is no room or no such variant. */
bool tuning_learn(struct tuning *self, const struct tuned *tuned);

/* Notes a product of an unknown class, once a class, as long as there is room to learn it. */
void tuning_want(struct tuning *self, const struct tuning_wanted *wanted);
void tuning_unwant(struct tuning *self, const struct tuning_shape *shape);

/* "gemm_gpu ...", "large/8" and so on, from outside: false when it is nothing this program has,
 * or no gain of 1 to 1000 or no time. */
bool tuned_read(struct tuned *into, const char *shape, const char *variant, double gain,
                int64_t at);
const char *tuned_variant_name(const struct tuned *self);

/* Seconds of a variant's runs: false: it could not be run, or its bytes were others. */
struct tuning_times {
    bool fits;
    double median, least;
};

/* The variant to take: the fastest by its median, if that is clearly (3 %) below the default's,
 * variant 0, and its best time below the default's best; else 0. */
size_t tuning_fastest(const struct tuning_times *times, size_t count);

/* The file, in `folder`, of one identity: lines of text, the last with a sum over all. What is
 * missing, damaged or of another identity leaves the table as it was; the log tells of
 * damage. */
void tuning_load(struct tuning *self, const char *folder);
bool tuning_save(const struct tuning *self, const char *folder, struct error *error);

#endif
