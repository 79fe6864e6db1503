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

/* How attention_cpu.cl divides the work: no queries, it does not. `keys`, a block, decides how
 * results are rounded and is a function of the heads' width alone: keys and values of a block
 * take up to 100 KiB. As many panels of three registers of queries as fit beside its scores
 * share them. */
struct division {
    size_t width, queries, keys;
};

static struct division divide(const struct gpu *gpu, size_t head)
{
    enum { MOST_QUERIES = 96, MOST_KEYS = 160, BLOCK = 12800, CACHE = 512 << 10 };
    size_t width = pack_panel(gpu) / 2, panel = 3 * width,
           room = divide_up(head, 8) * 8;
    size_t keys = BLOCK / room / 8 * 8;
    if (keys > MOST_KEYS)
        keys = MOST_KEYS;
    size_t memory = gpu_info(gpu)->local_memory / 2;
    if (memory > CACHE)
        memory = CACHE;
    size_t floats = memory / sizeof(float), block = keys * (2 * room + panel) + panel;
    size_t queries = floats > block ? (floats - block) / (2 * room + 2) : 0;
    if (queries > MOST_QUERIES)
        queries = MOST_QUERIES;
    return (struct division){width, keys ? queries / panel * panel : 0, keys};
}

static void attend_on_cpu(struct stream *s, struct tensor y, struct tensor q,
                          struct tensor k, struct tensor v,
                          const struct attention_options *options,
                          const struct division *division)
{
    struct launch launch;
    size_t queries = division->queries, keys = k.h * k.w, room = divide_up(keys, 8) * 8;
    size_t head = q.c / options->heads, head_room = divide_up(head, 8) * 8;
    struct launch_options build = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DHEAD=%zu -DWIDTH=%zu -DQUERIES=%zu -DKEYS=%zu",
        q.dtype == DTYPE_F16, y.dtype == DTYPE_F16, head, division->width, queries,
        division->keys);
    struct tensor packed_k =
        tensor_take_as(s, DTYPE_F32, q.n, options->heads, room, head_room);
    struct tensor packed_v =
        tensor_take_as(s, DTYPE_F32, q.n, options->heads, room, head_room);
    if (launch_begin(&launch, s, "attention_cpu.cl", "attention_pack", build.text)) {
        launch_tensor(&launch, packed_k);
        launch_tensor(&launch, packed_v);
        launch_tensor(&launch, k);
        launch_tensor(&launch, v);
        launch_size(&launch, keys);
        launch_size(&launch, q.c);
        launch_run(&launch, (size_t[3]){room / 8, options->heads, q.n},
                   (size_t[3]){1, 1, 1});
    }
    if (launch_begin(&launch, s, "attention_cpu.cl", "attention", build.text)) {
        launch_tensor(&launch, y);
        launch_tensor(&launch, q);
        launch_tensor(&launch, packed_k);
        launch_tensor(&launch, packed_v);
        launch_scalars(&launch, q, k, options);
        launch_float(&launch, scale_of(q, options));
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
    struct division division = {0};
    if (gpu_is_cpu_path(gpu))
        division = divide(gpu, head);
    if (division.queries)
        attend_on_cpu(s, y, q, k, v, options, &division);
    else if (on_unit)
        attend_on_matrix_unit(s, y, q, k, v, options, on_unit);
    else
        attend_on_gpu(s, y, q, k, v, options);
}
