#include "opencl/gemm.h"

#include <assert.h>
#include <limits.h>

#include "opencl/gemm_clblast.h"
#include "opencl/launch.h"

/* How gemm_cpu.cl divides the work: rows and columns of a group and the k of one step. The
 * first that fits in local memory is taken: a block of A and its sums then stay in the
 * second-level cache, a panel of W and a few rows of A in the first. None of the three
 * changes the order of additions. */
struct division {
    size_t rows, columns, depth;
};

static const struct division *divide(const struct gpu_info *info, size_t panel,
                                     bool widens)
{
    static const struct division divisions[] = {
        {96, 320, 320}, {96, 256, 320}, {48, 256, 320}, {48, 128, 128}, {24, 64, 64}};
    enum { LAST = sizeof divisions / sizeof *divisions - 1 };
    for (size_t i = 0; i < LAST; i++) {
        const struct division *d = &divisions[i];
        size_t floats =
            d->rows * (d->depth + d->columns) + (widens ? d->depth * panel : 0);
        if (floats * sizeof(float) <= info->local_memory)
            return d;
    }
    return &divisions[LAST];
}

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

double gemm_operations(const struct gemm *g)
{
    return 2 * (double)(g->y.n * g->y.h * g->y.w) * (double)g->weights->k *
           (double)(g->activation == ACTIVATION_GEGLU ? 2 * g->y.c : g->y.c);
}

static void launch_operands(struct launch *launch, const struct gemm *g)
{
    struct tensor y = g->y, x = g->x;
    launch_tensor(launch, y);
    launch_tensor(launch, x);
    launch_read(launch, g->weights->weights, pack_bytes(g->weights));
    launch_buffer(launch, g->weights->bias);
    launch_buffer(launch, g->row_bias ? g->row_bias->memory : NULL);
    launch_buffer(launch, g->residual ? g->residual->memory : NULL);
    size_t sizes[] = {y.n * y.h * y.w, y.c,     y.h,     y.w,       x.c,   x.h, x.w,
                      g->up_h,         g->up_w, g->size, g->stride, g->pad};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        launch_size(launch, sizes[i]);
    launch_operations(launch, gemm_operations(g));
    launch_op(launch, g->size == 1 ? "linear" : g->size == 3 ? "conv 3x3" : "conv");
}

/* Blocks of equal height, and enough groups for every core. */
static void run_on_cpu(struct stream *s, const struct gemm *g, const char *types)
{
    struct launch launch;
    const struct gpu_info *info = gpu_info(stream_gpu(s));
    const struct packed *w = g->weights;
    size_t tall = w->panel == 32 ? 12 : 6;
    const struct division *d = divide(info, w->panel, w->dtype == DTYPE_F16);
    size_t span_most = d->columns / w->panel;
    struct launch_options options = launch_options(
        "%s -DWIDTH=%zu -DBLOCK_MOST=%zu -DSPAN_MOST=%zu -DDEPTH=%zu -DGATHER=%d",
        types, w->panel / 2, d->rows, span_most, d->depth,
        g->size != 1 || g->stride != 1 || g->up_h != g->x.h || g->up_w != g->x.w);
    if (!launch_begin(&launch, s, "gemm_cpu.cl", "gemm", options.text))
        return;
    size_t rows = g->y.n * g->y.h * g->y.w, blocks = divide_up(rows, d->rows);
    size_t block = divide_up(divide_up(rows, blocks), tall) * tall;
    size_t span = divide_up(w->panels, divide_up(w->panels, span_most));
    while (span > 4 && blocks * divide_up(w->panels, span) < 4 * (size_t)info->units)
        span = divide_up(span, 2);
    launch_operands(&launch, g);
    launch_size(&launch, w->panels);
    launch_size(&launch, block);
    launch_size(&launch, span);
    launch_run(&launch,
               (size_t[3]){divide_up(w->panels, span), divide_up(rows, block), 1},
               (size_t[3]){1, 1, 1});
}

/* Tiles small enough that a few hundred groups share the work; their height does not change
 * the order of additions either. */
static void run_on_gpu(struct stream *s, const struct gemm *g, const char *types)
{
    struct launch launch;
    size_t rows = g->y.n * g->y.h * g->y.w, panels = g->weights->panels;
    size_t tile = 128, groups = 2 * (size_t)gpu_info(stream_gpu(s))->units;
    while (tile > 32 && divide_up(rows, tile) * panels < groups)
        tile /= 2;
    struct launch_options options = launch_options("%s -DTILE_M=%zu", types, tile);
    if (!launch_begin(&launch, s, "gemm_gpu.cl", "gemm", options.text))
        return;
    launch_operands(&launch, g);
    launch_run(&launch, (size_t[3]){128, divide_up(rows, tile), panels},
               (size_t[3]){128, 1, 1});
}

static void run_on_matrix_unit(struct stream *s, const struct gemm *g,
                               const char *types)
{
    struct launch launch;
    const struct matrix_unit *unit = gpu_matrix(stream_gpu(s));
    size_t rows = g->y.n * g->y.h * g->y.w, panels = g->weights->panels;
    size_t columns = panels * g->weights->panel;
    const struct matrix_tile *tile =
        matrix_tile(unit, gpu_info(stream_gpu(s))->units, rows, columns);
    struct launch_options options = launch_options(
        "%s %s -DWHOLE=%d -DTILE_M=%u -DTILE_N=%u -DSPAN_M=%u -DSPAN_N=%u", types,
        unit->options, g->x.c % 8 == 0, tile->rows, tile->columns, tile->span_rows,
        tile->span_columns);
    if (!launch_begin(&launch, s, "gemm_matrix.cl", "gemm", options.text))
        return;
    size_t items = matrix_items(unit, tile);
    launch_operands(&launch, g);
    launch_size(&launch, panels);
    launch_run(&launch,
               (size_t[3]){items, divide_up(rows, tile->rows),
                           divide_up(columns, tile->columns)},
               (size_t[3]){items, 1, 1});
}

void gemm_run(struct stream *s, const struct gemm *g)
{
    const struct packed *w = g->weights;
    struct tensor y = g->y, x = g->x;
    assert(x.dtype == y.dtype && (!w->paired || x.dtype == DTYPE_F16));
    assert((g->up_h == x.h && g->up_w == x.w) ||
           (g->up_h * x.h <= INT_MAX && g->up_w * x.w <= INT_MAX));
    assert(w->k == g->size * g->size * x.c);
    assert(!g->residual || (g->residual->dtype == y.dtype &&
                            tensor_count(g->residual) == tensor_count(&y)));
    assert(!g->row_bias || (g->row_bias->dtype == y.dtype && g->row_bias->c == y.c &&
                            tensor_count(g->row_bias) == y.n * y.c));
    struct launch_options types = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DW_HALF=%d -DACTIVATION=%d", x.dtype == DTYPE_F16,
        y.dtype == DTYPE_F16, w->dtype == DTYPE_F16, (int)g->activation);
    if (w->for_clblast)
        run_on_clblast(s, g, types.text);
    else if (gpu_is_cpu_path(stream_gpu(s)))
        run_on_cpu(s, g, types.text);
    else if (w->paired)
        run_on_matrix_unit(s, g, types.text);
    else
        run_on_gpu(s, g, types.text);
}
