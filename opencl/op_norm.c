#include <assert.h>
#include <stdlib.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

/* How norm.cl divides work: rows of a picture that one work-item sums; items of a work-group
 * and the rows it writes. Of the device's kind and the picture's size, so that results are. */
struct share {
    size_t chunk, lanes, rows;
};

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static struct share share_of(struct stream *s, size_t rows)
{
    if (gpu_is_cpu_path(stream_gpu(s)))
        return (struct share){rows > 128 * 128 ? 256 : 64, 1, 16};
    return (struct share){rows > 128 * 128 ? 64 : 16, 64, 4};
}

/* Channels that a work-item sums at once. */
static size_t wide_of(struct tensor x, size_t lanes)
{
    return lanes == 1 && x.c % 16 == 0 ? 16 : 8;
}

static cl_mem load_vector(struct gpu *gpu, const struct host_tensor *vector,
                          size_t count, struct error *error)
{
    assert(host_tensor_count(vector) == count);
    float *values = malloc(count * sizeof *values);
    cl_mem memory = NULL;
    if (!values) {
        error_set_kind(error, ERROR_MEMORY, "no memory for %zu values", count);
        return NULL;
    }
    if (!gpu_only_plans(gpu))
        host_tensor_floats(vector, 0, count, values);
    memory = gpu_allocate(gpu, count * sizeof *values, error);
    if (memory && !gpu_write(gpu, memory, values, count * sizeof *values, error))
        gpu_release(gpu, &memory);
    free(values);
    return memory;
}

bool norm_load(struct norm *self, struct gpu *gpu, float eps,
               const struct host_tensor *gamma, const struct host_tensor *beta,
               struct error *error)
{
    *self = (struct norm){.c = host_tensor_count(gamma), .eps = eps};
    self->gamma = load_vector(gpu, gamma, self->c, error);
    if (self->gamma)
        self->beta = load_vector(gpu, beta, self->c, error);
    if (self->beta)
        return true;
    norm_clear(self, gpu);
    return false;
}

void norm_clear(struct norm *self, struct gpu *gpu)
{
    gpu_release(gpu, &self->gamma);
    gpu_release(gpu, &self->beta);
}

static void group_stats(struct stream *s, struct tensor stats, struct tensor x,
                        const struct share *share, const char *options)
{
    struct launch launch;
    if (!launch_begin(&launch, s, "norm.cl", "group_stats", options))
        return;
    launch_tensor(&launch, stats);
    launch_tensor(&launch, x);
    launch_size(&launch, x.h * x.w);
    launch_size(&launch, x.c);
    if (share->lanes == 1)
        launch_run(&launch, (size_t[3]){stats.h, x.n, 1}, (size_t[3]){1, 1, 1});
    else
        launch_run(&launch, (size_t[3]){divide_up(x.c, 8), stats.h, x.n}, NULL);
}

static void group_fold(struct stream *s, struct tensor factors, struct tensor stats,
                       struct tensor x, const struct norm *w, size_t groups,
                       size_t lanes, const char *options)
{
    struct launch launch;
    if (!launch_begin(&launch, s, "norm.cl", "group_fold", options))
        return;
    launch_tensor(&launch, factors);
    launch_tensor(&launch, stats);
    launch_buffer(&launch, w->gamma);
    launch_buffer(&launch, w->beta);
    launch_size(&launch, x.h * x.w);
    launch_size(&launch, x.c);
    launch_size(&launch, x.c / groups);
    launch_float(&launch, w->eps);
    launch_run(&launch, (size_t[3]){groups * lanes, x.n, 1}, (size_t[3]){lanes, 1, 1});
}

void group_norm(struct stream *s, struct tensor y, struct tensor x,
                const struct norm *w, size_t groups, enum activation activation)
{
    assert(x.c == w->c && x.c % groups == 0);
    assert(tensor_count(&y) == tensor_count(&x) && y.c == x.c && y.n == x.n);
    assert(activation != ACTIVATION_GEGLU);
    struct share share = share_of(s, x.h * x.w);
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DWHOLE=%d -DWIDE=%zu -DCHUNK=%zu "
        "-DLANES=%zu -DROWS=%zu -DACTIVATION=%d",
        x.dtype == DTYPE_F16, y.dtype == DTYPE_F16, x.c % 8 == 0,
        wide_of(x, share.lanes), share.chunk, share.lanes, share.rows, (int)activation);
    size_t chunks = divide_up(x.h * x.w, share.chunk);
    struct tensor stats = tensor_take_as(s, DTYPE_F32, x.n, chunks, 2, x.c);
    struct tensor factors = tensor_take_as(s, DTYPE_F32, x.n, 1, 3, x.c);
    group_stats(s, stats, x, &share, options.text);
    group_fold(s, factors, stats, x, w, groups, share.lanes, options.text);

    struct launch launch;
    if (launch_begin(&launch, s, "norm.cl", "group_apply", options.text)) {
        launch_tensor(&launch, y);
        launch_tensor(&launch, x);
        launch_tensor(&launch, factors);
        launch_size(&launch, x.h * x.w);
        launch_size(&launch, x.c);
        launch_run(&launch,
                   (size_t[3]){divide_up(x.h * x.w, share.rows) * share.lanes, x.n, 1},
                   (size_t[3]){share.lanes, 1, 1});
    }
    tensor_give(s, &stats);
    tensor_give(s, &factors);
}

void layer_norm(struct stream *s, struct tensor y, struct tensor x,
                const struct norm *w)
{
    struct launch launch;
    assert(x.c == w->c && y.c == x.c && tensor_count(&y) == tensor_count(&x));
    bool cpu = gpu_is_cpu_path(stream_gpu(s));
    size_t rows = x.n * x.h * x.w, lanes = cpu ? 1 : 64, tall = cpu ? 16 : 1;
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DWHOLE=%d -DWIDE=%zu -DLANES=%zu -DROWS=%zu",
        x.dtype == DTYPE_F16, y.dtype == DTYPE_F16, x.c % 8 == 0, wide_of(x, lanes),
        lanes, tall);
    if (!launch_begin(&launch, s, "norm.cl", "layer_norm", options.text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_buffer(&launch, w->gamma);
    launch_buffer(&launch, w->beta);
    launch_size(&launch, rows);
    launch_size(&launch, x.c);
    launch_float(&launch, w->eps);
    launch_run(&launch, (size_t[3]){divide_up(rows, tall) * lanes, 1, 1},
               (size_t[3]){lanes, 1, 1});
}
