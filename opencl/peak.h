/* What a device reaches with nothing but multiply-adds, and with copying: the measure of
 * every kernel, taken when it is needed since shared machines change speed. */
#ifndef FARM_PEAK_H
#define FARM_PEAK_H

#include "opencl/gpu.h"

struct peak {
    struct gpu *gpu;
    cl_kernel fma, copy;
    cl_mem out, from, to;
    size_t lanes;
};

bool peak_open(struct peak *self, struct gpu *gpu, struct error *error);
void peak_close(struct peak *self);

/* One run of some ten milliseconds, waited for: operations done, bytes read and written. */
bool peak_fma(struct peak *self, double *operations, struct error *error);
bool peak_copy(struct peak *self, double *bytes, struct error *error);

/* The best of five runs of each. */
bool peak_rates(struct gpu *gpu, double *gflops, double *gbps, struct error *error);

#endif
