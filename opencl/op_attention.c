#include <assert.h>
#include <math.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

static void launch_scalars(struct launch *launch, struct tensor q, struct tensor k,
                           const struct attention_options *options)
{
    launch_buffer(launch, options->key_counts);
    launch_size(launch, q.h * q.w);
    launch_size(launch, k.h * k.w);
    launch_size(launch, q.c);
    launch_size(launch, options->causal);
    launch_operations(launch,
                      4 * (double)(q.n * q.h * q.w) * (double)(k.h * k.w * q.c));
}

static float scale_of(struct tensor q, const struct attention_options *options)
{
    size_t head = q.c / options->heads;
    return 1 / sqrtf((float)head);
}

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* How attention_cpu.cl divides the work: the first row whose scores, queries and sums fit
 * in local memory. A function of device and head width, so that results are too. Keys come
 * in whole panels, of 16 or 32. */
struct division {
    size_t queries, keys;
};

static const struct division *divide(const struct gpu_info *info, size_t head,
                                     size_t room)
{
    static const struct division divisions[] = {
        {96, 320}, {48, 160}, {24, 160}, {12, 96}};
    for (size_t i = 0; i < sizeof divisions / sizeof *divisions; i++) {
        const struct division *d = &divisions[i];
        size_t bytes = d->queries * (head + room + d->keys) * sizeof(float);
        if (bytes <= info->local_memory && bytes <= 256 << 10)
            return d;
    }
    return NULL;
}

static void attend_on_cpu(struct stream *s, struct tensor y, struct tensor q,
                          struct tensor k, struct tensor v,
                          const struct attention_options *options,
                          const struct division *division)
{
    struct launch launch;
    size_t head = q.c / options->heads, width = pack_panel(stream_gpu(s)) / 2;
    size_t room = divide_up(head, width) * width, keys = k.h * k.w;
    size_t panels = divide_up(keys, 2 * width), queries = division->queries;
    struct launch_options build = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DHEAD=%zu -DWIDTH=%zu -DQUERIES=%zu -DKEYS=%zu",
        q.dtype == DTYPE_F16, y.dtype == DTYPE_F16, head, width, queries,
        division->keys);
    struct tensor packed_k =
        tensor_take_as(s, DTYPE_F32, q.n, options->heads, panels * 2 * width, head);
    struct tensor packed_v =
        tensor_take_as(s, DTYPE_F32, q.n, options->heads, panels * 2 * width, room);
    if (launch_begin(&launch, s, "attention_cpu.cl", "attention_pack", build.text)) {
        launch_tensor(&launch, packed_k);
        launch_tensor(&launch, packed_v);
        launch_tensor(&launch, k);
        launch_tensor(&launch, v);
        launch_size(&launch, keys);
        launch_size(&launch, q.c);
        launch_float(&launch, scale_of(q, options));
        launch_run(&launch, (size_t[3]){panels, options->heads, q.n},
                   (size_t[3]){1, 1, 1});
    }
    if (launch_begin(&launch, s, "attention_cpu.cl", "attention", build.text)) {
        launch_tensor(&launch, y);
        launch_tensor(&launch, q);
        launch_tensor(&launch, packed_k);
        launch_tensor(&launch, packed_v);
        launch_scalars(&launch, q, k, options);
        launch_run(&launch,
                   (size_t[3]){divide_up(q.h * q.w, queries), options->heads, q.n},
                   (size_t[3]){1, 1, 1});
    }
    tensor_give(s, &packed_k);
    tensor_give(s, &packed_v);
}

/* attention_gpu.cl: no scratch memory. */
static void attend_on_gpu(struct stream *s, struct tensor y, struct tensor q,
                          struct tensor k, struct tensor v,
                          const struct attention_options *options)
{
    struct launch launch;
    size_t head = q.c / options->heads, queries = head > 160 ? 16 : head > 64 ? 32 : 64;
    struct launch_options build =
        launch_options("-DX_HALF=%d -DY_HALF=%d -DHEAD=%zu -DQUERIES=%zu",
                       q.dtype == DTYPE_F16, y.dtype == DTYPE_F16, head, queries);
    if (!launch_begin(&launch, s, "attention_gpu.cl", "attention", build.text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, q);
    launch_tensor(&launch, k);
    launch_tensor(&launch, v);
    launch_scalars(&launch, q, k, options);
    launch_float(&launch, scale_of(q, options));
    launch_run(&launch,
               (size_t[3]){divide_up(q.h * q.w, queries) * 128, options->heads, q.n},
               (size_t[3]){128, 1, 1});
}

/* How the device's matrix unit divides the work; NULL: it does not do it. The widest heads
 * take 45 KiB of local memory. */
static const struct matrix_division *division_of_unit(const struct gpu *gpu,
                                                      enum dtype dtype, size_t head)
{
    const struct matrix_unit *unit = gpu_matrix(gpu);
    if (!unit || dtype != DTYPE_F16 || gpu_info(gpu)->local_memory < 48 << 10)
        return NULL;
    return matrix_division(unit, head);
}

/* attention_matrix.cl, whose exponentials are powers of 2: no scratch memory. */
static void attend_on_matrix_unit(struct stream *s, struct tensor y, struct tensor q,
                                  struct tensor k, struct tensor v,
                                  const struct attention_options *options,
                                  const struct matrix_division *division)
{
    static const float LOG2_E = 1.44269504F;
    struct launch launch;
    const struct matrix_unit *unit = gpu_matrix(stream_gpu(s));
    size_t items = matrix_division_items(unit, division);
    struct launch_options build =
        launch_options("-DX_HALF=1 -DY_HALF=%d %s -DHEAD=%zu -DSPAN=%u -DCOLUMNS=%u",
                       y.dtype == DTYPE_F16, unit->options, q.c / options->heads,
                       division->span, division->columns);
    if (!launch_begin(&launch, s, "attention_matrix.cl", "attention", build.text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, q);
    launch_tensor(&launch, k);
    launch_tensor(&launch, v);
    launch_scalars(&launch, q, k, options);
    launch_float(&launch, scale_of(q, options) * LOG2_E);
    launch_run(
        &launch,
        (size_t[3]){divide_up(q.h * q.w, MATRIX_QUERIES) * items, options->heads, q.n},
        (size_t[3]){items, 1, 1});
}

void attention(struct stream *s, struct tensor y, struct tensor q, struct tensor k,
               struct tensor v, const struct attention_options *options)
{
    assert(q.c % options->heads == 0 && y.c == q.c && k.c == q.c && v.c == q.c);
    assert(y.n == q.n && k.n == q.n && v.n == q.n && k.h * k.w == v.h * v.w);
    assert(q.dtype == k.dtype && q.dtype == v.dtype);
    struct gpu *gpu = stream_gpu(s);
    size_t head = q.c / options->heads;
    const struct matrix_division *on_unit = division_of_unit(gpu, q.dtype, head);
    const struct division *division = NULL;
    if (gpu_is_cpu_path(gpu)) {
        size_t width = pack_panel(gpu) / 2;
        division = divide(gpu_info(gpu), head, divide_up(head, width) * width);
    }
    if (division)
        attend_on_cpu(s, y, q, k, v, options, division);
    else if (on_unit)
        attend_on_matrix_unit(s, y, q, k, v, options, on_unit);
    else
        attend_on_gpu(s, y, q, k, v, options);
}
