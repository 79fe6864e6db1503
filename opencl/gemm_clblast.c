#include "opencl/gemm_clblast.h"

#include <assert.h>
#include <clblast_c.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/launch.h"

bool clblast_wanted(enum dtype dtype)
{
    const char *provider = getenv("FARM_GEMM");
    return dtype == DTYPE_F32 && provider && strcmp(provider, "clblast") == 0;
}

static void multiply(struct stream *s, const struct gemm *g, struct tensor sums)
{
    const struct packed *w = g->weights;
    cl_command_queue queue = gpu_queue(stream_gpu(s));
    CLBlastStatusCode code =
        CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo,
                     sums.w, w->panel, w->k, 1, g->x.memory, 0, w->k, w->weights, 0,
                     w->panel, 0, sums.memory, 0, w->panel, &queue, NULL);
    if (code == CLBlastSuccess)
        return;
    struct error error = {0};
    error_set_kind(
        &error, ERROR_DEVICE,
        "CLBlastSgemm of %zu x %zu x %zu: error %d; without FARM_GEMM=clblast "
        "our own kernels are used",
        sums.w, w->panel, w->k, (int)code);
    stream_fail(s, &error);
}

void run_on_clblast(struct stream *s, const struct gemm *g, const char *types)
{
    struct launch launch;
    size_t rows = g->y.n * g->y.h * g->y.w, panel = g->weights->panel;
    assert(g->size == 1 && g->stride == 1 && g->weights->panels == 1);
    struct tensor sums = tensor_take_as(s, DTYPE_F32, 1, 1, rows, panel);
    if (stream_is_running(s))
        multiply(s, g, sums);
    if (launch_begin(&launch, s, "finish.cl", "finish_rows", types)) {
        launch_tensor(&launch, g->y);
        launch_tensor(&launch, sums);
        launch_buffer(&launch, g->weights->bias);
        launch_buffer(&launch, g->row_bias ? g->row_bias->memory : NULL);
        launch_buffer(&launch, g->residual ? g->residual->memory : NULL);
        launch_size(&launch, panel);
        launch_size(&launch, g->y.c);
        launch_size(&launch, g->y.h * g->y.w);
        launch_run(&launch, (size_t[3]){panel / 8, rows, 1}, NULL);
    }
    tensor_give(s, &sums);
}
