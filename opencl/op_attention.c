#include <assert.h>
#include <math.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

void attention(struct stream *s, struct tensor y, struct tensor q, struct tensor k,
               struct tensor v, const struct attention_options *options)
{
    struct launch launch;
    size_t width = q.c / options->heads;
    assert(q.c % options->heads == 0 && y.c == q.c && k.c == q.c && v.c == q.c);
    assert(y.n == q.n && k.n == q.n && v.n == q.n && k.h * k.w == v.h * v.w);
    assert(q.dtype == k.dtype && q.dtype == v.dtype);
    struct launch_options build =
        launch_options("-DX_HALF=%d -DY_HALF=%d -DWIDTH=%zu", q.dtype == DTYPE_F16,
                       y.dtype == DTYPE_F16, width);
    if (!launch_begin(&launch, s, "attention.cl", "attention", build.text))
        return;
    launch_buffer(&launch, y.memory);
    launch_buffer(&launch, q.memory);
    launch_buffer(&launch, k.memory);
    launch_buffer(&launch, v.memory);
    launch_buffer(&launch, options->key_counts);
    launch_size(&launch, q.h * q.w);
    launch_size(&launch, k.h * k.w);
    launch_size(&launch, q.c);
    launch_size(&launch, options->causal);
    launch_float(&launch, 1 / sqrtf((float)width));
    launch_run(&launch, (size_t[3]){q.h * q.w, options->heads, q.n}, NULL);
}
