/* An OpenCL device: its properties, context and one in-order queue.
 *
 * A gpu belongs to one thread. Every OpenCL call of the project goes through a thin wrapper
 * that names the call and the error ("clEnqueueNDRangeKernel conv2d: CL_OUT_OF_RESOURCES").
 */
#ifndef FARM_GPU_H
#define FARM_GPU_H

#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct gpu_info {
    char name[128], vendor[128], driver[128], platform[128];
    char kind[160]; /* devices of one kind compute the same bytes */
    bool is_cpu;
    bool has_fp16;  /* cl_khr_fp16: half arithmetic; storage needs only vload_half */
    unsigned units; /* compute units */
    unsigned native_width; /* floats in a native vector: 4, 8, 16; 1 on most GPUs */
    size_t memory, largest_allocation, local_memory; /* bytes */
    size_t alignment;                                /* bytes, of sub-buffers */
    size_t group_most;                               /* work-items of a work-group */
};

struct gpu;

/* Every device of every platform, in a stable order: GPUs first. Heap array; *count may
 * come out 0, which is no error here. */
bool gpu_list(struct gpu_info **infos, size_t *count, struct error *error);

/* Opens the device at `index` of that order. ERROR_NOT_FOUND with what is there when there
 * is none (and how to get one when there is no device at all). */
struct gpu *gpu_open(size_t index, struct error *error);
void gpu_close(struct gpu **self);
const struct gpu_info *gpu_info(const struct gpu *self);

/* Waits for everything enqueued; reports an error that came up meanwhile. */
bool gpu_finish(struct gpu *self, struct error *error);

/* Kernels enqueued and bytes of device memory held since the device was opened. */
uint64_t gpu_launches(const struct gpu *self);
size_t gpu_allocated(const struct gpu *self);

#endif
