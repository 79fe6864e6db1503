/* One kernel of one op: found (and built) while a stream plans, enqueued while it runs.
 *
 *     struct launch launch;
 *     if (launch_begin(&launch, s, "pointwise.cl", "add", options)) {
 *         launch_buffer(&launch, y.memory);
 *         launch_size(&launch, count);
 *         launch_run(&launch, (size_t[3]){count, 1, 1}, NULL);
 *     }
 */
#ifndef FARM_LAUNCH_H
#define FARM_LAUNCH_H

#include "opencl/stream.h"

struct launch {
    struct stream *stream;
    cl_kernel kernel;
    const char *name; /* of the kernel, or of the op */
    cl_uint next;     /* argument */
    cl_int code;      /* of the first clSetKernelArg that failed */
    struct cost cost;
};

/* False while planning (the kernel is then built) and after an error. */
bool launch_begin(struct launch *self, struct stream *stream, const char *file,
                  const char *name, const char *options);

/* The kernel's arguments, in order. A NULL buffer is a NULL pointer in the kernel; sizes
 * arrive as int and are asserted to fit. */
void launch_buffer(struct launch *self, cl_mem memory);
void launch_size(struct launch *self, size_t value);
void launch_float(struct launch *self, float value);
void launch_bytes(struct launch *self, const void *value, size_t bytes);

/* The same, and for a profile: all of it is read or written once. */
void launch_tensor(struct launch *self, struct tensor tensor);

/* The same for memory that is no tensor, so many bytes of it. */
void launch_read(struct launch *self, cl_mem memory, double bytes);

/* For a profile: multiplications and additions; the op, a constant, where its kernel is not
 * its own. */
void launch_operations(struct launch *self, double operations);
void launch_op(struct launch *self, const char *op);

/* global need not be a multiple of local: it is rounded up. With local NULL a work-group that
 * divides global is chosen. */
void launch_run(struct launch *self, const size_t global[3], const size_t local[3]);

/* "-DX_HALF=1 -DY_HALF=0" into `into` for an op's input and output types. */
struct launch_options {
    char text[400];
};
struct launch_options launch_options(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

#endif
