/* 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3), on CPUs: a quarter of the products,
 * with weights U four times the size.
 *
 * U is kept with the weights of a layer whose work hardly pays for making it; those of a
 * large picture are made anew each time, in the arena. The result is the same.
 */
#ifndef FARM_WINOGRAD_H
#define FARM_WINOGRAD_H

#include "opencl/gemm.h"

/* Whether this convolution is computed so: a function of device and shape but for the batch.
 * FARM_CONV=direct never does, FARM_CONV=winograd wherever it can. */
bool winograd_fits(const struct gpu *gpu, const struct gemm *gemm);

/* As gemm_run. */
void winograd_run(struct stream *s, const struct gemm *gemm);

#endif
