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
#include "opencl/matrix.h"
#include "opencl/profile.h"

struct gpu_info {
    char name[128], vendor[128], driver[128], platform[128];
    char kind[192]; /* devices of one kind compute the same bytes */
    bool is_cpu;
    bool has_fp16;  /* cl_khr_fp16: half arithmetic; storage needs only vload_half */
    unsigned units; /* compute units */
    unsigned native_width; /* floats in a native vector: 4, 8, 16; 1 on most GPUs */
    unsigned intel_lanes; /* of Intel's GPUs: items of the smallest sub-group; else 0 */
    size_t memory, largest_allocation, local_memory; /* bytes */
    size_t alignment;                                /* bytes, of sub-buffers */
    size_t group_most;                               /* work-items of a work-group */
};

struct gpu;

/* Every device of every platform, in a stable order: GPUs first. Heap array; *count may
 * come out 0, which is no error here. */
bool gpu_list(struct gpu_info **infos, size_t *count, struct error *error);

/* Opens the device at `index` of that order. ERROR_NOT_FOUND with what is there when there
 * is none (and how to get one when there is no device at all). Allocations beyond the device's
 * memory are ERROR_MEMORY; FARM_GPU_MEMORY (bytes, or 512M, 6G) says it has less,
 * FARM_GPU_UNITS how many compute units work is divided for. */
struct gpu *gpu_open(size_t index, struct error *error);
void gpu_close(struct gpu **self);

/* The same device to plan for: memory is counted and never taken, however much there is; what
 * is written, compiled or enqueued is forgotten, and what is read are zeros. So a model's plans
 * are made as they will be, by the code that makes them. Its matrix unit counts as proved. */
struct gpu *gpu_open_plan(size_t index, struct error *error);
bool gpu_only_plans(const struct gpu *self);
const struct gpu_info *gpu_info(const struct gpu *self);

/* Measures what the device reaches and has every kernel timed from now on; called before
 * anything was enqueued. */
bool gpu_start_profile(struct gpu *self, struct error *error);
struct profile *gpu_profile(struct gpu *self); /* NULL: none */

/* Waits for everything enqueued; reports an error that came up meanwhile. */
bool gpu_finish(struct gpu *self, struct error *error);

/* ---- For this room. Memory: contents undefined, at least one byte; counted. */
cl_mem gpu_allocate(struct gpu *self, size_t bytes, struct error *error);
void gpu_release(struct gpu *self, cl_mem *memory);

/* A part of memory as memory of its own; offset a multiple of info.alignment. Not
 * counted. */
cl_mem gpu_part(struct gpu *self, cl_mem memory, size_t offset, size_t bytes,
                struct error *error);
void gpu_release_part(struct gpu *self, cl_mem *part);

/* Blocking. */
bool gpu_write(struct gpu *self, cl_mem memory, const void *from, size_t bytes,
               struct error *error);
bool gpu_read(struct gpu *self, cl_mem memory, void *into, size_t bytes,
              struct error *error);

/* The whole memory as host memory, to be written only; NULL on error. Given back by
 * gpu_unmap, before which no kernel may use it. */
void *gpu_map(struct gpu *self, cl_mem memory, size_t bytes, struct error *error);
bool gpu_unmap(struct gpu *self, cl_mem memory, void *mapped, struct error *error);

/* True when `code` is CL_SUCCESS; else an error that names call, `subject` ("": none) and
 * code, of kind ERROR_MEMORY where memory was missing, else ERROR_DEVICE. */
bool gpu_check(cl_int code, const char *call, const char *subject, struct error *error);

/* Enqueues a kernel of three dimensions; local divides global. `name`, a constant, and cost
 * are for the profile. */
bool gpu_enqueue(struct gpu *self, cl_kernel kernel, const char *name,
                 const size_t global[3], const size_t local[3], struct cost cost,
                 struct error *error);
bool gpu_flush(struct gpu *self, struct error *error);

/* Whether ops take their kernels for CPUs (explicit vectors, one work-item a group) or
 * those for GPUs. FARM_GPU_PATH=gpu|cpu|cpu8|cpu16 in the environment overrides the device's type;
 * cpu8, cpu16: with vectors of so many floats, as AVX2 and AVX-512 have them. */
bool gpu_is_cpu_path(const struct gpu *self);

/* The matrix unit that products and attention of f16 go to, NULL: none. Its name is then at the end of
 * info.kind. A forced one is in use from the start, the device's own is a candidate until
 * gpu_prove() saw it compute. Weights packed before it changes do not fit after. */
const struct matrix_unit *gpu_matrix(const struct gpu *self);
const struct matrix_unit *gpu_matrix_candidate(const struct gpu *self);
void gpu_use_matrix(struct gpu *self, const struct matrix_unit *unit);

struct programs;
cl_context gpu_context(const struct gpu *self);
cl_command_queue gpu_queue(const struct gpu *self);
cl_device_id gpu_device(const struct gpu *self);
struct programs *gpu_programs(const struct gpu *self);

/* Kernels enqueued and bytes of device memory held since the device was opened. */
uint64_t gpu_launches(const struct gpu *self);
size_t gpu_allocated(const struct gpu *self);

#endif
