#include "worker/tuner.h"

#include "base/clock.h"
#include "base/log.h"
#include "opencl/program.h"

enum { IDLE_MS = 2000, BUDGET_S = 300 };

void tuner_start(struct tuner *self, struct gpu *gpu,
                 const struct worker_settings *settings)
{
    struct error error = {0};
    *self = (struct tuner){0};
    if (!settings->tune || gpu_profile(gpu)) /* what it runs would be counted */
        return;
    if (!tune_start(gpu, &error)) {
        log_warn("kernels are not tuned: %s", error.text);
        return;
    }
    self->gpu = gpu;
    size_t known = programs_tuning(gpu_programs(gpu))->count;
    if (known)
        log_info("the fastest kernels are known for %zu classes of products", known);
}

static bool has_work(const struct tuner *self)
{
    return self->gpu && self->spent < (int64_t)BUDGET_S * 1000000 &&
           programs_tuning(gpu_programs(self->gpu))->wanted_count;
}

static bool has_order(void *pipe)
{
    return zsock_events(pipe) & ZMQ_POLLIN;
}

void tuner_await(struct tuner *self, zsock_t *pipe,
                 void (*take)(void *owner, const struct tuned *tuned), void *owner)
{
    zmq_pollitem_t item = {zsock_resolve(pipe), 0, ZMQ_POLLIN, 0};
    size_t learned = 0;
    int patience = IDLE_MS;
    for (; has_work(self) && zmq_poll(&item, 1, patience) == 0; patience = 0) {
        struct tuned tuned;
        int64_t from = clock_us();
        bool found = tune_next(self->gpu, has_order, pipe, &tuned) == TUNE_LEARNED;
        self->spent += clock_us() - from;
        learned += found;
        if (found)
            take(owner, &tuned);
    }
    if (learned)
        log_info("tuned %zu classes of products; %.1f s of idle time until now",
                 learned, (double)self->spent / 1e6);
}
