/* What each op takes on the device, kernel by kernel, by OpenCL's own clocks.
 *
 * A gpu that was opened to be profiled hands over an event with every launch. Ops say what
 * a launch costs (launch.h), so that time becomes a rate, to be seen beside what the
 * device reached with nothing but multiply-adds, or with copying (peak.h).
 */
#ifndef FARM_PROFILE_H
#define FARM_PROFILE_H

#include <CL/cl.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

struct cost {
    double operations; /* multiplications and additions; of a convolution those of its
                          definition, however it is computed */
    double bytes;      /* of operands and result, each once; 0: not known */
};

struct profile;

/* Of a device that reaches so much (peak.h). */
struct profile *profile_new(double peak_gflops, double peak_gbps);
void profile_destroy(struct profile **self);

/* `name` must live as long as the profile; the event becomes the profile's. */
void profile_add(struct profile *self, const char *name, struct cost cost,
                 cl_event event);

/* A table, the most expensive op first: calls, time and its share, GFLOP/s and GB/s and
 * what those are of the peaks. Waits for launches that still run. */
bool profile_print(struct profile *self, FILE *to, struct error *error);

/* A trace file as ui.perfetto.dev and chrome://tracing open it: one event a launch, of the
 * first million. */
bool profile_write_trace(struct profile *self, const char *path, struct error *error);

#endif
