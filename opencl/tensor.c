#include "opencl/tensor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/half.h"

size_t dtype_size(enum dtype dtype)
{
    return dtype == DTYPE_F16 ? 2 : 4;
}

size_t tensor_count(const struct tensor *self)
{
    return self->n * self->h * self->w * self->c;
}

bool tensor_new(struct tensor *self, struct gpu *gpu, enum dtype dtype, size_t n,
                size_t h, size_t w, size_t c, struct error *error)
{
    *self = (struct tensor){
        .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .slot = SIZE_MAX};
    size_t bytes = dtype_size(dtype), sizes[] = {n, h, w, c};
    for (int i = 0; i < 4; i++)
        if (__builtin_mul_overflow(bytes, sizes[i], &bytes))
            return error_set_kind(error, ERROR_MEMORY,
                                  "a tensor of %zu x %zu x %zu x %zu has no size", n, h,
                                  w, c);
    self->memory = gpu_allocate(gpu, bytes, error);
    return self->memory != NULL;
}

void tensor_destroy(struct tensor *self, struct gpu *gpu)
{
    assert(self->slot == SIZE_MAX || !self->memory);
    gpu_release(gpu, &self->memory);
    *self = (struct tensor){.slot = SIZE_MAX};
}

bool tensor_upload(struct tensor *self, struct gpu *gpu, const float *values,
                   struct error *error)
{
    size_t count = tensor_count(self);
    if (self->dtype == DTYPE_F32)
        return gpu_write(gpu, self->memory, values, count * sizeof *values, error);
    uint16_t *halves = malloc(count * sizeof *halves + 1);
    if (!halves)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu values", count);
    halves_from_floats(halves, values, count);
    bool ok = gpu_write(gpu, self->memory, halves, count * sizeof *halves, error);
    free(halves);
    return ok;
}

bool tensor_download(const struct tensor *self, struct gpu *gpu, float *values,
                     struct error *error)
{
    size_t count = tensor_count(self);
    if (self->dtype == DTYPE_F32)
        return gpu_read(gpu, self->memory, values, count * sizeof *values, error);
    uint16_t *halves = malloc(count * sizeof *halves + 1);
    if (!halves)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu values", count);
    bool ok = gpu_read(gpu, self->memory, halves, count * sizeof *halves, error);
    if (ok)
        halves_to_floats(values, halves, count);
    free(halves);
    return ok;
}

void nchw_to_nhwc(float *out, const float *in, size_t n, size_t c, size_t h, size_t w)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c; k++)
            for (size_t p = 0; p < h * w; p++)
                out[(i * h * w + p) * c + k] = in[(i * c + k) * h * w + p];
}

void nhwc_to_nchw(float *out, const float *in, size_t n, size_t c, size_t h, size_t w)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c; k++)
            for (size_t p = 0; p < h * w; p++)
                out[(i * c + k) * h * w + p] = in[(i * h * w + p) * c + k];
}

size_t host_tensor_count(const struct host_tensor *self)
{
    size_t count = 1;
    for (size_t i = 0; i < self->dims; i++)
        count *= self->shape[i];
    return count;
}

static void widen_bf16(float *into, const uint16_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t wide = (uint32_t)from[i] << 16;
        memcpy(&into[i], &wide, sizeof wide);
    }
}

void host_tensor_floats(const struct host_tensor *self, size_t first, size_t count,
                        float *into)
{
    const uint8_t *data = self->data;
    if (self->type == HOST_F32) {
        memcpy(into, data + first * 4, count * 4);
        return;
    }
    uint16_t bits[512]; /* aligned; hosts are little-endian, as OpenCL's devices */
    for (size_t done = 0, part; done < count; done += part) {
        part = count - done < 512 ? count - done : 512;
        memcpy(bits, data + (first + done) * 2, part * sizeof *bits);
        if (self->type == HOST_F16)
            halves_to_floats(into + done, bits, part);
        else
            widen_bf16(into + done, bits, part);
    }
}
