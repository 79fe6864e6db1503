/* What the tests of ops share: a device, random tensors, one op run through a stream.
 *
 * A group of tests is run on the kernels for CPUs and on those for GPUs, or on those for
 * CPUs with vectors of 8 and of 16 floats:
 *     return run_on_both_paths(tests);
 *     return run_on_every_path(tests);
 */
#ifndef FARM_SUPPORT_OPS_H
#define FARM_SUPPORT_OPS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/reference.h"
#include "tests/test.h"

extern struct gpu *gpu; /* open while a group runs */

/* Fails the test with the error's text. */
#define assert_ok(call)                                                                \
    do {                                                                               \
        struct error error = {0};                                                      \
        if (!(call))                                                                   \
            fail_msg("%s: %s", #call, error.text);                                     \
    } while (0)

int open_cpu_path(void **state);
int open_cpu8_path(void **state);
int open_cpu16_path(void **state);
int open_gpu_path(void **state);
int close_gpu(void **state);
#define run_on_both_paths(tests)                                                       \
    (cmocka_run_group_tests_name("cpu", tests, open_cpu_path, close_gpu) +             \
     cmocka_run_group_tests_name("gpu", tests, open_gpu_path, close_gpu))
#define run_on_every_path(tests)                                                       \
    (cmocka_run_group_tests_name("cpu8", tests, open_cpu8_path, close_gpu) +           \
     cmocka_run_group_tests_name("cpu16", tests, open_cpu16_path, close_gpu) +         \
     cmocka_run_group_tests_name("gpu", tests, open_gpu_path, close_gpu))

/* On the kernels of every matrix unit, its one instruction emulated. */
#define run_on_matrix_units(tests) run_on_units(tests, sizeof(tests) / sizeof *(tests))
int run_on_units(const struct CMUnitTest *tests, size_t count);

/* Heap array of values from -1 to 1, the same for the same seed; as f16 can hold them when
 * dtype is f16, so that a reference reads what the device reads. */
float *random_values(size_t count, enum dtype dtype, unsigned seed);

/* A tensor of its own with these values (NULL: NaN), and its values again (heap). */
struct tensor tensor_from(enum dtype dtype, size_t n, size_t h, size_t w, size_t c,
                          const float *values);
float *tensor_values(const struct tensor *tensor);

struct host_tensor host_floats(const float *values, size_t dims, const size_t *shape);

/* Plans and runs whatever `enqueue` does, and waits for it. */
void run_stream(enum dtype dtype, void (*enqueue)(struct stream *, void *),
                void *context);

/* y against want: 1e-5 for f32, 1e-3 for f16. Prints the error when it is larger. */
void assert_close(const struct tensor *y, const double *want);

#endif
