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

void hold_input(struct stream *s, struct tensor y, struct tensor x, struct tensor z,
                struct tensor mask, const struct hold *hold)
{
    struct launch launch;
    size_t count = tensor_count(&x);
    assert(y.dtype == DTYPE_F32 && x.dtype == DTYPE_F32 && z.dtype == DTYPE_F32);
    assert(count == tensor_count(&y) && count == tensor_count(&z));
    assert(mask.dtype == DTYPE_F32 && tensor_count(&mask) == x.h * x.w);
    if (!launch_begin(&launch, s, "edit.cl", "hold_input", "-DX_HALF=0 -DY_HALF=0"))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_tensor(&launch, z);
    launch_tensor(&launch, mask);
    launch_size(&launch, x.h * x.w);
    launch_size(&launch, x.c);
    launch_float(&launch, hold->sees);
    launch_run(&launch, (size_t[3]){count, 1, 1}, NULL);
}

void hold_output(struct stream *s, struct tensor e, struct tensor x, struct tensor z,
                 struct tensor mask, const struct hold *hold)
{
    struct launch launch;
    size_t count = tensor_count(&x);
    assert(x.dtype == DTYPE_F32 && z.dtype == DTYPE_F32 && count == tensor_count(&z));
    assert(tensor_count(&e) % count == 0 && tensor_count(&mask) == x.h * x.w);
    struct launch_options options =
        launch_options("-DX_HALF=0 -DY_HALF=%d", e.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "edit.cl", "hold_output", options.text))
        return;
    launch_tensor(&launch, e);
    launch_tensor(&launch, x);
    launch_tensor(&launch, z);
    launch_tensor(&launch, mask);
    launch_size(&launch, x.h * x.w);
    launch_size(&launch, x.c);
    launch_size(&launch, count);
    launch_float(&launch, hold->of_e);
    launch_float(&launch, hold->of_z);
    launch_float(&launch, hold->of_x);
    launch_run(&launch, (size_t[3]){tensor_count(&e), 1, 1}, NULL);
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
