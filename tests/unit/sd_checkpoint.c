#include <stdlib.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/test.h"
#include "worker/sd/checkpoint.h"

static char path[] = "/tmp/farm-checkpoint-XXXXXX";

static int make_file(void **state)
{
    int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_file(void **state)
{
    return unlink(path);
}

/* A file of one tensor of zeros, opened under the name "unet/w". */
static struct checkpoint *open_with(const char *tensor, const size_t *shape,
                                    size_t dims)
{
    static const float zeros[64];
    struct buffer bytes = {0};
    assert_true(safetensors_write(&bytes, tensor, zeros, shape, dims, NULL));
    assert_true(path_write(path, bytes.data, bytes.size, 0600, NULL));
    buffer_clear(&bytes);
    struct checkpoint *from = checkpoint_open(path, "unet/w", NULL);
    assert_non_null(from);
    return from;
}

static void a_wrong_shape_is_told_with_the_one_expected(void **state)
{
    struct host_tensor tensor;
    struct error error = {0};
    struct checkpoint *from = open_with("conv_in.weight", (size_t[]){3, 2, 3, 3}, 4);
    assert_false(checkpoint_get(from, "conv_in.weight", (size_t[]){3, 1, 3, 3}, 4,
                                &tensor, &error));
    assert_string_equal(error.text, "unet/w: tensor conv_in.weight: shape 3x2x3x3, "
                                    "expected 3x1x3x3");
    checkpoint_close(&from);
}

static void a_missing_tensor_is_told_by_name(void **state)
{
    struct host_tensor tensor;
    struct error error = {0};
    struct checkpoint *from = open_with("b.weight", (size_t[]){4}, 1);
    assert_false(checkpoint_has(from, "a.weight"));
    assert_false(checkpoint_get(from, "a.weight", (size_t[]){4}, 1, &tensor, &error));
    assert_string_equal(error.text, "unet/w: tensor a.weight: missing");
    checkpoint_close(&from);
}

static void a_tensor_nobody_asked_for_is_an_error(void **state)
{
    struct host_tensor tensor;
    struct error error = {0};
    struct checkpoint *from = open_with("b.weight", (size_t[]){4}, 1);
    assert_false(checkpoint_all_used(from, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(error.text,
                        "unet/w: tensor b.weight: the configuration has no place for "
                        "it; is config.json another model's?");
    assert_true(checkpoint_get(from, "b.weight", (size_t[]){4}, 1, &tensor, NULL));
    assert_true(checkpoint_all_used(from, NULL));
    checkpoint_close(&from);
}

static void position_ids_may_be_left_over(void **state)
{
    struct checkpoint *from =
        open_with("text_model.embeddings.position_ids", (size_t[]){1, 7}, 2);
    assert_true(checkpoint_all_used(from, NULL));
    checkpoint_close(&from);
}

static void a_pointwise_convolution_counts_as_a_matrix_but_no_other_does(void **state)
{
    struct host_tensor tensor;
    struct checkpoint *from = open_with("a", (size_t[]){3, 4, 1, 1}, 4);
    assert_true(checkpoint_get(from, "a", (size_t[]){3, 4}, 2, &tensor, NULL));
    checkpoint_close(&from);
    from = open_with("a", (size_t[]){3, 4, 1, 2}, 4);
    assert_false(checkpoint_get(from, "a", (size_t[]){3, 4}, 2, &tensor, NULL));
    checkpoint_close(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_shape_is_told_with_the_one_expected),
        cmocka_unit_test(a_missing_tensor_is_told_by_name),
        cmocka_unit_test(a_tensor_nobody_asked_for_is_an_error),
        cmocka_unit_test(position_ids_may_be_left_over),
        cmocka_unit_test(a_pointwise_convolution_counts_as_a_matrix_but_no_other_does),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
