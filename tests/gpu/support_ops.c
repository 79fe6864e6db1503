#include "tests/gpu/support_ops.h"

#include "opencl/half.h"

struct gpu *gpu;

static int open_path(const char *path)
{
    struct error error = {0};
    setenv("FARM_GPU_PATH", path, 1);
    gpu = gpu_open(0, &error);
    if (!gpu)
        print_error("%s\n", error.text);
    return gpu ? 0 : -1;
}

int open_cpu_path(void **state)
{
    return open_path("cpu");
}

int open_cpu8_path(void **state)
{
    return open_path("cpu8");
}

int open_cpu16_path(void **state)
{
    return open_path("cpu16");
}

int open_gpu_path(void **state)
{
    return open_path("gpu");
}

int close_gpu(void **state)
{
    assert_int_equal(gpu_allocated(gpu), 0);
    gpu_close(&gpu);
    return 0;
}

int run_on_units(const struct CMUnitTest *tests, size_t count)
{
    int failed = 0;
    for (size_t i = 0; matrix_name(i); i++) {
        char name[64];
        snprintf(name, sizeof name, "emulated-%s", matrix_name(i));
        setenv("FARM_MATRIX", name, 1);
        failed += _cmocka_run_group_tests(name, tests, count, open_gpu_path, close_gpu);
    }
    unsetenv("FARM_MATRIX");
    return failed;
}

float *random_values(size_t count, enum dtype dtype, unsigned seed)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
        if (dtype == DTYPE_F16)
            values[i] = half_to_float(half_from_float(values[i]));
    }
    return values;
}

struct tensor tensor_from(enum dtype dtype, size_t n, size_t h, size_t w, size_t c,
                          const float *values)
{
    struct tensor tensor;
    assert_ok(tensor_new(&tensor, gpu, dtype, n, h, w, c, &error));
    size_t count = tensor_count(&tensor);
    float *nothing = NULL;
    if (!values) {
        nothing = malloc(count * sizeof *nothing);
        for (size_t i = 0; i < count; i++)
            nothing[i] = NAN;
    }
    assert_ok(tensor_upload(&tensor, gpu, values ? values : nothing, &error));
    free(nothing);
    return tensor;
}

float *tensor_values(const struct tensor *tensor)
{
    float *values = malloc(tensor_count(tensor) * sizeof *values);
    assert_ok(tensor_download(tensor, gpu, values, &error));
    return values;
}

struct host_tensor host_floats(const float *values, size_t dims, const size_t *shape)
{
    struct host_tensor tensor = {.type = HOST_F32, .dims = dims, .data = values};
    memcpy(tensor.shape, shape, dims * sizeof *shape);
    return tensor;
}

void run_stream(enum dtype dtype, void (*enqueue)(struct stream *, void *),
                void *context)
{
    struct stream *stream = stream_new(gpu, dtype, NULL);
    stream_plan(stream);
    enqueue(stream, context);
    assert_ok(stream_ready(stream, &error));
    stream_run(stream);
    enqueue(stream, context);
    assert_ok(stream_end(stream, &error));
    assert_ok(gpu_finish(gpu, &error));
    stream_destroy(&stream);
}

void assert_close(const struct tensor *y, const double *want)
{
    float *got = tensor_values(y);
    double most = y->dtype == DTYPE_F16 ? 1e-3 : 1e-5;
    double off = relative_error(got, want, tensor_count(y));
    free(got);
    if (!(off < most))
        fail_msg("relative error %g of a tensor %zu x %zu x %zu x %zu", off, y->n, y->h,
                 y->w, y->c);
}
