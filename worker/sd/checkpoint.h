/* A model part's weights by name, with every name accounted for.
 *
 * Wraps a safetensors file: each tensor is fetched with the shape it must have; at the end
 * what nobody asked for is an error, so that a wrong graph cannot load in silence.
 */
#ifndef FARM_CHECKPOINT_H
#define FARM_CHECKPOINT_H

#include "opencl/ops.h"
#include "worker/sd/safetensors.h"

struct checkpoint;

struct checkpoint *checkpoint_open(const char *path, struct error *error);
void checkpoint_close(struct checkpoint **self);

/* Whether a tensor of that name is there. */
bool checkpoint_has(const struct checkpoint *self, const char *name);

/* "model.safetensors: tensor unet.conv_in.weight: shape 320x9x3x3, expected 320x4x3x3".
 * dims 0: any shape. Marks the name as used. */
bool checkpoint_get(struct checkpoint *self, const char *name, const size_t *shape,
                    size_t dims, struct host_tensor *into, struct error *error);

/* The loaders of ops.h by prefix: PREFIX.weight and PREFIX.bias (bias only where asked). */
bool checkpoint_linear(struct checkpoint *self, struct gpu *gpu, enum dtype dtype,
                       const char *prefix, size_t in, size_t out, bool bias, bool geglu,
                       struct linear *into, struct error *error);
bool checkpoint_conv(struct checkpoint *self, struct gpu *gpu, enum dtype dtype,
                     const char *prefix, size_t in, size_t out, size_t size,
                     struct conv *into, struct error *error);
bool checkpoint_norm(struct checkpoint *self, struct gpu *gpu, const char *prefix,
                     size_t c, float eps, struct norm *into, struct error *error);

/* ERROR_INPUT naming the first tensor nobody asked for, harmless ones aside. */
bool checkpoint_all_used(const struct checkpoint *self, struct error *error);

#endif
