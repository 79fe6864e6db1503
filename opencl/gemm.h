/* The matrix product below linear and conv2d: y = act(A W^T + b + row_bias) + residual.
 *
 * A's rows are x's (linear, 1x1) or gathered from it (convolution): row (n, oy, ox) holds
 * the size x size neighbourhood of x, enlarged to up_h x up_w, at (oy, ox) stride - pad.
 */
#ifndef FARM_GEMM_H
#define FARM_GEMM_H

#include "opencl/ops.h"
#include "opencl/pack.h"
#include "opencl/tuning.h"

struct gemm {
    struct tensor y, x;
    const struct packed *weights;
    size_t size, stride, pad, up_h, up_w; /* 1, 1, 0, x.h, x.w: no gathering */
    size_t pictures;                      /* among which the rows are divided */
    enum activation activation;
    const struct tensor *row_bias, *residual; /* NULL: none */
};

/* Multiplications and additions of the product. */
double gemm_operations(const struct gemm *gemm);

/* As the variant that tuning.h knows for its class. */
void gemm_run(struct stream *s, const struct gemm *gemm);

/* Whether this device can run the product's kernel as that variant, which is then no other name
 * of its default. */
bool gemm_fits(const struct gpu *gpu, enum tuning_kernel kernel, size_t variant);

#endif
