#include <assert.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

static struct launch_options types(struct tensor y, struct tensor x)
{
    return launch_options("-DX_HALF=%d -DY_HALF=%d", x.dtype == DTYPE_F16,
                          y.dtype == DTYPE_F16);
}

/* The same, of kernels that end in an activation. */
static struct launch_options active(struct tensor y, struct tensor x,
                                    enum activation activation)
{
    assert(activation != ACTIVATION_GEGLU);
    return launch_options("-DX_HALF=%d -DY_HALF=%d -DACTIVATION=%d",
                          x.dtype == DTYPE_F16, y.dtype == DTYPE_F16, (int)activation);
}

/* Work-items for `count` elements, eight each. */
static void run(struct launch *launch, size_t count)
{
    launch_run(launch, (size_t[3]){(count + 7) / 8, 1, 1}, (size_t[3]){64, 1, 1});
}

void activate(struct stream *s, struct tensor y, struct tensor x,
              enum activation activation)
{
    struct launch launch;
    size_t count = tensor_count(&y);
    assert(count == tensor_count(&x));
    if (!launch_begin(&launch, s, "pointwise.cl", "activation",
                      active(y, x, activation).text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_size(&launch, count);
    run(&launch, count);
}

void add(struct stream *s, struct tensor y, struct tensor a, struct tensor b)
{
    struct launch launch;
    size_t count = tensor_count(&y);
    assert(count == tensor_count(&a) && count == tensor_count(&b) &&
           a.dtype == b.dtype);
    if (!launch_begin(&launch, s, "pointwise.cl", "add", types(y, a).text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, a);
    launch_tensor(&launch, b);
    launch_size(&launch, count);
    run(&launch, count);
}

void scale(struct stream *s, struct tensor y, struct tensor x, float factor)
{
    struct launch launch;
    size_t count = tensor_count(&y);
    assert(count == tensor_count(&x));
    if (!launch_begin(&launch, s, "pointwise.cl", "scale", types(y, x).text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_size(&launch, count);
    launch_float(&launch, factor);
    run(&launch, count);
}

void affine(struct stream *s, struct tensor y, struct tensor x, float factor,
            float offset)
{
    struct launch launch;
    size_t count = tensor_count(&y);
    assert(count == tensor_count(&x));
    if (!launch_begin(&launch, s, "pointwise.cl", "affine", types(y, x).text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_size(&launch, count);
    launch_float(&launch, factor);
    launch_float(&launch, offset);
    run(&launch, count);
}

void modulate(struct stream *s, struct tensor y, struct tensor x, struct tensor row,
              enum activation activation)
{
    struct launch launch;
    assert(tensor_count(&y) == tensor_count(&x) && row.n == x.n && row.c == 2 * x.c &&
           row.dtype == x.dtype);
    if (!launch_begin(&launch, s, "pointwise.cl", "modulate",
                      active(y, x, activation).text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_tensor(&launch, row);
    launch_size(&launch, x.c);
    launch_size(&launch, x.h * x.w);
    launch_run(&launch, (size_t[3]){x.c, x.n * x.h * x.w, 1}, (size_t[3]){64, 1, 1});
}

void concat(struct stream *s, struct tensor y, struct tensor a, struct tensor b)
{
    struct launch launch;
    assert(y.c == a.c + b.c && a.dtype == b.dtype);
    assert(y.n == a.n && y.h == a.h && y.w == a.w);
    assert(y.n == b.n && y.h == b.h && y.w == b.w);
    if (!launch_begin(&launch, s, "pointwise.cl", "concat", types(y, a).text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, a);
    launch_tensor(&launch, b);
    launch_size(&launch, a.c);
    launch_size(&launch, b.c);
    launch_run(&launch, (size_t[3]){(y.c + 7) / 8, y.n * y.h * y.w, 1}, NULL);
}
