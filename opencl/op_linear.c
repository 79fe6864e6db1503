#include <assert.h>

#include "opencl/gemm.h"
#include "opencl/gemm_clblast.h"
#include "opencl/ops.h"

bool linear_load(struct linear *self, struct gpu *gpu, enum dtype dtype, bool geglu,
                 const struct host_tensor *weight, const struct host_tensor *bias,
                 struct error *error)
{
    *self = (struct linear){.in = host_tensor_count(weight) / weight->shape[0],
                            .out = weight->shape[0],
                            .geglu = geglu};
    assert(self->in == weight->shape[1]);
    return pack_weights(&self->packed, gpu, dtype, geglu, clblast_wanted(dtype), weight,
                        bias, error);
}

void linear_clear(struct linear *self, struct gpu *gpu)
{
    pack_clear(&self->packed, gpu);
}

void linear(struct stream *s, struct tensor y, struct tensor x, const struct linear *w,
            enum activation activation, const struct tensor *residual)
{
    assert(w->geglu == (activation == ACTIVATION_GEGLU));
    assert(x.c == w->in && y.c == (w->geglu ? w->out / 2 : w->out));
    assert(x.n * x.h * x.w == y.n * y.h * y.w);
    struct gemm gemm = {.y = y,
                        .x = x,
                        .weights = &w->packed,
                        .size = 1,
                        .stride = 1,
                        .up_h = x.h,
                        .up_w = x.w,
                        .pictures = x.n,
                        .activation = activation,
                        .residual = residual};
    /* Rows are rows, however the two are shaped. */
    gemm.y.n = gemm.x.n = 1;
    gemm.y.h = gemm.x.h = gemm.up_h = 1;
    gemm.y.w = gemm.x.w = gemm.up_w = x.n * x.h * x.w;
    gemm_run(s, &gemm);
}
