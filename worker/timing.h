/* What farm-worker --profile and --trace ask of a device, and how long it waits between
 * batches. */
#ifndef FARM_TIMING_H
#define FARM_TIMING_H

#include <stddef.h>
#include <stdint.h>

#include "config/settings.h"
#include "opencl/gpu.h"

/* Has the kernels timed where settings want it; what hinders is logged. */
void timing_start(struct gpu *gpu, const struct worker_settings *settings);

/* The table to stderr and the trace to its file, ".INDEX" added. `gpu` may be NULL. */
void timing_show(struct gpu *gpu, const struct worker_settings *settings, size_t index);

/* Of a device's batches, in clock_us: when there was one to begin, when its first commands
 * went out (texts), when its first step did, when its last pixels were back. */
struct timing {
    int64_t ready, begun, stepped, ended;
    bool warm, steps;
    uint64_t batches, images;
    int64_t busy, idle;          /* from begun to ended; from ready to begun */
    int64_t step_most, step_sum; /* from ready to stepped, */
    uint64_t step_count;         /* of batches whose model was there */
};

/* A batch is at hand since `ready`, or since the one before ended. */
void timing_take(struct timing *self, int64_t ready, bool warm);
void timing_begin(struct timing *self);
void timing_step(struct timing *self); /* only the first of a batch counts */
void timing_end(struct timing *self, size_t images);

/* Seconds of the last batch's work. */
double timing_last(const struct timing *self);

/* All of it in a line of the log, where there was a batch. */
void timing_log(const struct timing *self);

#endif
