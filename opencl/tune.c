#include "opencl/tune.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "opencl/gemm.h"
#include "opencl/program.h"

enum {
    ROUNDS = 5,     /* in which each variant has its turn */
    TURN_US = 2000, /* a turn's launches take at least about so long, */
    LAUNCHES_MOST = 64,
    CLASS_US = 3000000, /* and all of a class not much more than this */
    VARIANTS_MOST = 16,
    ROWS_LEAST = 512,
};

/* Multiplications and additions of one run: rows are left out of larger products. */
static const double CPU_WORK_MOST = 4e9, GPU_WORK_MOST = 5e10;

/* The product that is measured, made of random values. */
struct trial {
    struct gpu *gpu;
    struct tuning *tuning;
    struct stream *stream;
    struct gemm gemm;
    struct packed packed;
    uint8_t *poison, *want,
        *got; /* y's bytes before a run, as variant 0 leaves them, now */
    size_t bytes, launches;
    bool (*stop)(void *);
    void *context;
    bool stopped;
};

static char *folder_of_cache(void)
{
    char *cache = path_cache(), *folder = path_format("%s/tuning", cache);
    free(cache);
    return folder;
}

bool tune_start(struct gpu *gpu, struct error *error)
{
    static const char *const files[] = {"gemm_cpu.cl", "gemm_gpu.cl", "gemm_matrix.cl"};
    uint8_t identity[TUNING_IDENTITY];
    if (!programs_identity(gpu, files, sizeof files / sizeof *files, identity, error))
        return false;
    struct tuning *tuning = tuning_new(identity);
    char *folder = folder_of_cache();
    tuning_load(tuning, folder);
    free(folder);
    programs_tune(gpu_programs(gpu), tuning);
    return true;
}

static void save(struct gpu *gpu)
{
    struct error error = {0};
    char *folder = folder_of_cache();
    if (!tuning_save(programs_tuning(gpu_programs(gpu)), folder, &error))
        log_warn("what was measured is not kept: %s", error.text);
    free(folder);
}

void tune_told(struct gpu *gpu, const struct tuned *told, size_t count)
{
    struct tuning *tuning = programs_tuning(gpu_programs(gpu));
    size_t taken = 0;
    for (size_t i = 0; tuning && i < count; i++) {
        struct tuned other = told[i];
        other.own = false;
        const struct tuned *known = tuning_find(tuning, &other.shape);
        if (!known || !known->at)
            taken += tuning_learn(tuning, &other);
    }
    if (taken) {
        log_info("took %zu results of tuning from others of this kind", taken);
        save(gpu);
    }
}

/* ---- The product */

static float *draw(size_t count, uint64_t seed)
{
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; values && i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(int32_t)(seed >> 32) * 0x1p-31f;
    }
    return values;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* y's and x's shapes: of the pictures that were rendered at once so many, and of a picture so
 * many rows, that a run is short. A product that gathers reads nothing beyond the rows left. */
static void shape_operands(struct trial *self, const struct tuning_wanted *wanted)
{
    const struct tuning_shape *shape = &wanted->shape;
    bool on_cpu = shape->kernel == TUNING_CPU;
    size_t k = (size_t)shape->size * shape->size * wanted->x_c;
    double row = 2 * (double)k * (double)wanted->columns * (wanted->geglu ? 2 : 1);
    double fit = (on_cpu ? CPU_WORK_MOST : GPU_WORK_MOST) / row;
    size_t rows = fit > ROWS_LEAST ? (size_t)fit : ROWS_LEAST;
    enum dtype dtype = shape->x_half ? DTYPE_F16 : DTYPE_F32;
    struct gemm *g = &self->gemm;
    size_t pictures = wanted->n, line = wanted->w, high = wanted->h;
    if (high * line > 0 && pictures > 1)
        pictures = least(pictures, 1 + rows / (high * line));
    *g =
        (struct gemm){.weights = &self->packed,
                      .size = shape->size,
                      .stride = wanted->stride,
                      .pad = wanted->pad,
                      .up_h = wanted->up_h,
                      .up_w = wanted->up_w,
                      .pictures = pictures,
                      .activation = wanted->geglu ? ACTIVATION_GEGLU : ACTIVATION_NONE};
    g->y = (struct tensor){.dtype = dtype, .n = pictures, .c = wanted->columns};
    g->x = (struct tensor){.dtype = dtype, .n = pictures, .c = wanted->x_c};
    bool flat = high == 1 && g->size == 1 && line == wanted->x_w;
    g->y.h = high == 1 ? 1 : least(high, 1 + rows / line);
    g->y.w = flat ? least(line, rows) : line;
    g->x.h = wanted->x_h;
    g->x.w = flat ? g->y.w : wanted->x_w;
    if (flat)
        g->up_w = g->x.w;
}

static bool fill(struct trial *self, struct tensor *x, struct error *error)
{
    float *values = draw(tensor_count(x), 1);
    struct tensor made = {0};
    bool ok =
        values && tensor_new(&made, self->gpu, x->dtype, x->n, x->h, x->w, x->c, error);
    ok = ok && tensor_upload(&made, self->gpu, values, error);
    if (!values)
        error_set_kind(error, ERROR_MEMORY, "no memory for a product to measure");
    free(values);
    x->memory = made.memory;
    x->slot = SIZE_MAX;
    return ok;
}

static bool make_weights(struct trial *self, const struct tuning_wanted *wanted,
                         struct error *error)
{
    size_t size = self->gemm.size;
    size_t out = wanted->columns * (wanted->geglu ? 2 : 1);
    size_t count = out * wanted->x_c * size * size;
    float *values = draw(count, 2);
    struct host_tensor weight = {HOST_F32, 4, {out, wanted->x_c, size, size}, values};
    bool ok = values ? pack_weights(&self->packed, self->gpu,
                                    wanted->shape.w_half ? DTYPE_F16 : DTYPE_F32,
                                    wanted->geglu, false, &weight, NULL, error)
                     : error_set_kind(error, ERROR_MEMORY,
                                      "no memory for a product to measure");
    free(values);
    return ok;
}

static void end_trial(struct trial *self)
{
    stream_destroy(&self->stream);
    pack_clear(&self->packed, self->gpu);
    tensor_destroy(&self->gemm.x, self->gpu);
    tensor_destroy(&self->gemm.y, self->gpu);
    free(self->poison);
    free(self->want);
    free(self->got);
}

static bool begin_trial(struct trial *self, const struct tuning_wanted *wanted,
                        struct error *error)
{
    shape_operands(self, wanted);
    struct tensor *y = &self->gemm.y;
    self->bytes = tensor_count(y) * dtype_size(y->dtype);
    self->poison = malloc(self->bytes);
    self->want = malloc(self->bytes);
    self->got = malloc(self->bytes);
    if (!self->poison || !self->want || !self->got)
        return error_set_kind(error, ERROR_MEMORY,
                              "no memory for a product to measure");
    memset(self->poison, 0xff, self->bytes); /* not a number */
    self->stream = stream_new(self->gpu, y->dtype, error);
    return self->stream && make_weights(self, wanted, error) &&
           fill(self, &self->gemm.x, error) && fill(self, y, error);
}

/* ---- Runs */

static bool is_stopped(struct trial *self)
{
    self->stopped = self->stopped || (self->stop && self->stop(self->context));
    return self->stopped;
}

/* Seconds of so many launches in a row, waited for. */
static bool run(struct trial *self, size_t variant, size_t launches, double *seconds,
                struct error *error)
{
    self->tuning->forced = variant + 1;
    stream_plan(self->stream);
    gemm_run(self->stream, &self->gemm);
    bool ok = stream_ready(self->stream, error) && gpu_finish(self->gpu, error);
    int64_t from = clock_us();
    if (ok) {
        stream_run(self->stream);
        for (size_t i = 0; i < launches; i++)
            gemm_run(self->stream, &self->gemm);
        ok = stream_end(self->stream, error) && gpu_finish(self->gpu, error);
    }
    *seconds = (double)(clock_us() - from) / 1e6;
    self->tuning->forced = 0;
    return ok;
}

/* One run over poisoned memory; its bytes, all of which it must have written as the default
 * does. Variant 0 says what those are. */
static bool has_same_bytes(struct trial *self, size_t variant, double *seconds,
                           struct error *error)
{
    uint8_t *into = variant ? self->got : self->want;
    cl_mem y = self->gemm.y.memory;
    if (!gpu_write(self->gpu, y, self->poison, self->bytes, error) ||
        !run(self, variant, 1, seconds, error) ||
        !gpu_read(self->gpu, y, into, self->bytes, error))
        return false;
    return memcmp(into, self->want, self->bytes) == 0 ||
           error_set_kind(error, ERROR_DEVICE, "its bytes differ from the default's");
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Which variants may be chosen from. False when even the default does not run. */
static bool prove(struct trial *self, enum tuning_kernel kernel,
                  struct tuning_times *times, size_t *count, struct error *error)
{
    double seconds, first = 0;
    const struct tuning_variant *variant;
    for (*count = 0; (variant = tuning_variant(kernel, *count)); ++*count) {
        struct error why = {0};
        times[*count] = (struct tuning_times){0};
        if (is_stopped(self))
            return true;
        if (!gemm_fits(self->gpu, kernel, *count))
            continue;
        times[*count].fits = has_same_bytes(self, *count, &seconds, &why);
        if (!times[*count].fits && *count == 0) {
            *error = why;
            return false;
        }
        if (!times[*count].fits)
            log_warn("%s: variant %s of a product is not used: %s",
                     gpu_info(self->gpu)->name, variant->name, why.text);
        if (*count == 0)
            first = seconds;
    }
    self->launches = 1 + (size_t)(TURN_US / 1e6 / (first > 1e-6 ? first : 1e-6));
    self->launches = least(self->launches, LAUNCHES_MOST);
    return true;
}

static bool measure(struct trial *self, struct tuning_times *times, size_t count,
                    struct error *error)
{
    double taken[VARIANTS_MOST][ROUNDS];
    int64_t until = clock_us() + CLASS_US;
    size_t round = 0;
    for (; round < ROUNDS && (round < 3 || clock_us() < until); round++)
        for (size_t i = 0; i < count; i++) {
            if (is_stopped(self))
                return true;
            if (times[i].fits && !run(self, i, self->launches, &taken[i][round], error))
                return false;
        }
    for (size_t i = 0; i < count; i++)
        if (times[i].fits) {
            qsort(taken[i], round, sizeof taken[i][0], by_size);
            times[i].median = taken[i][round / 2];
            times[i].least = taken[i][0];
        }
    return true;
}

/* The winner of all meets the default once more, alone: on a machine that does other things as
 * well somebody always wins. The smaller of the two gains is the one told. */
static bool choose(struct trial *self, struct tuning_times *times, size_t count,
                   struct tuned *into, struct error *error)
{
    if (!measure(self, times, count, error))
        return false;
    size_t best = tuning_fastest(times, count);
    double gain = times[0].median / times[best].median;
    for (size_t i = 1; i < count; i++)
        times[i].fits = i == best;
    if (best && !measure(self, times, count, error))
        return false;
    if (tuning_fastest(times, count) != best)
        return true;
    double again = times[0].median / times[best].median;
    into->variant = best;
    into->gain = again < gain ? again : gain;
    return true;
}

enum tune_result tune_next(struct gpu *gpu, bool (*stop)(void *), void *context,
                           struct tuned *into)
{
    struct tuning *tuning = programs_tuning(gpu_programs(gpu));
    if (!tuning || !tuning->wanted_count)
        return TUNE_NOTHING;
    struct tuning_wanted wanted = tuning->wanted[0];
    struct trial trial = {
        .gpu = gpu, .tuning = tuning, .stop = stop, .context = context};
    struct tuning_times times[VARIANTS_MOST] = {0};
    struct error error = {0};
    char text[TUNING_SHAPE];
    size_t count = 0;
    *into = (struct tuned){.shape = wanted.shape, .gain = 1, .own = true};
    programs_tell(gpu_programs(gpu), false);
    bool ok = begin_trial(&trial, &wanted, &error) &&
              prove(&trial, wanted.shape.kernel, times, &count, &error) &&
              choose(&trial, times, count, into, &error);
    programs_tell(gpu_programs(gpu), true);
    end_trial(&trial);
    if (trial.stopped)
        return TUNE_STOPPED;
    tuning_shape_write(&wanted.shape, text);
    if (!ok) {
        log_info("%s is not tuned: %s", text, error.text);
        tuning_learn(tuning, into); /* without a time: not kept */
        return TUNE_DROPPED;
    }
    into->at = clock_unix();
    log_debug("tuned %s: %s, %.2f times as fast as the default", text,
              tuned_variant_name(into), into->gain);
    tuning_learn(tuning, into);
    save(gpu);
    return TUNE_LEARNED;
}
