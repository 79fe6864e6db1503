/* Tensors on the device, NHWC, and views of weights on the host.
 *
 * Activations are [n, h, w, c] with c contiguous; tokens are [n, 1, tokens, width]; a matrix
 * of GEMM has n*h*w rows and c columns. Storage is f32 or f16, arithmetic always f32.
 */
#ifndef FARM_TENSOR_H
#define FARM_TENSOR_H

#include "opencl/gpu.h"

enum dtype { DTYPE_F32, DTYPE_F16 };

struct tensor {
    enum dtype dtype;
    size_t n, h, w, c;
    cl_mem memory; /* NULL while a stream is planning */
    size_t slot;   /* which of its stream's tensors it is; SIZE_MAX: none, owned */
};

size_t dtype_size(enum dtype dtype);
size_t tensor_count(const struct tensor *self); /* n h w c */

/* A tensor with memory of its own (weights, latents, context); contents undefined. */
bool tensor_new(struct tensor *self, struct gpu *gpu, enum dtype dtype, size_t n,
                size_t h, size_t w, size_t c, struct error *error);
void tensor_destroy(struct tensor *self, struct gpu *gpu);

/* Blocking copies of tensor_count() floats in NHWC order, converted on the way. */
bool tensor_upload(struct tensor *self, struct gpu *gpu, const float *values,
                   struct error *error);
bool tensor_download(const struct tensor *self, struct gpu *gpu, float *values,
                     struct error *error);

/* NCHW <-> NHWC on the host; out must not be in. */
void nchw_to_nhwc(float *out, const float *in, size_t n, size_t c, size_t h, size_t w);
void nhwc_to_nchw(float *out, const float *in, size_t n, size_t c, size_t h, size_t w);

/* A weight as it lies in a mapped file; borrowed. */
enum host_type { HOST_F32, HOST_F16, HOST_BF16 };
struct host_tensor {
    enum host_type type;
    size_t dims, shape[4];
    const void *data; /* possibly unaligned, little-endian */
};
size_t host_tensor_count(const struct host_tensor *self);

/* Values first .. first + count - 1 as floats. */
void host_tensor_floats(const struct host_tensor *self, size_t first, size_t count,
                        float *into);

#endif
