#include <unistd.h>

#include "opencl/gemm.h"
#include "opencl/program.h"
#include "opencl/tune.h"
#include "tests/folder.h"
#include "tests/gpu/support_ops.h"

/* A convolution and a product with gates, ragged at every edge, with rows for several tiles. */
struct work {
    struct conv conv;
    struct linear gates;
    struct tensor x, kept, tokens, y, gated;
};

static void enqueue(struct stream *s, void *context)
{
    struct work *work = context;
    conv2d(s, work->y, work->x, &work->conv,
           &(struct conv_options){.stride = 2, .residual = &work->kept});
    linear(s, work->gated, work->tokens, &work->gates, ACTIVATION_GEGLU, NULL);
}

enum { N = 2, SIDE = 31, HALF = 16, IN = 24, OUT = 70, TOKENS = 301, WIDTH = 72 };

static void begin(struct work *work, enum dtype dtype)
{
    float *values = random_values((size_t)N * SIDE * SIDE * OUT, dtype, 3);
    float *weights = random_values((size_t)2 * WIDTH * OUT * 9, dtype, 4);
    struct host_tensor conv = host_floats(weights, 4, (size_t[4]){OUT, IN, 3, 3});
    struct host_tensor gates = host_floats(weights, 2, (size_t[4]){2 * OUT, WIDTH});
    assert_ok(conv_load(&work->conv, gpu, dtype, &conv, NULL, &error));
    assert_ok(linear_load(&work->gates, gpu, dtype, true, &gates, NULL, &error));
    work->x = tensor_from(dtype, N, SIDE, SIDE, IN, values);
    work->kept = tensor_from(dtype, N, HALF, HALF, OUT, values);
    work->tokens = tensor_from(dtype, N, 1, TOKENS, WIDTH, values);
    work->y = tensor_from(dtype, N, HALF, HALF, OUT, NULL);
    work->gated = tensor_from(dtype, N, 1, TOKENS, OUT, NULL);
    free(values);
    free(weights);
}

static void end(struct work *work)
{
    struct tensor *tensors[] = {&work->x, &work->kept, &work->tokens, &work->y,
                                &work->gated};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tensor_destroy(tensors[i], gpu);
    conv_clear(&work->conv, gpu);
    linear_clear(&work->gates, gpu);
}

enum { RESULTS = 2 };

static void run(struct work *work, enum dtype dtype, float *results[RESULTS])
{
    run_stream(dtype, enqueue, work);
    results[0] = tensor_values(&work->y);
    results[1] = tensor_values(&work->gated);
}

static struct tuning *start(void)
{
    assert_ok(tune_start(gpu, &error));
    return programs_tuning(gpu_programs(gpu));
}

static void compare_variants(enum dtype dtype)
{
    static const size_t counts[RESULTS] = {(size_t)N * HALF * HALF * OUT,
                                           (size_t)N * TOKENS * OUT};
    struct work work;
    float *want[RESULTS];
    struct tuning *tuning = start();
    begin(&work, dtype);
    run(&work, dtype, want);
    size_t wanted = tuning->wanted_count;
    assert_int_equal(wanted, RESULTS);
    enum tuning_kernel kernel = tuning->wanted[wanted - 1].shape.kernel;
    for (size_t v = 1; tuning_variant(kernel, v); v++) {
        float *got[RESULTS];
        tuning->forced = v + 1;
        run(&work, dtype, got);
        for (size_t i = 0; i < RESULTS; i++) {
            if (memcmp(got[i], want[i], counts[i] * sizeof *want[i]) != 0)
                fail_msg("variant %s computes other bytes than the default",
                         tuning_variant(kernel, v)->name);
            free(got[i]);
        }
    }
    tuning->forced = 0;
    assert_int_equal(tuning->wanted_count, wanted);
    for (size_t i = 0; i < RESULTS; i++)
        free(want[i]);
    end(&work);
    programs_tune(gpu_programs(gpu), NULL);
}

static void variants_compute_the_same_bytes(void **state)
{
    compare_variants(DTYPE_F32);
}

static void variants_compute_the_same_bytes_of_halves(void **state)
{
    compare_variants(DTYPE_F16);
}

static void run_once(void)
{
    struct work work;
    float *results[RESULTS];
    begin(&work, DTYPE_F32);
    run(&work, DTYPE_F32, results);
    for (size_t i = 0; i < RESULTS; i++)
        free(results[i]);
    end(&work);
}

static bool stops(void *left)
{
    return (*(int *)left)-- <= 0;
}

static void a_class_is_measured_once_and_known_at_the_next_start(void **state)
{
    struct tuned tuned;
    struct tuning *tuning = start();
    run_once();
    size_t wanted = tuning->wanted_count, measured = 0;
    size_t before = gpu_allocated(gpu);
    int left = 3;
    assert_int_equal(tune_next(gpu, stops, &left, &tuned), TUNE_STOPPED);
    assert_int_equal(tuning->wanted_count, wanted);
    while (tune_next(gpu, NULL, NULL, &tuned) == TUNE_LEARNED) {
        measured++;
        assert_true(tuned.own && tuned.at > 0 && tuned.gain >= 1);
    }
    assert_int_equal(measured, wanted);
    assert_int_equal(gpu_allocated(gpu), before);
    tuning = start();
    assert_int_equal(tuning->count, wanted);
    run_once();
    assert_int_equal(tune_next(gpu, NULL, NULL, &tuned), TUNE_NOTHING);
    programs_tune(gpu_programs(gpu), NULL);
}

static void what_others_measured_is_not_measured_again(void **state)
{
    struct tuned told[RESULTS], tuned;
    struct tuning *tuning = start();
    run_once();
    size_t count = tuning->wanted_count;
    for (size_t i = 0; i < count; i++)
        told[i] = (struct tuned){
            .shape = tuning->wanted[i].shape, .variant = 1, .gain = 1.5, .at = 9};
    tune_told(gpu, told, count);
    assert_int_equal(tune_next(gpu, NULL, NULL, &tuned), TUNE_NOTHING);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(tuning_find(tuning, &told[i].shape)->variant, 1);
    told[0].variant = 0; /* what is known stays */
    tune_told(gpu, told, 1);
    assert_int_equal(tuning_find(tuning, &told[0].shape)->variant, 1);
    assert_int_equal(start()->count, count);
    programs_tune(gpu_programs(gpu), NULL);
}

/* An identity is of the device, the driver and the way it is used. */
static void another_way_to_use_the_device_is_another_identity(void **state)
{
    uint8_t own[TUNING_IDENTITY];
    memcpy(own, start()->identity, sizeof own);
    assert_memory_equal(own, start()->identity, sizeof own);
    programs_tune(gpu_programs(gpu), NULL);
    struct gpu *first = gpu;
    if (gpu_is_cpu_path(first))
        open_gpu_path(state);
    else
        open_cpu_path(state);
    assert_memory_not_equal(own, start()->identity, sizeof own);
    gpu_close(&gpu);
    gpu = first;
}

/* A kernel that leaves its output as it was on middle tiles would win every race. */
static void break_middle_tiles(void)
{
    static const char *const start =
        "    struct tile tile = tile_of_group(high, band);\n";
    struct buffer kernel = {0}, broken = {0};
    char *path = path_format("%s/gemm_gpu.cl", folder);
    assert_true(path_read(FARM_SOURCE_DIR "/opencl/kernels/gemm_gpu.cl", 1 << 20,
                          &kernel, NULL));
    const char *text = buffer_text(&kernel), *at = strstr(text, start);
    assert_non_null(at);
    assert_true(buffer_printf(&broken, NULL, "%.*s    if (TILE_M == 64) return;\n%s",
                              (int)(at - text), text, at));
    assert_ok(path_write(path, broken.data, broken.size, 0644, &error));
    setenv("FARM_KERNEL_DIR", folder, 1);
    buffer_clear(&kernel);
    buffer_clear(&broken);
    free(path);
}

static void a_variant_that_computes_other_bytes_is_refused(void **state)
{
    struct tuned tuned;
    break_middle_tiles();
    setenv("FARM_GPU_UNITS", "1", 1); /* large tiles are the default */
    open_gpu_path(state);
    start();
    run_once();
    for (size_t i = 0; i < RESULTS; i++) {
        assert_int_equal(tune_next(gpu, NULL, NULL, &tuned), TUNE_LEARNED);
        assert_int_not_equal(tuning_variant(TUNING_GPU, tuned.variant)->tile, 2);
    }
    close_gpu(state);
    unsetenv("FARM_GPU_UNITS");
    unsetenv("FARM_KERNEL_DIR");
}

static char *usual;

/* A cache of the test's own, but for kernels: they stay where the other tests' are. */
static int own_cache(void **state)
{
    const char *set = getenv("XDG_CACHE_HOME");
    usual = set ? strdup(set) : NULL;
    char *kernels = path_cache(), *from, *to;
    if (make_folder(state))
        return -1;
    from = path_format("%s/kernels", kernels);
    to = path_format("%s/clfarm/kernels", folder);
    char *own = path_format("%s/clfarm", folder);
    bool ok = path_make_folders(from, 0755, NULL) &&
              path_make_folders(own, 0755, NULL) && symlink(from, to) == 0;
    setenv("XDG_CACHE_HOME", folder, 1);
    free(kernels);
    free(from);
    free(to);
    free(own);
    return ok ? 0 : -1;
}

static int usual_cache(void **state)
{
    if (usual)
        setenv("XDG_CACHE_HOME", usual, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    free(usual);
    return remove_folder(state);
}

int main(void)
{
#define IN_CACHE(test) cmocka_unit_test_setup_teardown(test, own_cache, usual_cache)
    const struct CMUnitTest tests[] = {
        IN_CACHE(variants_compute_the_same_bytes),
        IN_CACHE(a_class_is_measured_once_and_known_at_the_next_start),
        IN_CACHE(what_others_measured_is_not_measured_again),
        IN_CACHE(another_way_to_use_the_device_is_another_identity),
    };
    const struct CMUnitTest half_tests[] = {
        IN_CACHE(variants_compute_the_same_bytes_of_halves),
    };
    const struct CMUnitTest broken_tests[] = {
        IN_CACHE(a_variant_that_computes_other_bytes_is_refused),
    };
    return run_on_both_paths(tests) + run_on_matrix_units(half_tests) +
           cmocka_run_group_tests_name("broken", broken_tests, NULL, NULL);
}
