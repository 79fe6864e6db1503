#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "opencl/tuning.h"
#include "tests/folder.h"

static const uint8_t identity[TUNING_IDENTITY] = "0123456789abcde";

static struct tuned result(const char *shape, const char *variant, double gain)
{
    struct tuned tuned;
    assert_true(tuned_read(&tuned, shape, variant, gain, 1700000000));
    return tuned;
}

static void the_fastest_is_taken_only_where_it_is_clearly_so(void **state)
{
    struct tuning_times times[] = {{true, 1.00, 0.90},
                                   {true, 0.98, 0.80},
                                   {false, 0.10, 0.10},
                                   {true, 0.50, 0.95}};
    assert_int_equal(tuning_fastest(times, 4), 0);
    times[3].least = 0.45;
    assert_int_equal(tuning_fastest(times, 4), 3);
    times[1] = (struct tuning_times){true, 0.40, 0.40};
    assert_int_equal(tuning_fastest(times, 4), 1);
    times[2] = (struct tuning_times){true, 0.40, 0.40};
    assert_int_equal(tuning_fastest(times, 4), 1);
}

static void a_class_is_read_as_it_was_written_and_no_other_text_is(void **state)
{
    struct tuning_shape shape = {.kernel = TUNING_MATRIX,
                                 .rows = tuning_exponent(4095),
                                 .k = tuning_exponent(320),
                                 .columns = 63,
                                 .size = 3,
                                 .x_half = 1,
                                 .w_half = 1};
    struct tuning_shape again;
    char text[TUNING_SHAPE];
    tuning_shape_write(&shape, text);
    assert_string_equal(text, "gemm_matrix 4096x512x9223372036854775808/3 f16 f16");
    shape.columns = 9;
    tuning_shape_write(&shape, text);
    assert_true(tuning_shape_read(&again, text));
    assert_memory_equal(&again, &shape, sizeof shape);
    static const char *const wrong[] = {
        "",
        "gemm_matrix",
        "gemm_new 4096x512x512/3 f16 f16",
        "gemm_gpu 4095x512x512/3 f16 f16",
        "gemm_gpu 4096x512x512/3 f16 f17",
        "gemm_gpu 4096x512x512/999 f16 f16",
        "gemm_gpu 4096x512x512/3 f16 f16 ",
        "gemm_gpu  4096x512x512/3 f16 f16",
        "gemm_gpu -4096x512x512/3 f16 f16",
        "gemm_gpu 99999999999999999999999x512x512/3 f16 f16",
        "gemm_gpu 4096x512x512/3 f16 "
        "f16aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (tuning_shape_read(&again, wrong[i]))
            fail_msg("\"%s\" was read", wrong[i]);
}

static void a_result_names_a_variant_its_kernel_has(void **state)
{
    struct tuned tuned;
    const char *gpu = "gemm_gpu 64x64x64/1 f32 f32",
               *cpu = "gemm_cpu 64x64x64/1 f32 f32";
    assert_true(tuned_read(&tuned, gpu, "large/8", 1.5, 1));
    assert_false(tuned_read(&tuned, cpu, "large/8", 1.5, 1));
    assert_true(tuned_read(&tuned, cpu, "48x256", 1.5, 1));
    assert_false(tuned_read(&tuned, gpu, "48x256", 1.5, 1));
    assert_false(tuned_read(&tuned, gpu, "", 1.5, 1));
    assert_false(tuned_read(&tuned, gpu, "large", 0.5, 1));
    assert_false(tuned_read(&tuned, gpu, "large", 1e6, 1));
    assert_false(tuned_read(&tuned, gpu, "large", 1, 0));
}

static void what_is_learned_is_not_wanted_any_more(void **state)
{
    struct tuning *tuning = tuning_new(identity);
    struct tuned first = result("gemm_gpu 64x64x64/1 f32 f32", "small", 1.2);
    struct tuned second = result("gemm_gpu 64x64x128/1 f32 f32", "default", 1);
    tuning_want(tuning, &(struct tuning_wanted){.shape = first.shape});
    tuning_want(tuning, &(struct tuning_wanted){.shape = second.shape});
    tuning_want(tuning, &(struct tuning_wanted){.shape = first.shape});
    assert_int_equal(tuning->wanted_count, 2);
    assert_true(tuning_learn(tuning, &first));
    assert_int_equal(tuning->wanted_count, 1);
    assert_int_equal(tuning_find(tuning, &first.shape)->variant, first.variant);
    assert_null(tuning_find(tuning, &second.shape));
    first.variant = 99;
    assert_false(tuning_learn(tuning, &first));
    tuning_destroy(&tuning);
}

static void a_full_table_wants_and_learns_nothing_new(void **state)
{
    struct tuning *tuning = tuning_new(identity);
    struct tuned tuned = result("gemm_gpu 64x64x64/1 f32 f32", "small", 1.2);
    for (size_t i = 0; i < TUNED_MOST; i++) {
        tuned.shape.k = (uint8_t)(i % 40);
        tuned.shape.rows = (uint8_t)(i / 40);
        assert_true(tuning_learn(tuning, &tuned));
    }
    assert_true(tuning_learn(tuning, &tuned));
    tuned.shape.size = 3;
    assert_false(tuning_learn(tuning, &tuned));
    tuning_want(tuning, &(struct tuning_wanted){.shape = tuned.shape});
    assert_int_equal(tuning->wanted_count, 0);
    tuning_destroy(&tuning);
}

/* ---- The file */

static char *path_of(void)
{
    return path_format("%s/30313233343536373839616263646500.txt", folder);
}

static size_t known_of(const uint8_t of[TUNING_IDENTITY])
{
    struct tuning *tuning = tuning_new(of);
    tuning_load(tuning, folder);
    size_t count = tuning->count;
    tuning_destroy(&tuning);
    return count;
}

static void save_two(void)
{
    struct tuning *tuning = tuning_new(identity);
    struct tuned told = result("gemm_gpu 64x64x64/1 f32 f32", "small/8", 1.25);
    struct tuned own = result("gemm_cpu 64x64x64/3 f16 f16", "default", 1);
    struct tuned failed = result("gemm_gpu 64x64x64/3 f32 f32", "default", 1);
    own.own = true;
    failed.at = 0;
    assert_true(tuning_learn(tuning, &told) && tuning_learn(tuning, &own) &&
                tuning_learn(tuning, &failed));
    assert_true(tuning_save(tuning, folder, NULL));
    tuning_destroy(&tuning);
}

static void what_was_saved_is_there_at_the_next_start(void **state)
{
    save_two();
    struct tuning *tuning = tuning_new(identity);
    tuning_load(tuning, folder);
    assert_int_equal(tuning->count, 2);
    assert_string_equal(tuned_variant_name(&tuning->tuned[0]), "small/8");
    assert_false(tuning->tuned[0].own);
    assert_true(tuning->tuned[1].own);
    assert_float_equal(tuning->tuned[0].gain, 1.25, 1e-9);
    assert_int_equal(tuning->tuned[1].at, 1700000000);
    tuning_destroy(&tuning);
    assert_int_equal(known_of((const uint8_t *)"another device.."), 0);
}

static void a_damaged_file_is_as_if_there_were_none(void **state)
{
    char *path = path_of();
    struct buffer whole = {0};
    save_two();
    assert_true(path_read(path, 1 << 20, &whole, NULL));
    for (size_t i = 0; i < whole.size; i++) {
        struct buffer damaged = {0};
        assert_true(buffer_append(&damaged, whole.data, whole.size, NULL));
        damaged.data[i] ^= 0x15;
        assert_true(path_write(path, damaged.data, damaged.size, 0644, NULL));
        if (known_of(identity) != 0)
            fail_msg("byte %zu may be another", i);
        assert_true(path_write(path, whole.data, i, 0644, NULL));
        if (known_of(identity) != 0)
            fail_msg("the first %zu bytes are enough", i);
        buffer_clear(&damaged);
    }
    assert_true(path_write(path, whole.data, whole.size, 0644, NULL));
    assert_int_equal(known_of(identity), 2);
    buffer_clear(&whole);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_is_taken_only_where_it_is_clearly_so),
        cmocka_unit_test(a_class_is_read_as_it_was_written_and_no_other_text_is),
        cmocka_unit_test(a_result_names_a_variant_its_kernel_has),
        cmocka_unit_test(what_is_learned_is_not_wanted_any_more),
        cmocka_unit_test(a_full_table_wants_and_learns_nothing_new),
        cmocka_unit_test_setup_teardown(what_was_saved_is_there_at_the_next_start,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_as_if_there_were_none,
                                        make_folder, remove_folder),
    };
    log_open("test", LOG_ERROR_LINE, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
