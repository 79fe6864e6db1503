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
    launch_float(launch, 1 / sqrtf((float)(q.c / options->heads)));
}

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* attention_cpu.cl. Queries of a group: their scores, values and sums fill half of the
 * second-level cache; both numbers depend on the head width alone. */
static void attend_on_cpu(struct stream *s, struct tensor y, struct tensor q,
                          struct tensor k, struct tensor v,
                          const struct attention_options *options)
{
    struct launch launch;
    size_t head = q.c / options->heads, width = pack_panel(stream_gpu(s)) / 2;
    size_t room = divide_up(head, width) * width, keys = k.h * k.w;
    size_t panels = divide_up(keys, 2 * width);
    size_t queries = head > 160 ? 48 : 96, block = head > 160 ? 160 : 320;
    struct launch_options build = launch_options(
        "-DX_HALF=%d -DY_HALF=%d -DHEAD=%zu -DWIDTH=%zu -DQUERIES=%zu -DKEYS=%zu",
        q.dtype == DTYPE_F16, y.dtype == DTYPE_F16, head, width, queries, block);
    struct tensor packed_k =
        tensor_take_as(s, DTYPE_F32, q.n, options->heads, panels * 2 * width, head);
    struct tensor packed_v =
        tensor_take_as(s, DTYPE_F32, q.n, options->heads, panels * 2 * width, room);
    if (launch_begin(&launch, s, "attention_cpu.cl", "attention_pack", build.text)) {
        launch_buffer(&launch, packed_k.memory);
        launch_buffer(&launch, packed_v.memory);
        launch_buffer(&launch, k.memory);
        launch_buffer(&launch, v.memory);
        launch_size(&launch, keys);
        launch_size(&launch, q.c);
        launch_run(&launch, (size_t[3]){panels, options->heads, q.n},
                   (size_t[3]){1, 1, 1});
    }
    if (launch_begin(&launch, s, "attention_cpu.cl", "attention", build.text)) {
        launch_buffer(&launch, y.memory);
        launch_buffer(&launch, q.memory);
        launch_buffer(&launch, packed_k.memory);
        launch_buffer(&launch, packed_v.memory);
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
    launch_buffer(&launch, y.memory);
    launch_buffer(&launch, q.memory);
    launch_buffer(&launch, k.memory);
    launch_buffer(&launch, v.memory);
    launch_scalars(&launch, q, k, options);
    launch_run(&launch,
               (size_t[3]){divide_up(q.h * q.w, queries) * 128, options->heads, q.n},
               (size_t[3]){128, 1, 1});
}

void attention(struct stream *s, struct tensor y, struct tensor q, struct tensor k,
               struct tensor v, const struct attention_options *options)
{
    assert(q.c % options->heads == 0 && y.c == q.c && k.c == q.c && v.c == q.c);
    assert(y.n == q.n && k.n == q.n && v.n == q.n && k.h * k.w == v.h * v.w);
    assert(q.dtype == k.dtype && q.dtype == v.dtype);
    if (gpu_is_cpu_path(stream_gpu(s)))
        attend_on_cpu(s, y, q, k, v, options);
    else
        attend_on_gpu(s, y, q, k, v, options);
}
