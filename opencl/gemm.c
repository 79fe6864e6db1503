#include "opencl/gemm.h"

#include <assert.h>

#include "opencl/launch.h"

void gemm_run(struct stream *s, const struct gemm *g)
{
    struct launch launch;
    struct tensor y = g->y, x = g->x;
    const struct packed *w = g->weights;
    assert(x.dtype == y.dtype && w->k == g->size * g->size * x.c);
    assert(!g->residual || (g->residual->dtype == y.dtype &&
                            tensor_count(g->residual) == tensor_count(&y)));
    assert(!g->row_bias || (g->row_bias->dtype == y.dtype && g->row_bias->c == y.c &&
                            tensor_count(g->row_bias) == y.n * y.c));
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DW_HALF=%d -DPANEL=%zu -DACTIVATION=%d",
        x.dtype == DTYPE_F16, y.dtype == DTYPE_F16, w->dtype == DTYPE_F16,
        pack_panel(stream_gpu(s)), (int)g->activation);
    if (!launch_begin(&launch, s, "gemm.cl", "gemm", options.text))
        return;
    size_t rows = y.n * y.h * y.w;
    launch_buffer(&launch, y.memory);
    launch_buffer(&launch, x.memory);
    launch_buffer(&launch, w->weights);
    launch_buffer(&launch, w->bias);
    launch_buffer(&launch, g->row_bias ? g->row_bias->memory : NULL);
    launch_buffer(&launch, g->residual ? g->residual->memory : NULL);
    size_t sizes[] = {rows, y.c,     y.h,     y.w,     x.c,       x.h,
                      x.w,  g->up_h, g->up_w, g->size, g->stride, g->pad};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        launch_size(&launch, sizes[i]);
    launch_run(&launch, (size_t[3]){w->panels, rows, 1}, NULL);
}
