/* A model part's weights by name, with every name accounted for.
 *
 * Wraps one safetensors file, or the shards of one; each tensor is fetched with the shape it
 * must have; at the end what nobody asked for is an error, so that a wrong graph cannot load
 * in silence. Whoever asks uses diffusers' names; a checkpoint of another layout is told how
 * to read them.
 */
#ifndef FARM_CHECKPOINT_H
#define FARM_CHECKPOINT_H

#include "opencl/ops.h"
#include "worker/sd/layer_sites.h"
#include "worker/sd/model_files.h"
#include "worker/sd/safetensors.h"

struct checkpoint;

/* `name` stands in messages ("unet/diffusion_pytorch_model.safetensors") where `path` may
 * be a hash in a cache; copied. */
struct checkpoint *checkpoint_open(const char *path, const char *name,
                                   struct error *error);

/* The same for weights in `count` files. ERROR_INPUT when two hold a tensor of one name. */
struct checkpoint *checkpoint_open_shards(const struct model_file *const *files,
                                          size_t count, struct error *error);
void checkpoint_close(struct checkpoint **self);

/* How a tensor lies in a file of another layout. */
struct stored {
    char name[256];
    size_t slice, slices; /* rows of one of `slices` equal parts; 0 slices: all */
    bool transposed;      /* a matrix [in, out] */
};

/* From here on names are put through `store` (NULL: as they are), which returns false for
 * what the layout has no place for. `owner` is borrowed. */
typedef bool checkpoint_store(const void *owner, const char *tensor,
                              struct stored *into);
void checkpoint_translate(struct checkpoint *self, checkpoint_store *store,
                          const void *owner);

/* The first of its files. */
const struct tensor_file *checkpoint_file(const struct checkpoint *self);

/* Whether a tensor of that name is there. */
bool checkpoint_has(const struct checkpoint *self, const char *tensor);

/* What the file says of it, borrowed; NULL: there is none. */
const struct tensor_entry *checkpoint_entry(const struct checkpoint *self,
                                            const char *tensor);

/* "model.safetensors: tensor unet.conv_in.weight: shape 320x9x3x3, expected 320x4x3x3".
 * A 1x1 convolution's [out, in, 1, 1] is taken where [out, in] is expected. Marks the name
 * as used. `into` is borrowed from the mapping, or from the checkpoint when transposed. */
bool checkpoint_get(struct checkpoint *self, const char *tensor, const size_t *shape,
                    size_t dims, struct host_tensor *into, struct error *error);

/* Counts all tensors whose names begin so as used. */
void checkpoint_forgive(struct checkpoint *self, const char *prefix);

/* Layers loaded from here on belong to that part of the model (enum lora_part) and are noted
 * as its sites; of LORA_PARTS, which is none, they are not. */
void checkpoint_part(struct checkpoint *self, unsigned part);

/* Notes a layer's site, for as long as the checkpoint is open, where a part was named; a
 * weight that does not lie in the mapping as it is used is left out. */
bool checkpoint_note(struct checkpoint *self, const struct layer_site *site,
                     struct error *error);
const struct layer_sites *checkpoint_sites(const struct checkpoint *self);

/* ERROR_INPUT naming the first tensor nobody asked for, harmless ones aside. */
bool checkpoint_all_used(const struct checkpoint *self, struct error *error);

#endif
