/* Weights of a safetensors file (layout/tensor_file.h) as the device takes them. */
#ifndef FARM_SAFETENSORS_H
#define FARM_SAFETENSORS_H

#include "layout/tensor_file.h"
#include "opencl/tensor.h"

struct safetensors;

struct safetensors *safetensors_open(const char *path, struct error *error);
void safetensors_close(struct safetensors **self);

size_t safetensors_count(const struct safetensors *self);
const char *safetensors_name(const struct safetensors *self, size_t i); /* sorted */
const struct tensor_file *safetensors_file(const struct safetensors *self);

/* The tensor of that name, borrowed from the mapping; ERROR_INPUT naming file and tensor
 * when there is none or its type is not f32, f16 or bf16. */
bool safetensors_get(const struct safetensors *self, const char *name,
                     struct host_tensor *into, struct error *error);

/* Appends a file with one f32 tensor (results' latents): equal values, equal bytes. */
struct buffer;
bool safetensors_write(struct buffer *into, const char *name, const float *values,
                       const size_t *shape, size_t dims, struct error *error);

#endif
