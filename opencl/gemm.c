#include "opencl/gemm.h"

#include <assert.h>
#include <limits.h>

#include "opencl/gemm_clblast.h"
#include "opencl/launch.h"
#include "opencl/program.h"

/* Whether a block of A, its sums and, where W is widened, a panel of it fit in local memory. */
static bool division_fits(const struct gpu_info *info, const struct tuning_variant *d,
                          size_t panel, bool widens)
{
    size_t floats = d->rows * (d->depth + d->columns) + (widens ? d->depth * panel : 0);
    return floats * sizeof(float) <= info->local_memory;
}

/* How gemm_cpu.cl divides the work: as the variant says if that fits, else as the first that
 * does; the last one always does. None changes the order of additions. */
static const struct tuning_variant *divide(const struct gpu_info *info, size_t variant,
                                           size_t panel, bool widens)
{
    const struct tuning_variant *d = tuning_variant(TUNING_CPU, variant), *last = d;
    if (variant && division_fits(info, d, panel, widens))
        return d;
    for (size_t i = 1; (d = tuning_variant(TUNING_CPU, i)); i++) {
        if (division_fits(info, d, panel, widens))
            return d;
        last = d;
    }
    return last;
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

/* Whether cores are busy for nine tenths of the time it takes. */
static bool keeps_busy(const struct gpu_info *info, size_t groups)
{
    size_t rounds = divide_up(groups, info->units);
    return 10 * groups >= 9 * rounds * info->units;
}

/* Blocks of equal height, and groups for every core. */
static void run_on_cpu(struct stream *s, const struct gemm *g, size_t variant,
                       const char *types)
{
    struct launch launch;
    const struct gpu_info *info = gpu_info(stream_gpu(s));
    const struct packed *w = g->weights;
    size_t tall = w->panel == 32 ? 12 : 6;
    const struct tuning_variant *d =
        divide(info, variant, w->panel, w->dtype == DTYPE_F16);
    size_t span_most = d->columns / w->panel;
    bool gathers =
        g->size != 1 || g->stride != 1 || g->up_h != g->x.h || g->up_w != g->x.w;
    size_t rows = g->y.n * g->y.h * g->y.w, blocks = divide_up(rows, d->rows);
    bool direct = !gathers && g->x.dtype == DTYPE_F32 && rows >= tall;
    struct launch_options options = launch_options(
        "%s -DWIDTH=%zu -DBLOCK_MOST=%zu -DSPAN_MOST=%zu -DDEPTH=%zu -DGATHER=%d "
        "-DDIRECT=%d",
        types, w->panel / 2, d->rows, span_most, d->depth, gathers, direct);
    if (!launch_begin(&launch, s, "gemm_cpu.cl", "gemm", options.text))
        return;
    size_t block = divide_up(divide_up(rows, blocks), tall) * tall;
    size_t span = divide_up(w->panels, divide_up(w->panels, span_most));
    while (span > 4 && !keeps_busy(info, blocks * divide_up(w->panels, span)))
        span = divide_up(span, 2);
    launch_operands(&launch, g);
    launch_size(&launch, w->panels);
    launch_size(&launch, block);
    launch_size(&launch, span);
    launch_run(&launch,
               (size_t[3]){divide_up(w->panels, span), divide_up(rows, block), 1},
               (size_t[3]){1, 1, 1});
}

/* The order of tiles: `wide` columns of them and as many rows as y's need. */
static void run_tiles(struct launch *launch, size_t rows, size_t tile, size_t wide,
                      size_t items, size_t band)
{
    size_t high = divide_up(rows, tile);
    launch_size(launch, high);
    launch_size(launch, band && band < high ? band : high);
    launch_run(launch, (size_t[3]){items * high * wide, 1, 1},
               (size_t[3]){items, 1, 1});
}

/* By default tiles are small enough that a few hundred groups share the work. */
static void run_on_gpu(struct stream *s, const struct gemm *g,
                       const struct tuning_variant *variant, const char *types)
{
    enum { LARGEST = 128, LEAST = 32, ITEMS = 128 };
    struct launch launch;
    size_t rows = g->y.n * g->y.h * g->y.w, panels = g->weights->panels;
    size_t tile = LARGEST, groups = 2 * (size_t)gpu_info(stream_gpu(s))->units;
    if (variant->tile)
        tile = LARGEST >> (variant->tile - 1);
    else
        while (tile > LEAST && divide_up(rows, tile) * panels < groups)
            tile /= 2;
    struct launch_options options = launch_options("%s -DTILE_M=%zu", types, tile);
    if (!launch_begin(&launch, s, "gemm_gpu.cl", "gemm", options.text))
        return;
    launch_operands(&launch, g);
    run_tiles(&launch, rows, tile, panels, ITEMS, variant->band);
}

static void run_on_matrix_unit(struct stream *s, const struct gemm *g,
                               const struct tuning_variant *variant, const char *types)
{
    struct launch launch;
    const struct matrix_unit *unit = gpu_matrix(stream_gpu(s));
    size_t rows = g->y.n * g->y.h * g->y.w, panels = g->weights->panels;
    size_t columns = panels * g->weights->panel;
    const struct matrix_tile *tile =
        variant->tile
            ? &unit->tiles[variant->tile - 1]
            : matrix_tile(unit, gpu_info(stream_gpu(s))->units, rows, columns);
    struct launch_options options = launch_options(
        "%s %s -DWHOLE=%d -DTILE_M=%u -DTILE_N=%u -DSPAN_M=%u -DSPAN_N=%u", types,
        unit->options, g->x.c % 8 == 0, tile->rows, tile->columns, tile->span_rows,
        tile->span_columns);
    if (!launch_begin(&launch, s, "gemm_matrix.cl", "gemm", options.text))
        return;
    launch_operands(&launch, g);
    launch_size(&launch, panels);
    run_tiles(&launch, rows, tile->rows, divide_up(columns, tile->columns),
              matrix_items(unit, tile), variant->band);
}

bool gemm_fits(const struct gpu *gpu, enum tuning_kernel kernel, size_t variant)
{
    const struct tuning_variant *v = tuning_variant(kernel, variant);
    size_t panel = pack_panel(gpu);
    if (!v || kernel != TUNING_CPU || variant == 0)
        return v;
    const struct gpu_info *info = gpu_info(gpu);
    return division_fits(info, v, panel, true) && v != divide(info, 0, panel, true);
}

static struct tuning_shape shape_of(const struct gemm *g, enum tuning_kernel kernel)
{
    size_t pictures = g->pictures ? g->pictures : 1;
    return (struct tuning_shape){
        .kernel = (uint8_t)kernel,
        .rows = tuning_exponent(divide_up(g->y.n * g->y.h * g->y.w, pictures)),
        .k = tuning_exponent(g->weights->k),
        .columns = tuning_exponent(g->weights->panels * g->weights->panel),
        .size = (uint8_t)g->size,
        .x_half = g->x.dtype == DTYPE_F16,
        .w_half = g->weights->dtype == DTYPE_F16};
}

/* What is known of the product's class; where nothing is, it is noted to be measured. */
static size_t variant_of(struct stream *s, const struct gemm *g,
                         enum tuning_kernel kernel)
{
    struct tuning *tuning = programs_tuning(gpu_programs(stream_gpu(s)));
    if (!tuning || tuning->forced)
        return tuning ? tuning->forced - 1 : 0;
    struct tuning_wanted wanted = {.shape = shape_of(g, kernel)};
    const struct tuned *tuned = tuning_find(tuning, &wanted.shape);
    if (tuned)
        return tuned->variant;
    const struct tensor *y = &g->y, *x = &g->x;
    wanted = (struct tuning_wanted){wanted.shape,
                                    y->n,
                                    y->h,
                                    y->w,
                                    y->c,
                                    x->h,
                                    x->w,
                                    x->c,
                                    g->up_h,
                                    g->up_w,
                                    g->stride,
                                    g->pad,
                                    g->activation == ACTIVATION_GEGLU};
    tuning_want(tuning, &wanted);
    return 0;
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
    enum tuning_kernel kernel = gpu_is_cpu_path(stream_gpu(s)) ? TUNING_CPU
                                : w->paired                    ? TUNING_MATRIX
                                                               : TUNING_GPU;
    size_t index = w->for_clblast ? 0 : variant_of(s, g, kernel);
    const struct tuning_variant *variant = tuning_variant(kernel, index);
    if (w->for_clblast)
        run_on_clblast(s, g, types.text);
    else if (kernel == TUNING_CPU)
        run_on_cpu(s, g, index, types.text);
    else if (kernel == TUNING_MATRIX)
        run_on_matrix_unit(s, g, variant, types.text);
    else
        run_on_gpu(s, g, variant, types.text);
}
