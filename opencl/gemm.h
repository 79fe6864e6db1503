/* The matrix product below linear and conv2d: y = act(A W^T + b + row_bias) + residual.
 *
 * A's rows are x's (linear, 1x1) or gathered from it (convolution): row (n, oy, ox) holds
 * the size x size neighbourhood of x, enlarged to up_h x up_w, at (oy, ox) stride - pad.
 */
#ifndef FARM_GEMM_H
#define FARM_GEMM_H

#include "opencl/ops.h"
#include "opencl/pack.h"

struct gemm {
    struct tensor y, x;
    const struct packed *weights;
    size_t size, stride, pad, up_h, up_w; /* 1, 1, 0, x.h, x.w: no gathering */
    enum activation activation;
    const struct tensor *row_bias, *residual; /* NULL: none */
};

/* Multiplications and additions of the product. */
double gemm_operations(const struct gemm *gemm);

void gemm_run(struct stream *s, const struct gemm *gemm);

#endif
