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

/* `name` stands in messages ("unet/diffusion_pytorch_model.safetensors") where `path` may
 * be a hash in a cache; copied. */
struct checkpoint *checkpoint_open(const char *path, const char *name,
                                   struct error *error);
void checkpoint_close(struct checkpoint **self);

/* Whether a tensor of that name is there. */
bool checkpoint_has(const struct checkpoint *self, const char *tensor);

/* "model.safetensors: tensor unet.conv_in.weight: shape 320x9x3x3, expected 320x4x3x3".
 * A 1x1 convolution's [out, in, 1, 1] is taken where [out, in] is expected. Marks the name
 * as used. `into` is borrowed from the mapping. */
bool checkpoint_get(struct checkpoint *self, const char *tensor, const size_t *shape,
                    size_t dims, struct host_tensor *into, struct error *error);

/* ERROR_INPUT naming the first tensor nobody asked for, harmless ones aside. */
bool checkpoint_all_used(const struct checkpoint *self, struct error *error);

#endif
