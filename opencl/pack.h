/* Weights in the order in which the matrix kernels read them.
 *
 * W [out, in, size, size] becomes panels of `panel` columns, zero-padded:
 *     packed[column / panel][k][column % panel],   k = (dy size + dx) in + channel
 * For a matrix unit (gpu_matrix(), f16) pairs of k lie together, k padded by zeros to a
 * multiple of PACK_DEPTH: packed[column / panel][k / 2][column % panel][k % 2].
 * With GEGLU, columns come in groups (a panel on CPUs, 8 on GPUs) whose first half are values
 * and whose second half their gates.
 */
#ifndef FARM_PACK_H
#define FARM_PACK_H

#include "opencl/tensor.h"

enum { PACK_DEPTH = 32 };

struct packed {
    cl_mem weights;
    cl_mem bias; /* f32, in the same order and padded; NULL: none */
    enum dtype dtype;
    size_t k, panel, panels; /* panel: columns of one */
    bool for_clblast;        /* one panel; see gemm_clblast.h */
    bool paired;             /* for a matrix unit */
    cl_mem
        *u; /* 3x3: where winograd.h keeps its weights, empty until needed; else NULL */
};

/* Bytes of the weights as they are packed. */
double pack_bytes(const struct packed *self);

/* Columns of a panel on this device. */
size_t pack_panel(const struct gpu *gpu);

/* Kept whole, as one panel of [k][columns] for a library's product, when `for_clblast`.
 * `weight` has 2 or 4 dimensions; `bias` may be NULL. */
bool pack_weights(struct packed *self, struct gpu *gpu, enum dtype dtype, bool geglu,
                  bool for_clblast, const struct host_tensor *weight,
                  const struct host_tensor *bias, struct error *error);
void pack_clear(struct packed *self, struct gpu *gpu);

#endif
