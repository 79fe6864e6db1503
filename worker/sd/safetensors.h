/* Safetensors files: mapped, strictly checked, read in place.
 *
 * Format: https://github.com/huggingface/safetensors: 8 bytes header length, JSON, data.
 * Refused: header above 8 MiB, offsets outside the file, overlapping or with holes, sizes
 * that do not fit dtype and shape, more than 4 dimensions, duplicate names.
 */
#ifndef FARM_SAFETENSORS_H
#define FARM_SAFETENSORS_H

#include "opencl/tensor.h"

struct safetensors;

struct safetensors *safetensors_open(const char *path, struct error *error);
void safetensors_close(struct safetensors **self);

size_t safetensors_count(const struct safetensors *self);
const char *safetensors_name(const struct safetensors *self, size_t i);

/* The tensor of that name, borrowed from the mapping; ERROR_INPUT naming file and tensor
 * when there is none or its type is not f32, f16 or bf16. */
bool safetensors_get(const struct safetensors *self, const char *name,
                     struct host_tensor *into, struct error *error);

/* Appends a file with one f32 tensor (results' latents): equal values, equal bytes. */
struct buffer;
bool safetensors_write(struct buffer *into, const char *name, const float *values,
                       const size_t *shape, size_t dims, struct error *error);

#endif
