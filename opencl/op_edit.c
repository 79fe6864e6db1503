#include <assert.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

void blend_known(struct stream *s, struct tensor x, struct tensor z,
                 struct tensor noise, struct tensor mask, float a, float b)
{
    struct launch launch;
    size_t count = tensor_count(&x);
    assert(x.dtype == DTYPE_F32 && z.dtype == DTYPE_F32 && noise.dtype == DTYPE_F32);
    assert(count == tensor_count(&z) && count == tensor_count(&noise));
    assert(mask.dtype == DTYPE_F32 && tensor_count(&mask) == x.h * x.w);
    if (!launch_begin(&launch, s, "edit.cl", "blend_known", "-DX_HALF=0 -DY_HALF=0"))
        return;
    launch_tensor(&launch, x);
    launch_tensor(&launch, z);
    launch_tensor(&launch, noise);
    launch_tensor(&launch, mask);
    launch_size(&launch, x.h * x.w);
    launch_size(&launch, x.c);
    launch_float(&launch, a);
    launch_float(&launch, b);
    launch_run(&launch, (size_t[3]){count, 1, 1}, NULL);
}

static void add_held(struct launch *launch, struct tensor x, const struct anchor *held,
                     const struct hold *hold)
{
    launch_tensor(launch, x);
    launch_tensor(launch, held->z);
    launch_tensor(launch, held->noise);
    launch_tensor(launch, held->mask);
    launch_size(launch, x.h * x.w);
    launch_size(launch, x.c);
    launch_float(launch, hold->image);
    launch_float(launch, hold->noise);
}

static bool is_held(struct tensor x, const struct anchor *held)
{
    size_t count = tensor_count(&x);
    return x.dtype == DTYPE_F32 && held->z.dtype == DTYPE_F32 &&
           held->noise.dtype == DTYPE_F32 && held->mask.dtype == DTYPE_F32 &&
           tensor_count(&held->z) == count && tensor_count(&held->noise) == count &&
           tensor_count(&held->mask) == x.h * x.w;
}

void hold_input(struct stream *s, struct tensor y, struct tensor x,
                const struct anchor *held, const struct hold *hold)
{
    struct launch launch;
    size_t count = tensor_count(&x);
    assert(is_held(x, held) && y.dtype == DTYPE_F32 && count == tensor_count(&y));
    if (!launch_begin(&launch, s, "edit.cl", "hold_input", "-DX_HALF=0 -DY_HALF=0"))
        return;
    launch_tensor(&launch, y);
    add_held(&launch, x, held, hold);
    launch_float(&launch, hold->sees);
    launch_run(&launch, (size_t[3]){count, 1, 1}, NULL);
}

void hold_output(struct stream *s, struct tensor e, struct tensor x,
                 const struct anchor *held, const struct hold *hold)
{
    struct launch launch;
    size_t count = tensor_count(&x), rows = tensor_count(&e) / count;
    bool pairs = hold->guidance != 0;
    assert(is_held(x, held) && tensor_count(&e) == rows * count &&
           (!pairs || rows == 2));
    struct launch_options options =
        launch_options("-DX_HALF=0 -DY_HALF=%d", e.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "edit.cl", pairs ? "hold_pairs" : "hold_output",
                      options.text))
        return;
    launch_tensor(&launch, e);
    add_held(&launch, x, held, hold);
    launch_size(&launch, count);
    launch_float(&launch, hold->of_e);
    launch_float(&launch, hold->of_z);
    launch_float(&launch, hold->of_x);
    launch_float(&launch, hold->of_gap);
    launch_float(&launch, hold->guidance);
    launch_run(&launch, (size_t[3]){pairs ? count : rows * count, 1, 1}, NULL);
}

void mix_three(struct stream *s, struct tensor y, struct tensor e,
               const float factors[3])
{
    struct launch launch;
    size_t count = tensor_count(&y);
    assert(tensor_count(&e) == 3 * count);
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DY_HALF=%d", e.dtype == DTYPE_F16, y.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "edit.cl", "mix_three", options.text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, e);
    launch_size(&launch, count);
    for (int k = 0; k < 3; k++)
        launch_float(&launch, factors[k]);
    launch_run(&launch, (size_t[3]){count, 1, 1}, NULL);
}
