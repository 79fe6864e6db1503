#include <assert.h>
#include <string.h>

#include "opencl/launch.h"
#include "opencl/ops.h"

static_assert(sizeof(struct step) == 100, "the kernels read it as 25 words");

void sample_input(struct stream *s, struct tensor y, struct tensor x, cl_mem step)
{
    struct launch launch;
    size_t count = tensor_count(&x);
    assert(x.dtype == DTYPE_F32 && tensor_count(&y) % count == 0);
    struct launch_options options =
        launch_options("-DX_HALF=0 -DY_HALF=%d", y.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "sample.cl", "sample_input", options.text))
        return;
    launch_tensor(&launch, y);
    launch_tensor(&launch, x);
    launch_buffer(&launch, step);
    launch_size(&launch, count);
    launch_run(&launch, (size_t[3]){tensor_count(&y), 1, 1}, NULL);
}

/* One factor an image: what rescaling makes of the guided output. */
static void measure_factor(struct stream *s, struct tensor factor, struct tensor e,
                           size_t count, cl_mem step)
{
    enum { LANES = 64 };
    struct launch launch;
    struct launch_options options = launch_options("-DX_HALF=%d -DY_HALF=0 -DLANES=%d",
                                                   e.dtype == DTYPE_F16, LANES);
    if (!launch_begin(&launch, s, "sample.cl", "sample_factor", options.text))
        return;
    launch_tensor(&launch, factor);
    launch_tensor(&launch, e);
    launch_buffer(&launch, step);
    launch_size(&launch, count / factor.n);
    launch_size(&launch, count);
    launch_run(&launch, (size_t[3]){factor.n * LANES, 1, 1}, (size_t[3]){LANES, 1, 1});
}

static void advance(struct stream *s, struct tensor x, struct tensor e,
                    struct tensor factor, const struct tensor history[4],
                    struct tensor z, cl_mem step)
{
    struct launch launch;
    size_t count = tensor_count(&x);
    struct launch_options options =
        launch_options("-DX_HALF=%d -DY_HALF=0", e.dtype == DTYPE_F16);
    if (!launch_begin(&launch, s, "sample.cl", "sample_update", options.text))
        return;
    launch_tensor(&launch, x);
    launch_tensor(&launch, e);
    launch_tensor(&launch, factor);
    for (int i = 0; i < 4; i++) {
        assert(history[i].dtype == DTYPE_F32 && tensor_count(&history[i]) == count);
        launch_tensor(&launch, history[i]);
    }
    launch_tensor(&launch, z);
    launch_buffer(&launch, step);
    launch_size(&launch, count);
    launch_size(&launch, count / x.n);
    launch_size(&launch, tensor_count(&e) == 2 * count);
    launch_run(&launch, (size_t[3]){count, 1, 1}, NULL);
}

void sample_update(struct stream *s, struct tensor x, struct tensor e,
                   const struct tensor history[4], struct tensor z, cl_mem step)
{
    size_t count = tensor_count(&x), given = tensor_count(&e);
    assert(x.dtype == DTYPE_F32 && (given == count || given == 2 * count));
    struct tensor factor = tensor_take_as(s, DTYPE_F32, x.n, 1, 1, 1);
    if (given == 2 * count)
        measure_factor(s, factor, e, count, step);
    advance(s, x, e, factor, history, z, step);
    tensor_give(s, &factor);
}

/* By way of a kernel's argument: it is copied when enqueued, so that nobody waits. */
void step_write(struct stream *s, cl_mem buffer, const struct step *step)
{
    struct launch launch;
    if (!launch_begin(&launch, s, "sample.cl", "step_write", "-DX_HALF=0 -DY_HALF=0"))
        return;
    unsigned char words[128] = {0};
    memcpy(words, step, sizeof *step);
    launch_buffer(&launch, buffer);
    launch_bytes(&launch, words, 64);
    launch_bytes(&launch, words + 64, 64);
    launch_run(&launch, (size_t[3]){1, 1, 1}, NULL);
}
