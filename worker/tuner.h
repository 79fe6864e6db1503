/* Measures variants of kernels while a device has nothing else to do (opencl/tune.h).
 *
 * The render actor's. It begins after two seconds without an order, leaves off between two runs
 * when one comes, and takes at most five minutes from the device's opening to its end.
 */
#ifndef FARM_TUNER_H
#define FARM_TUNER_H

#include <czmq.h>

#include "config/settings.h"
#include "opencl/tune.h"

struct tuner {
    struct gpu *gpu; /* NULL: it never measures */
    int64_t spent;   /* microseconds */
};

/* For a device that proved itself; what was known at an earlier start is used from now on. */
void tuner_start(struct tuner *self, struct gpu *gpu,
                 const struct worker_settings *settings);

/* Returns when an order waits in `pipe`; until then idle time is used. What was found is handed
 * out. */
void tuner_await(struct tuner *self, zsock_t *pipe,
                 void (*take)(void *owner, const struct tuned *tuned), void *owner);

#endif
