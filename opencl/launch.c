#include "opencl/launch.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "opencl/program.h"

bool launch_begin(struct launch *self, struct stream *stream, const char *file,
                  const char *name, const char *options)
{
    struct error error = {0};
    *self = (struct launch){.stream = stream, .name = name};
    if (gpu_only_plans(stream_gpu(stream))) {
        program_list(file, options);
        return false;
    }
    self->kernel = program_kernel(stream_gpu(stream), file, name, options, &error);
    if (!self->kernel)
        stream_fail(stream, &error);
    return stream_is_running(stream);
}

void launch_bytes(struct launch *self, const void *value, size_t bytes)
{
    cl_int code = clSetKernelArg(self->kernel, self->next++, bytes, value);
    if (self->code == CL_SUCCESS)
        self->code = code;
}

void launch_buffer(struct launch *self, cl_mem memory)
{
    launch_bytes(self, &memory, sizeof memory);
}

void launch_size(struct launch *self, size_t value)
{
    assert(value <= INT_MAX);
    cl_int narrow = (cl_int)value;
    launch_bytes(self, &narrow, sizeof narrow);
}

void launch_float(struct launch *self, float value)
{
    launch_bytes(self, &value, sizeof value);
}

void launch_tensor(struct launch *self, struct tensor tensor)
{
    launch_buffer(self, tensor.memory);
    self->cost.bytes +=
        (double)tensor_count(&tensor) * (double)dtype_size(tensor.dtype);
}

void launch_read(struct launch *self, cl_mem memory, double bytes)
{
    launch_buffer(self, memory);
    self->cost.bytes += bytes;
}

void launch_op(struct launch *self, const char *op)
{
    self->name = op;
}

void launch_operations(struct launch *self, double operations)
{
    self->cost.operations = operations;
}

/* The largest work-group of powers of two that divides `global`. A driver that is left to
 * choose takes other odd sizes for every shape, and one that compiles a kernel for its
 * work-group's size (PoCL) compiles it anew for each. */
static void even_group(const size_t global[3], size_t most, size_t local[3])
{
    enum { SIDE_MOST = 64 }; /* what every device takes in every dimension */
    size_t room = most < 256 ? most : 256;
    for (int i = 0; i < 3; i++) {
        local[i] = 1;
        while (2 * local[i] <= room && 2 * local[i] <= SIDE_MOST &&
               global[i] % (2 * local[i]) == 0)
            local[i] *= 2;
        room /= local[i];
    }
}

void launch_run(struct launch *self, const size_t global[3], const size_t local[3])
{
    struct error error = {0};
    size_t rounded[3], own[3];
    if (!local) {
        even_group(global, gpu_info(stream_gpu(self->stream))->group_most, own);
        local = own;
    }
    for (int i = 0; i < 3; i++)
        rounded[i] = (global[i] + local[i] - 1) / local[i] * local[i];
    if (!gpu_check(self->code, "clSetKernelArg", self->name, &error) ||
        !gpu_enqueue(stream_gpu(self->stream), self->kernel, self->name, rounded, local,
                     self->cost, &error))
        stream_fail(self->stream, &error);
}

struct launch_options launch_options(const char *format, ...)
{
    struct launch_options options;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(options.text, sizeof options.text, format, arguments);
    va_end(arguments);
    assert(length >= 0 && (size_t)length < sizeof options.text);
    (void)length;
    return options;
}
