/* Measures the variants of a product's kernel on the device (tuning.h). */
#ifndef FARM_TUNE_H
#define FARM_TUNE_H

#include "opencl/gpu.h"
#include "opencl/tuning.h"

/* The device's table, made with what <cache>/tuning knows; from now on products run as it says
 * and those of unknown classes are noted. Called once, after gpu_prove. */
bool tune_start(struct gpu *gpu, struct error *error);

/* What devices of the same identity measured; what this one knows stays. */
void tune_told(struct gpu *gpu, const struct tuned *told, size_t count);

enum tune_result {
    TUNE_NOTHING, /* is to be measured */
    TUNE_LEARNED, /* *into */
    TUNE_DROPPED, /* a class that cannot be measured, until the next start; the log says why */
    TUNE_STOPPED, /* by `stop`: the class is still to be measured */
};

/* Measures the class that came up first: each variant once on random values, its bytes compared
 * with the default's, then all in turns. What was found is learned and the file written. `stop`
 * (may be NULL) is asked between any two runs. Takes as much memory as the product for the time,
 * and seldom more than a second or two beside what compiling the variants takes. */
enum tune_result tune_next(struct gpu *gpu, bool (*stop)(void *), void *context,
                           struct tuned *into);

#endif
