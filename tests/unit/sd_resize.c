/* Sizes and blurs against Pillow's bytes. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/tensor.h"
#include "tests/test.h"
#include "worker/sd/resize.h"
#include "worker/sd/safetensors.h"

static struct safetensors *golden_file;

static int open_golden(void **state)
{
    golden_file = safetensors_open(FARM_GOLDEN_DIR "/picture_runs.safetensors", NULL);
    return golden_file ? 0 : -1;
}

static int close_golden(void **state)
{
    safetensors_close(&golden_file);
    return 0;
}

static struct pixels golden_picture(const json_t *golden, const char *under)
{
    struct host_tensor host;
    const char *name =
        json_string_value(json_object_get(json_object_get(golden, under), "picture"));
    assert_true(safetensors_get(golden_file, name, &host, NULL));
    size_t count = host_tensor_count(&host);
    struct pixels picture = {host.shape[1], host.shape[0], malloc(count)};
    float *values = malloc(count * sizeof *values);
    host_tensor_floats(&host, 0, count, values);
    for (size_t i = 0; i < count; i++)
        picture.rgb[i] = (uint8_t)values[i];
    free(values);
    return picture;
}

static void assert_pixels(const struct pixels *found, const struct pixels *want,
                          const char *what)
{
    assert_int_equal(found->width, want->width);
    assert_int_equal(found->height, want->height);
    for (size_t i = 0; i < want->width * want->height * 3; i++)
        if (found->rgb[i] != want->rgb[i])
            fail_msg("%s %zux%zu: value %zu is %d, Pillow says %d", what, want->width,
                     want->height, i, found->rgb[i], want->rgb[i]);
}

/* Calls check for every case of that kind. */
static size_t each_case(const char *kind, void (*check)(const json_t *golden))
{
    json_t *cases = json_load_file(FARM_GOLDEN_DIR "/pictures.json", 0, NULL), *golden;
    size_t i, checked = 0;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(json_string_value(json_object_get(golden, "kind")), kind) != 0)
            continue;
        check(golden);
        checked++;
    }
    json_decref(cases);
    return checked;
}

static void check_size(const json_t *golden)
{
    static const char *const filters[] = {"nearest", "bilinear", "bicubic", "lanczos"};
    const char *name = json_string_value(json_object_get(golden, "filter"));
    int filter = 0;
    while (strcmp(filters[filter], name) != 0)
        filter++;
    struct pixels from = golden_picture(golden, "inputs");
    struct pixels want = golden_picture(golden, "outputs");
    struct pixels found = {.width = want.width, .height = want.height};
    assert_true(pixels_resize(&found, &from, (enum resize_filter)filter, NULL));
    assert_pixels(&found, &want, name);
    pixels_clear(&from);
    pixels_clear(&want);
    pixels_clear(&found);
}

static void sizes_are_those_of_pillow_to_the_byte(void **state)
{
    assert_int_equal(each_case("resize", check_size), 24);
}

static void check_blur(const json_t *golden)
{
    struct pixels found = golden_picture(golden, "inputs");
    struct pixels want = golden_picture(golden, "outputs");
    double radius = json_number_value(json_object_get(golden, "radius"));
    assert_true(pixels_blur(&found, radius, NULL));
    assert_pixels(&found, &want, "blurred");
    pixels_clear(&found);
    pixels_clear(&want);
}

static void blurs_are_those_of_pillow_to_the_byte(void **state)
{
    assert_int_equal(each_case("blur", check_blur), 6);
}

static void impossible_sizes_and_blurs_are_refused(void **state)
{
    uint8_t rgb[12] = {0};
    struct pixels from = {2, 2, rgb}, none = {.width = 0, .height = 5};
    struct error error = {0};
    assert_false(pixels_resize(&none, &from, RESIZE_LANCZOS, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    struct pixels wide = {.width = 65536, .height = 1};
    assert_false(pixels_resize(&wide, &from, RESIZE_NEAREST, &error));
    assert_false(pixels_blur(&from, -1, &error));
    assert_non_null(strstr(error.text, "blur -1"));
}

static void a_crop_beyond_the_edge_is_black(void **state)
{
    uint8_t rgb[12];
    memset(rgb, 9, sizeof rgb);
    struct pixels from = {2, 2, rgb}, part = {.width = 3, .height = 2};
    assert_true(pixels_crop(&part, &from, -1, 1, NULL));
    static const uint8_t want[18] = {0, 0, 0, 9, 9, 9, 9, 9, 9};
    assert_memory_equal(part.rgb, want, sizeof want);
    pixels_clear(&part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_pillow_to_the_byte),
        cmocka_unit_test(blurs_are_those_of_pillow_to_the_byte),
        cmocka_unit_test(impossible_sizes_and_blurs_are_refused),
        cmocka_unit_test(a_crop_beyond_the_edge_is_black),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
