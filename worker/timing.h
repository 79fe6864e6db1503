/* What farm-worker --profile and --trace ask of a device. */
#ifndef FARM_TIMING_H
#define FARM_TIMING_H

#include "config/settings.h"
#include "opencl/gpu.h"

/* Has the kernels timed where settings want it; what hinders is logged. */
void timing_start(struct gpu *gpu, const struct worker_settings *settings);

/* The table to stderr and the trace to its file, ".INDEX" added. `gpu` may be NULL. */
void timing_show(struct gpu *gpu, const struct worker_settings *settings, size_t index);

#endif
