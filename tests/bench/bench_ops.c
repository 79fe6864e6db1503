/* Speed of the operations on a device, beside what the device can do at most.
 *
 *     bench_ops [--json] [--device N] [--only TEXT]
 *
 * Every line measures its own FMA peak before and after, since shared machines change speed.
 * On CPUs the last column takes the processor's time for both, not the wall clock's: what
 * the kernel is worth when others use the cores.
 * Work is that of SD 1.5's UNet at 64 x 64 latents with one batch row. The best of several
 * runs counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/embedded.h"
#include "base/path.h"
#include "opencl/ops.h"

extern const struct embedded_file bench_sources[];

struct bench {
    struct gpu *gpu;
    bool json;
    const char *only;
    cl_program program;
    cl_kernel fma_peak, copy;
    cl_mem out;
    size_t lanes;
};

/* What is timed: one op, enqueued by `enqueue`. */
struct work {
    char name[100];
    double operations;
    struct tensor y, x, k, v;
    struct linear linear;
    struct conv conv;
    struct norm norm;
    enum activation activation;
    size_t heads, stride;
    void (*enqueue)(struct stream *, struct work *);
};

static void die(const struct error *error)
{
    fprintf(stderr, "bench_ops: %s\n", error->text);
    exit(1);
}

static void open_peak(struct bench *self)
{
    struct error error = {0};
    cl_int code;
    cl_device_id device = gpu_device(self->gpu);
    const struct gpu_info *info = gpu_info(self->gpu);
    const char *text = bench_sources[0].text;
    self->lanes = info->native_width >= 16 ? 16 : info->native_width >= 8 ? 8 : 4;
    char *options = path_format("-cl-std=CL1.2 -DLANES=%zu", self->lanes);
    self->program =
        clCreateProgramWithSource(gpu_context(self->gpu), 1, &text, NULL, &code);
    if (!gpu_check(code, "clCreateProgramWithSource", "peak.cl", &error) ||
        !gpu_check(clBuildProgram(self->program, 1, &device, options, NULL, NULL),
                   "clBuildProgram", "peak.cl", &error))
        die(&error);
    self->fma_peak = clCreateKernel(self->program, "fma_peak", NULL);
    self->copy = clCreateKernel(self->program, "copy", NULL);
    self->out = gpu_allocate(self->gpu, 1 << 20, &error);
    if (!self->out)
        die(&error);
    free(options);
}

static void close_peak(struct bench *self)
{
    gpu_release(self->gpu, &self->out);
    clReleaseKernel(self->fma_peak);
    clReleaseKernel(self->copy);
    clReleaseProgram(self->program);
}

struct seconds {
    double wall, cpu;
};

static struct seconds now(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return (struct seconds){(double)clock_us() * 1e-6,
                            (double)cpu.tv_sec + (double)cpu.tv_nsec * 1e-9};
}

static struct seconds since(struct seconds from)
{
    struct seconds to = now();
    return (struct seconds){to.wall - from.wall, to.cpu - from.cpu};
}

static void keep_less(struct seconds *least, struct seconds s)
{
    if (s.wall < least->wall)
        least->wall = s.wall;
    if (s.cpu < least->cpu)
        least->cpu = s.cpu;
}

/* What one enqueue-and-wait takes. */
static struct seconds time_kernel(struct bench *self, cl_kernel kernel, size_t items,
                                  size_t group)
{
    struct error error = {0};
    struct seconds from = now();
    if (!gpu_enqueue(self->gpu, kernel, "peak", (size_t[3]){items, 1, 1},
                     (size_t[3]){group, 1, 1}, &error) ||
        !gpu_finish(self->gpu, &error))
        die(&error);
    return since(from);
}

/* What 1e9 operations take at least, of some tries of about ten milliseconds. */
static struct seconds fma_peak(struct bench *self)
{
    const struct gpu_info *info = gpu_info(self->gpu);
    size_t group = info->is_cpu ? 1 : 128;
    size_t items = info->is_cpu ? info->units * 8 : (size_t)info->units * 2048;
    cl_int rounds = info->is_cpu ? 400000 / 8 : 2000;
    float factor = 0.5F;
    struct seconds best = {1e9, 1e9};
    clSetKernelArg(self->fma_peak, 0, sizeof self->out, &self->out);
    clSetKernelArg(self->fma_peak, 1, sizeof rounds, &rounds);
    clSetKernelArg(self->fma_peak, 2, sizeof factor, &factor);
    for (int i = 0; i < 5; i++)
        keep_less(&best, time_kernel(self, self->fma_peak, items, group));
    double operations = (double)items * rounds * 24 * (double)self->lanes * 1e-9;
    return (struct seconds){best.wall / operations, best.cpu / operations};
}

static void print_copy_bandwidth(struct bench *self)
{
    struct error error = {0};
    size_t bytes = 256 << 20;
    cl_mem from = gpu_allocate(self->gpu, bytes, &error);
    cl_mem to = from ? gpu_allocate(self->gpu, bytes, &error) : NULL;
    if (!to)
        die(&error);
    clSetKernelArg(self->copy, 0, sizeof to, &to);
    clSetKernelArg(self->copy, 1, sizeof from, &from);
    struct seconds best = {1e9, 1e9};
    for (int i = 0; i < 5; i++)
        keep_less(&best, time_kernel(self, self->copy, bytes / 64, 64));
    double rate = 2 * (double)bytes / best.wall * 1e-9;
    if (self->json)
        printf("{\"work\": \"copy\", \"ours_s\": %.6f, \"gb_per_s\": %.2f}\n",
               best.wall, rate);
    else
        printf("%-44s %6.1f GB/s read and written\n", "copy 256 MiB", rate);
    gpu_release(self->gpu, &from);
    gpu_release(self->gpu, &to);
}

/* ---- Work */

static void enqueue_linear(struct stream *s, struct work *w)
{
    linear(s, w->y, w->x, &w->linear, w->activation, NULL);
}

static void enqueue_conv(struct stream *s, struct work *w)
{
    conv2d(s, w->y, w->x, &w->conv,
           &(struct conv_options){.stride = (unsigned)w->stride});
}

static void enqueue_attention(struct stream *s, struct work *w)
{
    attention(s, w->y, w->x, w->k, w->v,
              &(struct attention_options){.heads = w->heads});
}

static void enqueue_group_norm(struct stream *s, struct work *w)
{
    group_norm(s, w->y, w->x, &w->norm, 32, ACTIVATION_SILU);
}

static void enqueue_layer_norm(struct stream *s, struct work *w)
{
    layer_norm(s, w->y, w->x, &w->norm);
}

static float *random_values(size_t count, float factor)
{
    float *values = malloc(count * sizeof *values);
    if (!values)
        abort();
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525 + 1013904223;
        values[i] = ((float)(state >> 8) * 0x1p-23F - 1) * factor;
    }
    return values;
}

static struct tensor new_tensor(struct bench *self, size_t h, size_t w, size_t c)
{
    struct error error = {0};
    struct tensor tensor;
    if (!tensor_new(&tensor, self->gpu, DTYPE_F32, 1, h, w, c, &error))
        die(&error);
    float *values = random_values(h * w * c, 1);
    if (!tensor_upload(&tensor, self->gpu, values, &error))
        die(&error);
    free(values);
    return tensor;
}

static struct stream *plan(struct bench *self, struct work *work)
{
    struct error error = {0};
    struct stream *stream = stream_new(self->gpu, DTYPE_F32, &error);
    if (!stream)
        die(&error);
    stream_plan(stream);
    work->enqueue(stream, work);
    if (!stream_ready(stream, &error))
        die(&error);
    return stream;
}

static struct seconds time_work(struct bench *self, struct stream *stream,
                                struct work *work)
{
    struct error error = {0};
    struct seconds from = now();
    stream_run(stream);
    work->enqueue(stream, work);
    if (!stream_end(stream, &error) || !gpu_finish(self->gpu, &error))
        die(&error);
    return since(from);
}

static void measure(struct bench *self, struct work *work)
{
    struct stream *stream = plan(self, work);
    struct seconds best = {1e9, 1e9}, peak = fma_peak(self);
    double spent = 0;
    for (int i = 0; i < 20 && (i < 3 || spent < 1); i++) {
        struct seconds s = time_work(self, stream, work);
        spent += s.wall;
        keep_less(&best, s);
    }
    keep_less(&peak, fma_peak(self));
    double rate = work->operations / best.wall * 1e-9;
    if (self->json)
        printf("{\"work\": \"%s\", \"ours_s\": %.6f, \"gflops\": %.2f, "
               "\"fma_peak_gflops\": %.2f}\n",
               work->name, best.wall, rate, 1 / peak.wall);
    else
        printf("%-40s %9.3f ms %8.1f GFLOP/s %5.2f of peak %.0f %5.2f\n", work->name,
               best.wall * 1e3, rate, rate * peak.wall, 1 / peak.wall,
               work->operations * 1e-9 / best.cpu * peak.cpu);
    fflush(stdout);
    stream_destroy(&stream);
    tensor_destroy(&work->y, self->gpu);
    tensor_destroy(&work->x, self->gpu);
    if (work->k.memory)
        tensor_destroy(&work->k, self->gpu);
    if (work->v.memory)
        tensor_destroy(&work->v, self->gpu);
    linear_clear(&work->linear, self->gpu);
    conv_clear(&work->conv, self->gpu);
    norm_clear(&work->norm, self->gpu);
}

static bool skipped(const struct bench *self, const struct work *work)
{
    return self->only && !strstr(work->name, self->only);
}

static void bench_linear(struct bench *self, size_t rows, size_t in, size_t out,
                         enum activation activation)
{
    struct error error = {0};
    bool geglu = activation == ACTIVATION_GEGLU;
    struct work work = {.enqueue = enqueue_linear,
                        .activation = activation,
                        .operations = 2 * (double)rows * (double)in * (double)out};
    snprintf(work.name, sizeof work.name, "gemm %zu x %zu -> %zu%s", rows, in, out,
             geglu ? " geglu" : "");
    if (skipped(self, &work))
        return;
    float *weights = random_values(in * out, 0.05F);
    struct host_tensor host = {HOST_F32, 2, {out, in}, weights};
    if (!linear_load(&work.linear, self->gpu, DTYPE_F32, geglu, &host, NULL, &error))
        die(&error);
    work.x = new_tensor(self, 1, rows, in);
    work.y = new_tensor(self, 1, rows, geglu ? out / 2 : out);
    measure(self, &work);
    free(weights);
}

static void bench_conv(struct bench *self, size_t side, size_t in, size_t out,
                       size_t size, size_t stride)
{
    struct error error = {0};
    size_t to = side / stride;
    struct work work = {.enqueue = enqueue_conv,
                        .stride = stride,
                        .operations =
                            2 * (double)(to * to * size * size) * (double)(in * out)};
    snprintf(work.name, sizeof work.name, "conv %zux%zu /%zu %zu^2 x %zu -> %zu", size,
             size, stride, side, in, out);
    if (skipped(self, &work))
        return;
    float *weights = random_values(in * out * size * size, 0.02F);
    struct host_tensor host = {HOST_F32, 4, {out, in, size, size}, weights};
    if (!conv_load(&work.conv, self->gpu, DTYPE_F32, &host, NULL, &error))
        die(&error);
    work.x = new_tensor(self, side, side, in);
    work.y = new_tensor(self, to, to, out);
    measure(self, &work);
    free(weights);
}

static void bench_attention(struct bench *self, size_t queries, size_t keys,
                            size_t width, size_t heads)
{
    struct work work = {.enqueue = enqueue_attention,
                        .heads = heads,
                        .operations =
                            4 * (double)(queries * keys) * (double)(width * heads)};
    snprintf(work.name, sizeof work.name, "attention %zu x %zu, %zu x %zu", queries,
             keys, heads, width);
    if (skipped(self, &work))
        return;
    work.x = new_tensor(self, 1, queries, width * heads);
    work.k = new_tensor(self, 1, keys, width * heads);
    work.v = new_tensor(self, 1, keys, width * heads);
    work.y = new_tensor(self, 1, queries, width * heads);
    measure(self, &work);
}

/* Operations: two a value, so that the rate is comparable with the copy's. */
static void bench_norm(struct bench *self, size_t side, size_t c, bool group)
{
    struct error error = {0};
    struct work work = {.enqueue = group ? enqueue_group_norm : enqueue_layer_norm,
                        .operations = 2 * (double)(side * side * c)};
    snprintf(work.name, sizeof work.name, "%s_norm %zu^2 x %zu",
             group ? "group" : "layer", side, c);
    if (skipped(self, &work))
        return;
    float *ones = random_values(c, 1);
    struct host_tensor host = {HOST_F32, 1, {c}, ones};
    if (!norm_load(&work.norm, self->gpu, 1e-5F, &host, &host, &error))
        die(&error);
    work.x = new_tensor(self, side, side, c);
    work.y = new_tensor(self, side, side, c);
    measure(self, &work);
    free(ones);
}

static void bench_all(struct bench *self)
{
    static const size_t levels[][2] = {{64, 320}, {32, 640}, {16, 1280}, {8, 1280}};
    for (size_t i = 0; i < 4; i++) {
        size_t side = levels[i][0], c = levels[i][1], rows = side * side;
        bench_linear(self, rows, c, c, ACTIVATION_NONE);
        bench_linear(self, rows, c, 8 * c, ACTIVATION_GEGLU);
        bench_linear(self, rows, 4 * c, c, ACTIVATION_NONE);
    }
    bench_linear(self, 77, 768, 320, ACTIVATION_NONE);
    bench_linear(self, 77, 768, 3072, ACTIVATION_QUICK_GELU);
    bench_linear(self, 1, 1280, 1280, ACTIVATION_SILU);
    for (size_t i = 0; i < 4; i++)
        bench_conv(self, levels[i][0], levels[i][1], levels[i][1], 3, 1);
    bench_conv(self, 64, 4, 320, 3, 1);
    bench_conv(self, 64, 320, 4, 3, 1);
    bench_conv(self, 64, 960, 320, 3, 1);
    bench_conv(self, 64, 320, 320, 3, 2);
    bench_conv(self, 64, 960, 320, 1, 1);
    bench_conv(self, 512, 128, 128, 3, 1);
    for (size_t i = 0; i < 4; i++)
        bench_attention(self, levels[i][0] * levels[i][0], levels[i][0] * levels[i][0],
                        levels[i][1] / 8, 8);
    bench_attention(self, 4096, 77, 40, 8);
    bench_attention(self, 1024, 77, 80, 8);
    bench_attention(self, 4096, 4096, 512, 1);
    bench_norm(self, 64, 320, true);
    bench_norm(self, 16, 1280, true);
    bench_norm(self, 64, 320, false);
}

int main(int count, char **arguments)
{
    struct error error = {0};
    struct bench self = {0};
    size_t device = 0;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--json") == 0) {
            self.json = true;
        } else if (strcmp(arguments[i], "--device") == 0 && i + 1 < count) {
            device = strtoul(arguments[++i], NULL, 10);
        } else if (strcmp(arguments[i], "--only") == 0 && i + 1 < count) {
            self.only = arguments[++i];
        } else {
            fprintf(stderr, "usage: bench_ops [--json] [--device N] [--only TEXT]\n");
            return 2;
        }
    }
    self.gpu = gpu_open(device, &error);
    if (!self.gpu)
        die(&error);
    if (!self.json)
        printf("%s\n", gpu_info(self.gpu)->kind);
    open_peak(&self);
    print_copy_bandwidth(&self);
    bench_all(&self);
    close_peak(&self);
    gpu_close(&self.gpu);
    return 0;
}
