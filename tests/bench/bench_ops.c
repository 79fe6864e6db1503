/* Speed of the operations on a device, beside what the device can do at most.
 *
 *     bench_ops [--json] [--device N] [--only TEXT] [--steps-from-stdin]
 *
 * Every line measures its own FMA peak before and after, since shared machines change speed.
 * On CPUs the last column takes the processor's time for both, not the wall clock's: what
 * the kernel is worth when others use the cores.
 * Work is that of SD 1.5's UNet at 64 x 64 latents with one batch row. The best of several
 * runs counts. With --steps-from-stdin each work is described by a line of JSON, with the FMA
 * peak before it, runs once for each empty line read, and makes place for the next at any
 * other: so bench.py alternates it with a peer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "opencl/ops.h"
#include "opencl/peak.h"
#include "opencl/prove.h"

struct bench {
    struct gpu *gpu;
    bool json, from_stdin;
    const char *only;
    struct peak peak;
};

/* What is timed: one op, enqueued by `enqueue`. Its roof is the device's rate of multiply-adds,
 * or of copying where it says how many bytes it moves instead. */
struct work {
    char name[100], shape[160]; /* shape: JSON's members for the peer */
    double operations, bytes;
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

/* What 1e9 operations, or bytes, take at least, of some tries of tens of milliseconds. */
static struct seconds least(struct bench *self,
                            bool (*run)(struct peak *, double *, struct error *))
{
    struct error error = {0};
    struct seconds best = {1e9, 1e9};
    double amount = 0;
    for (int i = 0; i < 5; i++) {
        struct seconds from = now();
        if (!run(&self->peak, &amount, &error))
            die(&error);
        keep_less(&best, since(from));
    }
    return (struct seconds){best.wall / amount * 1e9, best.cpu / amount * 1e9};
}

/* What 1e9 of a work's operations, or of its bytes, take at least. */
static struct seconds roof(struct bench *self, const struct work *work)
{
    return least(self, work->bytes > 0 ? peak_copy : peak_fma);
}

static void print_copy_bandwidth(struct bench *self)
{
    double rate = 1 / least(self, peak_copy).wall;
    if (self->json)
        printf("{\"work\": \"copy\", \"gb_per_s\": %.2f}\n", rate);
    else
        printf("%-44s %6.1f GB/s read and written\n", "copy 256 MiB", rate);
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

/* A run for each empty line. */
static void answer(struct bench *self, struct stream *stream, struct work *work)
{
    char line[16];
    time_work(self, stream, work); /* kernels are built, pages are there */
    const char *amount = work->bytes > 0 ? "bytes" : "operations";
    printf("{\"work\": \"%s\", %s, \"%s\": %.0f, \"%s\": %.2f}\n", work->name,
           work->shape, amount, work->bytes + work->operations,
           work->bytes > 0 ? "copy_gb_per_s" : "fma_peak_gflops",
           1 / roof(self, work).wall);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && line[0] == '\n') {
        printf("%.6f\n", time_work(self, stream, work).wall);
        fflush(stdout);
    }
}

static void report(struct bench *self, struct stream *stream, struct work *work)
{
    struct seconds best = {1e9, 1e9}, peak = roof(self, work);
    double spent = 0;
    for (int i = 0; i < 20 && (i < 3 || spent < 1); i++) {
        struct seconds s = time_work(self, stream, work);
        spent += s.wall;
        keep_less(&best, s);
    }
    keep_less(&peak, roof(self, work));
    bool bytes = work->bytes > 0;
    double amount = (work->bytes + work->operations) * 1e-9, rate = amount / best.wall;
    if (self->json)
        printf("{\"work\": \"%s\", \"ours_s\": %.6f, \"%s\": %.2f, \"%s\": %.2f}\n",
               work->name, best.wall, bytes ? "gb_per_s" : "gflops", rate,
               bytes ? "copy_gb_per_s" : "fma_peak_gflops", 1 / peak.wall);
    else
        printf("%-40s %9.3f ms %8.1f %s %5.2f of %s %.0f %5.2f\n", work->name,
               best.wall * 1e3, rate, bytes ? "GB/s   " : "GFLOP/s", rate * peak.wall,
               bytes ? "copy" : "peak", 1 / peak.wall, amount / best.cpu * peak.cpu);
    fflush(stdout);
}

static void measure(struct bench *self, struct work *work)
{
    struct stream *stream = plan(self, work);
    (self->from_stdin ? answer : report)(self, stream, work);
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
    snprintf(work.shape, sizeof work.shape,
             "\"op\": \"linear\", \"rows\": %zu, \"in\": %zu, \"out\": %zu, "
             "\"activation\": %d",
             rows, in, out, (int)activation);
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
    snprintf(work.shape, sizeof work.shape,
             "\"op\": \"conv\", \"side\": %zu, \"in\": %zu, \"out\": %zu, "
             "\"size\": %zu, \"stride\": %zu",
             side, in, out, size, stride);
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
    snprintf(work.shape, sizeof work.shape,
             "\"op\": \"attention\", \"queries\": %zu, \"keys\": %zu, "
             "\"width\": %zu, \"heads\": %zu",
             queries, keys, width, heads);
    if (skipped(self, &work))
        return;
    work.x = new_tensor(self, 1, queries, width * heads);
    work.k = new_tensor(self, 1, keys, width * heads);
    work.v = new_tensor(self, 1, keys, width * heads);
    work.y = new_tensor(self, 1, queries, width * heads);
    measure(self, &work);
}

/* Bytes: of x, read twice by group_norm, and of y. */
static void bench_norm(struct bench *self, size_t side, size_t c, bool group)
{
    struct error error = {0};
    struct work work = {.enqueue = group ? enqueue_group_norm : enqueue_layer_norm,
                        .bytes = (group ? 12 : 8) * (double)(side * side * c)};
    snprintf(work.name, sizeof work.name, "%s_norm %zu^2 x %zu",
             group ? "group" : "layer", side, c);
    snprintf(work.shape, sizeof work.shape,
             "\"op\": \"%s_norm\", \"side\": %zu, \"c\": %zu",
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
    bench_norm(self, 512, 128, true);
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
        } else if (strcmp(arguments[i], "--steps-from-stdin") == 0) {
            self.from_stdin = true;
        } else if (strcmp(arguments[i], "--device") == 0 && i + 1 < count) {
            device = strtoul(arguments[++i], NULL, 10);
        } else if (strcmp(arguments[i], "--only") == 0 && i + 1 < count) {
            self.only = arguments[++i];
        } else {
            fprintf(stderr, "usage: bench_ops [--json] [--device N] [--only TEXT] "
                            "[--steps-from-stdin]\n");
            return 2;
        }
    }
    self.gpu = gpu_open(device, &error);
    if (!self.gpu || (gpu_matrix_candidate(self.gpu) && !gpu_prove(self.gpu, &error)))
        die(&error);
    if (!self.json && !self.from_stdin)
        printf("%s\n", gpu_info(self.gpu)->kind);
    if (!peak_open(&self.peak, self.gpu, &error))
        die(&error);
    if (!self.from_stdin)
        print_copy_bandwidth(&self);
    bench_all(&self);
    peak_close(&self.peak);
    gpu_close(&self.gpu);
    return 0;
}
