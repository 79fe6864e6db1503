#include "worker/timing.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"

void timing_start(struct gpu *gpu, const struct worker_settings *settings)
{
    struct error error = {0};
    if ((settings->profile || *settings->trace) && !gpu_start_profile(gpu, &error))
        log_warn("no profile: %s", error.text);
}

void timing_show(struct gpu *gpu, const struct worker_settings *settings, size_t index)
{
    struct error error = {0};
    struct profile *profile = gpu ? gpu_profile(gpu) : NULL;
    if (!profile)
        return;
    if (settings->profile && !profile_print(profile, stderr, &error))
        log_warn("no profile: %s", error.text);
    char *path = path_format("%s.%zu", settings->trace, index);
    if (*settings->trace && !profile_write_trace(profile, path, &error))
        log_warn("no trace: %s", error.text);
    free(path);
}

void timing_take(struct timing *self, int64_t ready, bool warm)
{
    self->ready = ready > self->ended ? ready : self->ended;
    self->warm = warm;
    self->steps = false;
}

void timing_begin(struct timing *self)
{
    self->begun = clock_us();
}

void timing_step(struct timing *self)
{
    if (self->steps)
        return;
    self->steps = true;
    self->stepped = clock_us();
    int64_t took = self->stepped - self->ready;
    log_debug("first step after %.1f ms, the first command after %.1f",
              (double)took / 1e3, (double)(self->begun - self->ready) / 1e3);
    if (!self->warm)
        return;
    self->step_count++;
    self->step_sum += took;
    self->step_most = took > self->step_most ? took : self->step_most;
}

void timing_end(struct timing *self, size_t images)
{
    self->ended = clock_us();
    self->batches++;
    self->images += images;
    self->busy += self->ended - self->begun;
    if (self->warm)
        self->idle += self->begun - self->ready;
}

double timing_last(const struct timing *self)
{
    return (double)(self->ended - self->begun) / 1e6;
}

void timing_log(const struct timing *self)
{
    if (!self->batches)
        return;
    double busy = (double)self->busy / 1e6, idle = (double)self->idle / 1e6;
    double steps = self->step_count ? (double)self->step_count : 1;
    log_info(
        "%llu images in %llu batches: the device worked %.3f s and waited %.3f s for "
        "work that was there (%.2f %%); first steps after %.1f ms on average, %.1f "
        "at most",
        (unsigned long long)self->images, (unsigned long long)self->batches, busy, idle,
        100 * idle / (busy + idle), (double)self->step_sum / 1e3 / steps,
        (double)self->step_most / 1e3);
}
