#include <assert.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

void rows_spread(struct stream *s, struct tensor y, struct tensor x, cl_mem source)
{
    struct launch launch;
    size_t row = x.h * x.w * x.c;
    assert(y.h * y.w * y.c == row);
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DY_HALF=%d", x.dtype == DTYPE_F16, y.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "rows.cl", "rows_spread", options.text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_buffer(&launch, source);
    launch_size(&launch, row);
    launch_size(&launch, x.n);
    launch_run(&launch, (size_t[3]){row, y.n, 1}, NULL);
}

void rows_compose(struct stream *s, struct tensor y, struct tensor x, cl_mem source,
                  cl_mem weight)
{
    struct launch launch;
    size_t row = x.h * x.w * x.c;
    assert(y.h * y.w * y.c == row && y.n % 2 == 0 && x.n >= y.n);
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DY_HALF=%d", x.dtype == DTYPE_F16, y.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "rows.cl", "rows_compose", options.text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_buffer(&launch, source);
    launch_buffer(&launch, weight);
    launch_size(&launch, row);
    launch_size(&launch, y.n / 2);
    launch_size(&launch, x.n);
    launch_run(&launch, (size_t[3]){row, y.n / 2, 1}, NULL);
}
