/* What the operations mean, in plain C with double accumulation.
 *
 * Layouts are those of tensor.h, weights lie as in model files ([out, in, size, size]).
 * Tests compare every kernel with these, and a device proves itself against them (prove.h).
 * Outputs are double so that comparing costs no digits.
 */
#ifndef FARM_REFERENCE_H
#define FARM_REFERENCE_H

#include "opencl/ops.h"

double reference_activate(double x, enum activation activation);

/* y [rows, out or out / 2 with GEGLU]; bias and residual may be NULL. */
void reference_linear(double *y, const float *x, const float *weight, const float *bias,
                      const float *residual, size_t rows, size_t in, size_t out,
                      enum activation activation);

struct reference_conv {
    size_t n, h, w, in, out, size, stride, up_h, up_w; /* of x; up_*: 0 = as x */
    bool pad_end;
    enum activation activation;
    const float *weight, *bias, *row_bias, *residual; /* the last three may be NULL */
};
size_t reference_conv_height(const struct reference_conv *self);
size_t reference_conv_width(const struct reference_conv *self);
void reference_conv(double *y, const float *x, const struct reference_conv *self);

void reference_group_norm(double *y, const float *x, const float *gamma,
                          const float *beta, size_t n, size_t rows, size_t channels,
                          size_t groups, double eps, enum activation activation);
void reference_layer_norm(double *y, const float *x, const float *gamma,
                          const float *beta, size_t rows, size_t channels, double eps);

/* key_counts NULL: all. */
void reference_attention(double *y, const float *q, const float *k, const float *v,
                         size_t n, size_t queries, size_t keys, size_t channels,
                         size_t heads, bool causal, const int32_t *key_counts);

/* |got - want| / |want|, Euclidean; infinite when a value of got is not finite. */
double relative_error(const float *got, const double *want, size_t count);

#endif
