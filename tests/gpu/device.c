#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "opencl/program.h"
#include "opencl/prove.h"
#include "tests/folder.h"
#include "tests/gpu/support_ops.h"

/* A cache of the test's own. */
static int open_alone(void **state)
{
    if (make_folder(state))
        return -1;
    setenv("XDG_CACHE_HOME", folder, 1);
    return open_cpu_path(state);
}

static int close_alone(void **state)
{
    unsetenv("XDG_CACHE_HOME");
    return close_gpu(state) || remove_folder(state);
}

static void a_device_that_is_not_there_is_named(void **state)
{
    struct error error = {0};
    assert_null(gpu_open(40, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.text, "no OpenCL device 40"));
}

static void enqueue_activation(struct stream *s, void *context)
{
    struct tensor *x = context;
    activate(s, *x, *x, ACTIVATION_SILU);
}

static void a_profile_counts_what_every_kernel_did(void **state)
{
    char *table = NULL;
    size_t size = 0;
    char *path = path_format("%s/trace", folder);
    struct tensor x = tensor_from(DTYPE_F32, 1, 8, 8, 16, NULL);
    assert_null(gpu_profile(gpu));
    assert_ok(gpu_start_profile(gpu, &error));
    for (int i = 0; i < 3; i++)
        run_stream(DTYPE_F32, enqueue_activation, &x);
    FILE *to = open_memstream(&table, &size);
    assert_ok(profile_print(gpu_profile(gpu), to, &error));
    assert_ok(profile_write_trace(gpu_profile(gpu), path, &error));
    fclose(to);
    const char *row = strstr(table, "\nactivation ");
    assert_non_null(row);
    assert_int_equal(strtol(row + strlen("\nactivation "), NULL, 10), 3);
    struct error error = {0};
    assert_false(profile_write_trace(gpu_profile(gpu), "/nowhere/trace", &error));
    assert_non_null(strstr(error.text, "/nowhere/trace"));
    tensor_destroy(&x, gpu);
    free(table);
    free(path);
}

static void the_list_names_every_device_once(void **state)
{
    struct gpu_info *infos;
    size_t count;
    assert_ok(gpu_list(&infos, &count, &error));
    assert_true(count >= 1);
    assert_string_equal(infos[0].name, gpu_info(gpu)->name);
    assert_true(infos[0].kind[0] && infos[0].units > 0 &&
                infos[0].largest_allocation > 0);
    for (size_t i = 1; i < count; i++) /* GPUs first */
        assert_false(infos[i - 1].is_cpu && !infos[i].is_cpu);
    free(infos);
}

static void memory_is_counted_until_it_is_released(void **state)
{
    struct tensor tensor = tensor_from(DTYPE_F16, 1, 2, 3, 5, NULL);
    assert_int_equal(gpu_allocated(gpu), 60);
    tensor_destroy(&tensor, gpu);
    assert_int_equal(gpu_allocated(gpu), 0);
}

static void a_buffer_beyond_the_devices_limit_is_a_memory_error(void **state)
{
    struct error error = {0};
    struct tensor tensor;
    size_t huge = (size_t)1 << 60;
    assert_false(tensor_new(&tensor, gpu, DTYPE_F32, 1, 1, 1, huge, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
    assert_false(tensor_new(&tensor, gpu, DTYPE_F32, huge, huge, 1, 1, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
}

static void a_failing_call_names_itself_and_its_error(void **state)
{
    struct error error = {0};
    assert_null(program_kernel(gpu, "pointwise.cl", "no_such_kernel",
                               "-DX_HALF=0 -DY_HALF=0", &error));
    assert_string_equal(error.text,
                        "clCreateKernel no_such_kernel: CL_INVALID_KERNEL_NAME");
    assert_null(program_kernel(gpu, "nowhere.cl", "scale", "", &error));
    assert_non_null(strstr(error.text, "nowhere.cl"));
}

static size_t compiled_by_a_new_process(void)
{
    struct error error = {0};
    struct gpu *other = gpu_open(0, &error);
    assert_non_null(other);
    assert_non_null(program_kernel(other, "pointwise.cl", "scale",
                                   "-DX_HALF=1 -DY_HALF=0", &error));
    size_t compiled = programs_compiled(gpu_programs(other));
    gpu_close(&other);
    return compiled;
}

/* Changes two bytes of every file of the cache. */
static void damage_cache(void)
{
    char *command =
        path_format("for f in '%s'/clfarm/kernels/*.bin; do printf '\\377\\376' "
                    "| dd of=\"$f\" bs=1 seek=2000 conv=notrunc status=none; "
                    "done",
                    folder);
    assert_int_equal(system(command), 0);
    free(command);
}

static void kernels_are_compiled_once_and_again_when_the_cache_is_damaged(void **state)
{
    setenv("FARM_KERNEL_CACHE", "1", 1); /* for PoCL, which has its own */
    assert_int_equal(compiled_by_a_new_process(), 1);
    assert_int_equal(compiled_by_a_new_process(), 0);
    damage_cache();
    assert_int_equal(compiled_by_a_new_process(), 1);
    assert_int_equal(compiled_by_a_new_process(), 0);
    unsetenv("FARM_KERNEL_CACHE");
}

static void kernels_of_a_folder_go_before_the_embedded_ones(void **state)
{
    struct error error = {0};
    char *path = path_format("%s/pointwise.cl", folder);
    const char *text = "__kernel void only_here(__global float *y) { y[0] = 42; }\n";
    assert_true(path_write(path, text, strlen(text), 0644, &error));
    setenv("FARM_KERNEL_DIR", folder, 1);
    cl_kernel kernel =
        program_kernel(gpu, "pointwise.cl", "only_here", "-DNEW", &error);
    unsetenv("FARM_KERNEL_DIR");
    assert_non_null(kernel);
    free(path);
}

static void a_sound_device_proves_itself_on_either_path(void **state)
{
    assert_ok(gpu_prove(gpu, &error));
    setenv("FARM_GPU_PATH", "gpu", 1);
    struct gpu *other = gpu_open(0, NULL);
    assert_ok(gpu_prove(other, &error));
    gpu_close(&other);
    setenv("FARM_GPU_PATH", "cpu", 1);
}

/* Copies the kernels to the test's folder and changes one line of one, which must be there. */
static void change_kernel(const char *file, const char *change)
{
    char *command = path_format(
        "cp " FARM_SOURCE_DIR "/opencl/kernels/*.cl '%s' && "
        "sed -i '%s' '%s/%s' && ! cmp -s '%s/%s' " FARM_SOURCE_DIR "/opencl/kernels/%s",
        folder, change, folder, file, folder, file, file);
    assert_int_equal(system(command), 0);
    free(command);
    setenv("FARM_KERNEL_DIR", folder, 1);
}

/* A "driver" that computes SiLU as identity. */
static void a_device_that_computes_wrongly_is_found_out(void **state)
{
    struct error error = {0};
    change_kernel("common.cl", "s/return x \\/ (1.0f + exp8(x, -1.0f))/return x/");
    struct gpu *other = gpu_open(0, &error);
    assert_false(gpu_prove(other, &error));
    unsetenv("FARM_KERNEL_DIR");
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_non_null(strstr(error.text, "conv2d in f32"));
    gpu_close(&other);
}

/* Opens the device with its matrix unit a candidate, as a card's is. */
static struct gpu *open_with_candidate(const char *name)
{
    char value[64];
    snprintf(value, sizeof value, "emulated-%s", name);
    setenv("FARM_GPU_PATH", "gpu", 1);
    setenv("FARM_MATRIX", value, 1);
    struct gpu *other = gpu_open(0, NULL);
    unsetenv("FARM_MATRIX");
    setenv("FARM_GPU_PATH", "cpu", 1);
    assert_non_null(other);
    assert_non_null(strstr(gpu_info(other)->kind, name));
    gpu_use_matrix(other, NULL);
    assert_null(strstr(gpu_info(other)->kind, name));
    return other;
}

static void
a_matrix_unit_that_proves_itself_is_used_and_is_part_of_the_kind(void **state)
{
    for (size_t i = 0; matrix_name(i); i++) {
        struct gpu *other = open_with_candidate(matrix_name(i));
        assert_ok(gpu_prove(other, &error));
        assert_non_null(gpu_matrix(other));
        assert_non_null(strstr(gpu_info(other)->kind, matrix_name(i)));
        gpu_close(&other);
    }
}

static void assert_works_without(const char *name)
{
    struct gpu *other = open_with_candidate(name);
    assert_ok(gpu_prove(other, &error));
    unsetenv("FARM_KERNEL_DIR");
    assert_null(gpu_matrix(other));
    assert_string_equal(gpu_info(other)->kind, gpu_info(gpu)->kind);
    gpu_close(&other);
}

static void a_matrix_unit_whose_kernel_does_not_build_is_left_alone(void **state)
{
    change_kernel("matrix.cl", "$ a #error not here");
    assert_works_without(matrix_name(0));
}

/* A "driver" that exchanges two sums of a fragment: only seen where sums differ. */
static void a_matrix_unit_that_computes_wrongly_is_left_alone(void **state)
{
    change_kernel("matrix_nvidia.cl", "s/vstore2(sum.hi/vstore2(sum.lo/");
    assert_works_without(matrix_name(0));
}

static void a_matrix_unit_that_nobody_knows_is_named(void **state)
{
    struct error error = {0};
    setenv("FARM_GPU_PATH", "gpu", 1);
    setenv("FARM_MATRIX", "emulated-abacus", 1);
    assert_null(gpu_open(0, &error));
    unsetenv("FARM_MATRIX");
    setenv("FARM_GPU_PATH", "cpu", 1);
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "FARM_MATRIX is emulated-abacus: auto, off"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_not_there_is_named),
        cmocka_unit_test(the_list_names_every_device_once),
        cmocka_unit_test(memory_is_counted_until_it_is_released),
        cmocka_unit_test(a_buffer_beyond_the_devices_limit_is_a_memory_error),
        cmocka_unit_test(a_failing_call_names_itself_and_its_error),
        cmocka_unit_test(kernels_are_compiled_once_and_again_when_the_cache_is_damaged),
        cmocka_unit_test(kernels_of_a_folder_go_before_the_embedded_ones),
        cmocka_unit_test(a_sound_device_proves_itself_on_either_path),
        cmocka_unit_test(a_device_that_computes_wrongly_is_found_out),
        cmocka_unit_test(
            a_matrix_unit_that_proves_itself_is_used_and_is_part_of_the_kind),
        cmocka_unit_test(a_matrix_unit_whose_kernel_does_not_build_is_left_alone),
        cmocka_unit_test(a_matrix_unit_that_computes_wrongly_is_left_alone),
        cmocka_unit_test(a_matrix_unit_that_nobody_knows_is_named),
        cmocka_unit_test(a_profile_counts_what_every_kernel_did), /* and stays on */
    };
    return cmocka_run_group_tests(tests, open_alone, close_alone);
}
