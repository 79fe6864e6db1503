/* Recognising models in one file; the files are those whose passes diffusers computed. */
#include <unistd.h>

#include "base/path.h"
#include "layout/single.h"
#include "tests/folder.h"
#include "tests/invented.h"

static char *path;

static int set_up(void **state)
{
    int failed = make_folder(state);
    path = path_format("%s/model.safetensors", folder);
    return failed;
}

static int tear_down(void **state)
{
    free(path);
    return remove_folder(state);
}

/* The tensors of families/NAME.json. */
static json_t *tensors_of(const char *name)
{
    char *golden = path_format("%s/families/%s.json", FARM_GOLDEN_DIR, name);
    json_t *root = json_load_file(golden, 0, NULL);
    json_t *tensors = json_object_get(
        json_object_get(json_object_get(root, "files"), "model.safetensors"),
        "tensors");
    assert_non_null(tensors);
    json_incref(tensors);
    json_decref(root);
    free(golden);
    return tensors;
}

static size_t index_of(const json_t *tensors, const char *name)
{
    size_t i;
    json_t *tensor;
    json_array_foreach(tensors, i,
                       tensor) if (strcmp(json_string_value(json_array_get(tensor, 0)),
                                          name) == 0) return i;
    fail_msg("no %s", name);
    return 0;
}

static bool read_tensors(json_t *tensors, struct single *single, struct error *error)
{
    write_invented(path, tensors);
    struct tensor_file *file = tensor_file_open(path, error);
    assert_non_null(file);
    bool ok = single_read(single, file, error);
    tensor_file_close(&file);
    json_decref(tensors);
    return ok;
}

static struct single read_good(json_t *tensors)
{
    struct single single;
    struct error error = {0};
    if (!read_tensors(tensors, &single, &error))
        fail_msg("%s", error.text);
    return single;
}

static void sizes_follow_from_names_and_shapes(void **state)
{
    struct single xl = read_good(tensors_of("sdxl_single"));
    assert_int_equal(xl.family, SINGLE_SDXL);
    assert_int_equal(xl.texts, 2);
    assert_int_equal(xl.text[1].layers, 3);
    assert_int_equal(xl.text[1].projection, 16);
    assert_int_equal(xl.unet.levels, 3);
    assert_false(xl.unet.level[0].attends);
    assert_int_equal(xl.unet.level[2].depth, 2);
    assert_int_equal(xl.unet.level[2].heads, 2);
    assert_int_equal(xl.unet.context, 24);
    assert_int_equal(xl.unet.time_ids, 8);
    assert_int_equal(xl.vae.levels, 2);
    struct single refiner = read_good(tensors_of("refiner_single"));
    assert_int_equal(refiner.family, SINGLE_REFINER);
    assert_int_equal(refiner.unet.level[2].depth, 2); /* the middle's */
    assert_int_equal(refiner.unet.time_ids, 8);
    struct single first = read_good(tensors_of("sd1_single"));
    assert_int_equal(first.family, SINGLE_SD1);
    assert_int_equal(first.unet.level[0].heads, 8);
    assert_false(first.v_prediction);
}

static void the_unused_last_layer_of_sd2_is_left_out(void **state)
{
    struct single single = read_good(tensors_of("sd2_single"));
    assert_int_equal(single.family, SINGLE_SD2);
    assert_int_equal(single.text[0].layers, 2);
    assert_int_equal(single.text[0].projection, 0);
}

static json_t *number_named(const char *name, int value)
{
    return json_pack("[s, s, [], i, i]", name, "I64", 0, value);
}

static void sd2_predicts_v_unless_its_step_is_that_of_the_base_model(void **state)
{
    json_t *tensors = tensors_of("sd2_single");
    struct single single = read_good(json_incref(tensors));
    assert_true(single.v_prediction);
    assert_int_equal(single.sample, 96);
    size_t step = index_of(tensors, "global_step");
    json_array_set_new(tensors, step, number_named("global_step", 875000));
    single = read_good(json_incref(tensors));
    assert_false(single.v_prediction);
    assert_int_equal(single.sample, 64);
    assert_non_null(strstr(single.reason, "875000"));
    json_array_remove(tensors, step);
    assert_true(read_good(tensors).v_prediction);
}

static void sd2_with_nine_channels_predicts_epsilon(void **state)
{
    json_t *tensors = tensors_of("sd2_single");
    size_t first = index_of(tensors, "model.diffusion_model.input_blocks.0.0.weight");
    json_t *shape = json_array_get(json_array_get(tensors, first), 2);
    json_array_set_new(shape, 1, json_integer(9));
    struct single single = read_good(tensors);
    assert_int_equal(single.unet.in, 9);
    assert_false(single.v_prediction);
    assert_int_equal(single.sample, 64);
}

static void marks_of_v_prediction_are_heeded(void **state)
{
    json_t *tensors = tensors_of("sdxl_single");
    json_array_append_new(tensors,
                          json_pack("[s, s, [], i, i]", "v_pred", "F32", 0, 0));
    json_array_append_new(tensors, json_pack("[s, s, [], i, i]", "ztsnr", "F32", 0, 0));
    struct single single = read_good(tensors);
    assert_true(single.v_prediction && single.zero_snr);
}

static void what_is_missing_or_misshapen_is_named(void **state)
{
    struct single single;
    struct error error = {0};
    json_t *tensors = tensors_of("sd1_single");
    json_array_remove(tensors, index_of(tensors, "model.diffusion_model.out.2.weight"));
    assert_false(read_tensors(tensors, &single, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(
        strstr(error.text, "tensor model.diffusion_model.out.2.weight: missing"));
    tensors = tensors_of("sd1_single");
    size_t i = index_of(tensors, "first_stage_model.decoder.conv_in.weight");
    json_array_set_new(json_array_get(tensors, i), 2, json_pack("[i]", 4));
    assert_false(read_tensors(tensors, &single, &error));
    assert_non_null(strstr(error.text, "decoder.conv_in.weight: its shape makes no"));
}

static void files_of_other_kinds_are_of_no_family(void **state)
{
    struct single single;
    struct error error = {0};
    json_t *tensors = json_pack("[[s, s, [i], i, i]]", "lora.weight", "F32", 4, 0, 0);
    assert_false(read_tensors(tensors, &single, &error));
    assert_non_null(strstr(error.text, "of no family we know"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_follow_from_names_and_shapes),
        cmocka_unit_test(the_unused_last_layer_of_sd2_is_left_out),
        cmocka_unit_test(sd2_predicts_v_unless_its_step_is_that_of_the_base_model),
        cmocka_unit_test(sd2_with_nine_channels_predicts_epsilon),
        cmocka_unit_test(marks_of_v_prediction_are_heeded),
        cmocka_unit_test(what_is_missing_or_misshapen_is_named),
        cmocka_unit_test(files_of_other_kinds_are_of_no_family),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
