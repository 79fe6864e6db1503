#include <assert.h>

#include "opencl/ops.h"
#include "opencl/winograd.h"

bool conv_load(struct conv *self, struct gpu *gpu, enum dtype dtype,
               const struct host_tensor *weight, const struct host_tensor *bias,
               struct error *error)
{
    assert(weight->dims == 2 ||
           (weight->dims == 4 && weight->shape[2] == weight->shape[3]));
    *self = (struct conv){.in = weight->shape[1],
                          .out = weight->shape[0],
                          .size = weight->dims == 4 ? weight->shape[2] : 1};
    return pack_weights(&self->packed, gpu, dtype, false, false, weight, bias, error);
}

void conv_clear(struct conv *self, struct gpu *gpu)
{
    pack_clear(&self->packed, gpu);
}

void conv2d(struct stream *s, struct tensor y, struct tensor x, const struct conv *w,
            const struct conv_options *options)
{
    struct gemm gemm = {
        .y = y,
        .x = x,
        .weights = &w->packed,
        .size = w->size,
        .stride = options->stride ? options->stride : 1,
        .pad = options->pad_end ? 0 : w->size / 2,
        .up_h = options->up_h ? options->up_h : x.h,
        .up_w = options->up_w ? options->up_w : x.w,
        .pictures = x.n,
        .activation = options->activation,
        .row_bias = options->row_bias,
        .residual = options->residual,
    };
    size_t all_pad = options->pad_end ? 1 : 2 * gemm.pad;
    assert(x.c == w->in && y.c == w->out && x.n == y.n);
    assert(y.h == (gemm.up_h + all_pad - w->size) / gemm.stride + 1);
    assert(y.w == (gemm.up_w + all_pad - w->size) / gemm.stride + 1);
    assert(options->activation != ACTIVATION_GEGLU);
    (void)all_pad;
    if (winograd_fits(stream_gpu(s), &gemm))
        winograd_run(s, &gemm);
    else
        gemm_run(s, &gemm);
}
