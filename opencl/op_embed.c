#include <assert.h>
#include <stddef.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

static_assert(offsetof(struct step, timestep) == 0, "the kernel reads it there");

void token_embedding(struct stream *s, struct tensor y, cl_mem ids, struct tensor table,
                     struct tensor position, const struct tensor *own)
{
    struct launch launch;
    size_t tokens = y.h * y.w;
    assert(table.c == y.c && position.c == y.c && position.h * position.w >= tokens);
    assert(!own || (own->dtype == table.dtype && own->n == y.n && own->c == y.c));
    struct launch_options options = launch_options(
        "-DX_HALF=%d -DW_HALF=%d -DY_HALF=%d", position.dtype == DTYPE_F16,
        table.dtype == DTYPE_F16, y.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "embed.cl", "token_embedding", options.text))
        return;
    launch_tensor(&launch, y);
    launch_buffer(&launch, ids);
    launch_buffer(&launch, table.memory);
    launch_tensor(&launch, position);
    launch_buffer(&launch, own ? own->memory : NULL);
    launch_size(&launch, tokens);
    launch_size(&launch, y.c);
    launch_size(&launch, table.n * table.h * table.w);
    launch_run(&launch, (size_t[3]){y.c, y.n * tokens, 1}, NULL);
}

void time_embedding(struct stream *s, struct tensor y, cl_mem step,
                    bool flip_sin_to_cos, float freq_shift)
{
    struct launch launch;
    assert(y.h == 1 && y.w == 1 && y.c >= 2);
    struct launch_options options =
        launch_options("-DX_HALF=0 -DW_HALF=0 -DY_HALF=%d", y.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "embed.cl", "time_embedding", options.text))
        return;
    launch_tensor(&launch, y);
    launch_buffer(&launch, step);
    launch_size(&launch, y.c);
    launch_size(&launch, flip_sin_to_cos);
    launch_float(&launch, freq_shift);
    launch_run(&launch, (size_t[3]){y.c, y.n, 1}, NULL);
}
