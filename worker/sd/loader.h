/* Layers from a checkpoint onto the device, so that loading reads like the forward pass.
 *
 * The first error stays in the loader and later loads do nothing; the layers they were to
 * fill stay zero, which every clear function takes. Names are printf formats and lack the
 * ending: ".weight" and ".bias" are added.
 */
#ifndef FARM_LOADER_H
#define FARM_LOADER_H

#include "worker/sd/checkpoint.h"

struct loader {
    struct checkpoint *from;
    struct gpu *gpu;
    enum dtype dtype; /* of weights on the device */
    bool failed;
    struct error error;
};

enum linear_form { LINEAR_BIAS, LINEAR_NO_BIAS, LINEAR_GEGLU };

void load_linear(struct loader *self, struct linear *into, size_t in, size_t out,
                 enum linear_form form, const char *name, ...)
    __attribute__((format(printf, 6, 7)));
void load_conv(struct loader *self, struct conv *into, size_t in, size_t out,
               size_t size, const char *name, ...)
    __attribute__((format(printf, 6, 7)));
/* The same without a bias. */
void load_conv_plain(struct loader *self, struct conv *into, size_t in, size_t out,
                     size_t size, const char *name, ...)
    __attribute__((format(printf, 6, 7)));
void load_norm(struct loader *self, struct norm *into, size_t c, float eps,
               const char *name, ...) __attribute__((format(printf, 5, 6)));

/* NAME.weight [rows, c] as a tensor [1, 1, rows, c] of the loader's dtype. */
void load_table(struct loader *self, struct tensor *into, size_t rows, size_t c,
                const char *name, ...) __attribute__((format(printf, 5, 6)));

/* Heap array of zeroed layers; fails the loader when memory is gone. */
void *load_array(struct loader *self, size_t count, size_t size);

#endif
