#include "opencl/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "opencl/gpu.h"

enum { SPANS_MOST = 1000000, WAITING_MOST = 4096 };

/* One launch: nanoseconds of the device's clock. */
struct span {
    const char *name;
    struct cost cost;
    cl_ulong from, until;
};

struct waiting {
    const char *name;
    struct cost cost;
    cl_event event;
};

struct total {
    const char *name;
    size_t calls;
    double seconds;
    struct cost cost;
};

struct profile {
    double peak_gflops, peak_gbps;
    struct waiting waiting[WAITING_MOST];
    size_t waiting_count;
    struct total *totals;
    size_t total_count;
    struct span *spans;
    size_t span_count, span_room;
    struct error error; /* the first */
    bool failed;
};

struct profile *profile_new(double peak_gflops, double peak_gbps)
{
    struct profile *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->peak_gflops = peak_gflops;
    self->peak_gbps = peak_gbps;
    return self;
}

static struct total *total_of(struct profile *self, const char *name)
{
    for (size_t i = 0; i < self->total_count; i++)
        if (strcmp(self->totals[i].name, name) == 0)
            return &self->totals[i];
    struct total *totals =
        realloc(self->totals, (self->total_count + 1) * sizeof *totals);
    if (!totals)
        abort();
    self->totals = totals;
    totals[self->total_count] = (struct total){.name = name};
    return &totals[self->total_count++];
}

static void keep_span(struct profile *self, struct span span)
{
    if (self->span_count == SPANS_MOST)
        return;
    if (self->span_count == self->span_room) {
        size_t room = self->span_room ? 2 * self->span_room : 1024;
        struct span *spans = realloc(self->spans, room * sizeof *spans);
        if (!spans)
            return; /* the totals still count it */
        self->spans = spans;
        self->span_room = room;
    }
    self->spans[self->span_count++] = span;
}

static bool read_span(const struct waiting *launch, struct span *span,
                      struct error *error)
{
    *span = (struct span){.name = launch->name, .cost = launch->cost};
    return gpu_check(clWaitForEvents(1, &launch->event), "clWaitForEvents",
                     launch->name, error) &&
           gpu_check(clGetEventProfilingInfo(launch->event, CL_PROFILING_COMMAND_START,
                                             sizeof span->from, &span->from, NULL),
                     "clGetEventProfilingInfo", launch->name, error) &&
           gpu_check(clGetEventProfilingInfo(launch->event, CL_PROFILING_COMMAND_END,
                                             sizeof span->until, &span->until, NULL),
                     "clGetEventProfilingInfo", launch->name, error);
}

static void collect(struct profile *self)
{
    for (size_t i = 0; i < self->waiting_count; i++) {
        struct span span;
        if (!self->failed && !read_span(&self->waiting[i], &span, &self->error))
            self->failed = true;
        clReleaseEvent(self->waiting[i].event);
        if (self->failed)
            continue;
        struct total *total = total_of(self, span.name);
        total->calls++;
        total->seconds += (double)(span.until - span.from) * 1e-9;
        total->cost.operations += span.cost.operations;
        total->cost.bytes += span.cost.bytes;
        keep_span(self, span);
    }
    self->waiting_count = 0;
}

void profile_destroy(struct profile **self)
{
    if (!*self)
        return;
    collect(*self);
    free((*self)->totals);
    free((*self)->spans);
    free(*self);
    *self = NULL;
}

void profile_add(struct profile *self, const char *name, struct cost cost,
                 cl_event event)
{
    if (self->waiting_count == WAITING_MOST)
        collect(self);
    self->waiting[self->waiting_count++] = (struct waiting){name, cost, event};
}

static int longest_first(const void *a, const void *b)
{
    double x = ((const struct total *)a)->seconds;
    double y = ((const struct total *)b)->seconds;
    return (x < y) - (x > y);
}

/* "123.4   81 %", or blanks where there is nothing to say. */
static void print_rate(FILE *to, double amount, double seconds, double peak)
{
    if (amount > 0 && seconds > 0 && peak > 0)
        fprintf(to, " %9.1f %4.0f %%", amount / seconds * 1e-9,
                100 * amount / seconds * 1e-9 / peak);
    else
        fprintf(to, " %16s", "");
}

bool profile_print(struct profile *self, FILE *to, struct error *error)
{
    collect(self);
    if (self->failed) {
        *error = self->error;
        return false;
    }
    double all = 0;
    for (size_t i = 0; i < self->total_count; i++)
        all += self->totals[i].seconds;
    qsort(self->totals, self->total_count, sizeof *self->totals, longest_first);
    fprintf(to, "%-20s %9s %10s %6s %16s %16s\n", "op", "calls", "seconds", "share",
            "GFLOP/s of peak", "GB/s of copy");
    for (size_t i = 0; i < self->total_count; i++) {
        const struct total *t = &self->totals[i];
        fprintf(to, "%-20s %9zu %10.3f %4.1f %%", t->name, t->calls, t->seconds,
                all > 0 ? 100 * t->seconds / all : 0);
        print_rate(to, t->cost.operations, t->seconds, self->peak_gflops);
        print_rate(to, t->cost.bytes, t->seconds, self->peak_gbps);
        fprintf(to, "\n");
    }
    fprintf(to, "%-20s %9s %10.3f %6s %9.1f peak %10.1f peak\n", "together", "", all,
            "", self->peak_gflops, self->peak_gbps);
    return true;
}

bool profile_write_trace(struct profile *self, const char *path, struct error *error)
{
    collect(self);
    FILE *file = fopen(path, "w");
    if (!file)
        return path_failed(path, error);
    fprintf(file, "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [");
    for (size_t i = 0; i < self->span_count; i++) {
        const struct span *span = &self->spans[i];
        fprintf(file,
                "%s\n{\"name\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, "
                "\"ts\": %.3f, \"dur\": %.3f, \"args\": {\"operations\": %.0f, "
                "\"bytes\": %.0f}}",
                i ? "," : "", span->name,
                (double)(span->from - self->spans[0].from) * 1e-3,
                (double)(span->until - span->from) * 1e-3, span->cost.operations,
                span->cost.bytes);
    }
    fprintf(file, "\n]}\n");
    if (fclose(file) != 0)
        return path_failed(path, error);
    return true;
}
