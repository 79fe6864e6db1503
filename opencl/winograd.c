#include "opencl/winograd.h"

#include <stdlib.h>
#include <string.h>

#include "opencl/launch.h"
#include "opencl/program.h"

enum {
    TILE = 4,
    SIDE = 6,
    POINTS = SIDE * SIDE,
    SPARE = 16,             /* floats after each plane of V and M (winograd_cpu.cl) */
    BAND_MOST = 72,         /* tiles whose V and M are at hand at a time */
    SMALLEST = 32 * 32,     /* pixels of y */
    U_PER_PIXEL = 64 << 10, /* bytes of U that a pixel of y is worth */
};

/* U is kept where pixels times its bytes are at most this: of an SD 1.5 UNet at 64x64
 * latents for some 550 MB, of the VAE's decoder for nothing. */
static const uint64_t KEPT_U_MOST = (uint64_t)1 << 37;

static size_t pixels_of(const struct gemm *g)
{
    return g->y.h * g->y.w;
}

static size_t u_count(const struct packed *w)
{
    return POINTS * w->panels * (w->k / 9) * w->panel;
}

bool winograd_fits(const struct gpu *gpu, const struct gemm *g)
{
    const char *wanted = getenv("FARM_CONV");
    if (!gpu_is_cpu_path(gpu) || g->size != 3 || g->stride != 1 || g->pad != 1 ||
        g->x.c % 8 || (wanted && strcmp(wanted, "direct") == 0))
        return false;
    if (wanted && strcmp(wanted, "winograd") == 0)
        return true;
    return pixels_of(g) >= SMALLEST && g->x.c >= 32 && g->y.c >= 32 &&
           u_count(g->weights) * sizeof(float) <= pixels_of(g) * U_PER_PIXEL;
}

static bool keeps_u(const struct gemm *g)
{
    return g->weights->dtype == DTYPE_F32 &&
           (uint64_t)pixels_of(g) * u_count(g->weights) * sizeof(float) <= KEPT_U_MOST;
}

static bool make_u(struct gpu *gpu, const struct packed *w, cl_mem u,
                   const char *options, struct error *error)
{
    if (gpu_only_plans(gpu))
        return true;
    cl_kernel kernel =
        program_kernel(gpu, "winograd_cpu.cl", "winograd_weights", options, error);
    if (!kernel)
        return false;
    cl_int in = (cl_int)(w->k / 9), panels = (cl_int)w->panels;
    clSetKernelArg(kernel, 0, sizeof u, &u);
    clSetKernelArg(kernel, 1, sizeof w->weights, &w->weights);
    clSetKernelArg(kernel, 2, sizeof in, &in);
    clSetKernelArg(kernel, 3, sizeof panels, &panels);
    struct cost cost = {.bytes = (double)(w->panels * w->panel * w->k) *
                                 (double)(dtype_size(w->dtype) + 4 * sizeof(float))};
    return gpu_enqueue(gpu, kernel, "winograd_weights",
                       (size_t[3]){w->k / 9, w->panels, 1}, (size_t[3]){1, 1, 1}, cost,
                       error);
}

/* Makes what is kept, once, and what is not, when it runs. */
static cl_mem ready_u(struct stream *s, const struct packed *w, struct tensor made,
                      bool kept, const char *options)
{
    struct gpu *gpu = stream_gpu(s);
    struct error error = {0};
    if (kept && !*w->u) {
        *w->u = gpu_allocate(gpu, u_count(w) * sizeof(float), &error);
        if (!*w->u || !make_u(gpu, w, *w->u, options, &error)) {
            gpu_release(gpu, w->u);
            stream_fail(s, &error);
        }
    } else if (!kept && stream_is_running(s) &&
               !make_u(gpu, w, made.memory, options, &error)) {
        stream_fail(s, &error);
    }
    return kept ? *w->u : made.memory;
}

static size_t up_to(size_t a, size_t multiple)
{
    return (a + multiple - 1) / multiple * multiple;
}

void winograd_run(struct stream *s, const struct gemm *g)
{
    const struct packed *w = g->weights;
    bool kept = keeps_u(g);
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DW_HALF=%d -DACTIVATION=%d -DWIDTH=%zu",
        g->x.dtype == DTYPE_F16, g->y.dtype == DTYPE_F16, w->dtype == DTYPE_F16,
        (int)g->activation, w->panel / 2);
    size_t tall = w->panel == 32 ? 12 : 6, groups = gpu_info(stream_gpu(s))->units;
    size_t tiles = g->y.n * (up_to(g->y.h, TILE) / TILE) * (up_to(g->y.w, TILE) / TILE);
    size_t bands = up_to((tiles + BAND_MOST - 1) / BAND_MOST, groups);
    size_t band = up_to((tiles + bands - 1) / bands, tall);
    size_t most = up_to(tiles < BAND_MOST ? tiles : BAND_MOST, tall);
    struct tensor scratch =
        tensor_take_as(s, DTYPE_F32, groups, POINTS, 1,
                       most * (g->x.c + w->panels * w->panel) + (size_t)2 * SPARE);
    struct tensor made = tensor_take_as(s, DTYPE_F32, 1, 1, 1, kept ? 1 : u_count(w));
    cl_mem u = ready_u(s, w, made, kept, options.text);
    struct launch launch;
    if (launch_begin(&launch, s, "winograd_cpu.cl", "winograd", options.text)) {
        launch_tensor(&launch, g->y);
        launch_tensor(&launch, g->x);
        launch_read(&launch, u, pack_bytes(w));
        launch_buffer(&launch, w->bias);
        launch_buffer(&launch, g->row_bias ? g->row_bias->memory : NULL);
        launch_buffer(&launch, g->residual ? g->residual->memory : NULL);
        launch_buffer(&launch, scratch.memory);
        size_t sizes[] = {tiles,  g->y.c,  g->y.h,  g->y.w,    g->x.c, g->x.h,
                          g->x.w, g->up_h, g->up_w, w->panels, band};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            launch_size(&launch, sizes[i]);
        launch_operations(&launch, gemm_operations(g));
        launch_op(&launch, "conv 3x3 winograd");
        launch_run(&launch, (size_t[3]){groups, 1, 1}, (size_t[3]){1, 1, 1});
    }
    tensor_give(s, &scratch);
    tensor_give(s, &made);
}
