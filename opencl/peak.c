#include "opencl/peak.h"

#include "base/clock.h"
#include "opencl/launch.h"
#include "opencl/program.h"

enum { OUT_BYTES = 1 << 20, COPY_BYTES = 256 << 20, COPY_ITEM = 64, TRIES = 5 };

static bool run(struct peak *self, cl_kernel kernel, size_t items, size_t group,
                struct error *error)
{
    return gpu_enqueue(self->gpu, kernel, "peak", (size_t[3]){items, 1, 1},
                       (size_t[3]){group, 1, 1}, (struct cost){0}, error) &&
           gpu_finish(self->gpu, error);
}

static bool copy(struct peak *self, cl_mem to, cl_mem from, struct error *error)
{
    clSetKernelArg(self->copy, 0, sizeof to, &to);
    clSetKernelArg(self->copy, 1, sizeof from, &from);
    return run(self, self->copy, COPY_BYTES / COPY_ITEM, COPY_ITEM, error);
}

bool peak_open(struct peak *self, struct gpu *gpu, struct error *error)
{
    unsigned width = gpu_info(gpu)->native_width;
    *self = (struct peak){.gpu = gpu, .lanes = width >= 16 ? 16 : width >= 8 ? 8 : 4};
    struct launch_options options = launch_options("-DLANES=%zu", self->lanes);
    self->fma = program_kernel(gpu, "peak.cl", "fma_peak", options.text, error);
    self->copy =
        self->fma ? program_kernel(gpu, "peak.cl", "copy", options.text, error) : NULL;
    self->out = self->copy ? gpu_allocate(gpu, OUT_BYTES, error) : NULL;
    self->from = self->out ? gpu_allocate(gpu, COPY_BYTES, error) : NULL;
    self->to = self->from ? gpu_allocate(gpu, COPY_BYTES, error) : NULL;
    /* Memory that was never written may be one page of zeros for all, which no copy reads. */
    if (self->to && copy(self, self->from, self->to, error))
        return true;
    peak_close(self);
    return false;
}

void peak_close(struct peak *self)
{
    gpu_release(self->gpu, &self->out);
    gpu_release(self->gpu, &self->from);
    gpu_release(self->gpu, &self->to);
}

bool peak_fma(struct peak *self, double *operations, struct error *error)
{
    const struct gpu_info *info = gpu_info(self->gpu);
    size_t group = info->is_cpu ? 1 : 128;
    size_t items = info->is_cpu ? info->units * 8 : (size_t)info->units * 2048;
    cl_int rounds = info->is_cpu ? 50000 : 2000;
    float factor = 0.5F;
    clSetKernelArg(self->fma, 0, sizeof self->out, &self->out);
    clSetKernelArg(self->fma, 1, sizeof rounds, &rounds);
    clSetKernelArg(self->fma, 2, sizeof factor, &factor);
    *operations = (double)items * rounds * 24 * (double)self->lanes;
    return run(self, self->fma, items, group, error);
}

bool peak_copy(struct peak *self, double *bytes, struct error *error)
{
    *bytes = 2.0 * COPY_BYTES;
    return copy(self, self->to, self->from, error);
}

bool peak_rates(struct gpu *gpu, double *gflops, double *gbps, struct error *error)
{
    struct peak peak;
    bool ok = peak_open(&peak, gpu, error);
    if (!ok)
        return false;
    bool (*measures[])(struct peak *, double *, struct error *) = {peak_fma, peak_copy};
    double *rates[] = {gflops, gbps};
    for (int i = 0; ok && i < 2 * TRIES; i++) {
        double work;
        int64_t from = clock_us();
        ok = measures[i % 2](&peak, &work, error);
        double rate = work / (double)(clock_us() - from) * 1e-3;
        if (i < 2 || rate > *rates[i % 2])
            *rates[i % 2] = rate;
    }
    peak_close(&peak);
    return ok;
}
