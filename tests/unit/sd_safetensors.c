#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/test.h"
#include "worker/sd/safetensors.h"

static char path[] = "/tmp/farm-safetensors-XXXXXX";

static int make_file(void **state)
{
    int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_file(void **state)
{
    return unlink(path);
}

static void write_bytes(const void *bytes, size_t size)
{
    assert_true(path_write(path, bytes, size, 0600, NULL));
}

/* A file of that header and `size` zero bytes of data. */
static void write_file(const char *header, size_t size)
{
    struct buffer file = {0};
    uint8_t frame[8] = {(uint8_t)strlen(header), (uint8_t)(strlen(header) >> 8)};
    uint8_t *zeros = calloc(1, size + 1);
    assert_true(buffer_append(&file, frame, sizeof frame, NULL));
    assert_true(buffer_append(&file, header, strlen(header), NULL));
    assert_true(buffer_append(&file, zeros, size, NULL));
    write_bytes(file.data, file.size);
    buffer_clear(&file);
    free(zeros);
}

static void assert_refused(const char *expected)
{
    struct error error = {0};
    struct safetensors *file = safetensors_open(path, &error);
    assert_null(file);
    if (!strstr(error.text, expected))
        fail_msg("expected \"%s\" in \"%s\"", expected, error.text);
    assert_non_null(strstr(error.text, path));
    assert_int_equal(error.kind, ERROR_INPUT);
}

static void what_was_written_reads_back(void **state)
{
    const float values[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
    const size_t shape[] = {1, 2, 3};
    struct buffer bytes = {0};
    struct host_tensor tensor;
    assert_true(safetensors_write(&bytes, "latents", values, shape, 3, NULL));
    assert_int_equal((bytes.size - sizeof values) % 8, 0);
    write_bytes(bytes.data, bytes.size);
    struct safetensors *file = safetensors_open(path, NULL);
    assert_non_null(file);
    assert_int_equal(safetensors_count(file), 1);
    assert_string_equal(safetensors_name(file, 0), "latents");
    assert_true(safetensors_get(file, "latents", &tensor, NULL));
    assert_int_equal(tensor.type, HOST_F32);
    assert_int_equal(tensor.dims, 3);
    assert_memory_equal(tensor.shape, shape, sizeof shape);
    assert_memory_equal(tensor.data, values, sizeof values);
    safetensors_close(&file);
    assert_null(file);
    buffer_clear(&bytes);
}

static void tensors_are_found_by_name_whatever_their_order(void **state)
{
    struct host_tensor tensor;
    struct error error = {0};
    write_file("{\"__metadata__\":{\"format\":\"pt\"},"
               "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[8,12]},"
               "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
               "\"a\":{\"dtype\":\"BF16\",\"shape\":[0,5],\"data_offsets\":[8,8]}}  ",
               12);
    struct safetensors *file = safetensors_open(path, &error);
    assert_non_null(file);
    assert_int_equal(safetensors_count(file), 3);
    assert_true(safetensors_get(file, "a", &tensor, NULL));
    assert_int_equal(tensor.type, HOST_BF16);
    assert_true(safetensors_get(file, "b", &tensor, NULL));
    assert_int_equal(tensor.type, HOST_F16);
    assert_false(safetensors_get(file, "scalar", &tensor, &error));
    assert_non_null(strstr(error.text, "tensor scalar: dtype I64, expected F32"));
    assert_false(safetensors_get(file, "c", &tensor, &error));
    assert_non_null(strstr(error.text, "tensor c is missing"));
    assert_int_equal(error.kind, ERROR_INPUT);
    safetensors_close(&file);
}

static void a_file_without_a_whole_header_is_refused(void **state)
{
    write_bytes("abc", 3);
    assert_refused("3 bytes are too few");
    write_bytes("\x10\0\0\0\0\0\0\0{}", 10);
    assert_refused("a header of 16 bytes");
    write_bytes("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_refused("a header of 18446744073709551615 bytes");
}

static void a_header_above_the_limit_is_refused(void **state)
{
    size_t size = 8 + (8u << 20) + 1;
    char *bytes = calloc(1, size);
    memset(bytes, ' ', size);
    memcpy(bytes, "\x01\x00\x80\0\0\0\0\0{}", 10);
    write_bytes(bytes, size);
    assert_refused("a header of 8388609 bytes");
    free(bytes);
}

static void a_header_that_is_no_json_object_is_refused(void **state)
{
    write_file("{\"a\":", 0);
    assert_refused("header: ");
    write_file("[]", 0);
    assert_refused("expected an object");
    write_file("{} x", 0);
    assert_refused("end of file expected");
}

static void a_wrong_description_of_a_tensor_is_refused(void **state)
{
#define TENSOR(dtype, shape, offsets)                                                  \
    "{\"unet.w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets   \
    "}}"
    static const struct {
        const char *header, *expected;
    } cases[] = {
        {"{\"unet.w\":7}", "tensor unet.w: expected dtype, shape"},
        {TENSOR("\"F31\"", "[2]", "[0,8]"), "unknown dtype"},
        {TENSOR("4", "[2]", "[0,8]"), "unknown dtype"},
        {TENSOR("\"F32\"", "2", "[0,8]"), "shape must be"},
        {TENSOR("\"F32\"", "[-2]", "[0,8]"), "shape must be"},
        {TENSOR("\"F32\"", "[2.0]", "[0,8]"), "shape must be"},
        {TENSOR("\"F32\"", "[1,1,1,1,2]", "[0,8]"), "shape must be"},
        {TENSOR("\"F32\"", "[2]", "[0]"), "data_offsets must be"},
        {TENSOR("\"F32\"", "[2]", "[8,0]"), "data_offsets must be"},
        {TENSOR("\"F32\"", "[2]", "[-8,0]"), "data_offsets must be"},
        {TENSOR("\"F32\"", "[3]", "[0,12]"), "its data lie outside the file"},
        {TENSOR("\"F32\"", "[3]", "[0,8]"), "not as long as dtype and shape say"},
        {TENSOR("\"F16\"", "[9223372036854775807,4]", "[0,8]"), "not as long as dtype"},
        {TENSOR("\"F32\"", "[1]", "[0,4]"), "8 bytes of data, its tensors have 4"},
        {"{\"a\\nb\":7}", "control characters"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "tensor b: its data begin at 0, expected 4: tensors overlap"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "tensor b: its data begin at 4, expected 2: there is a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "duplicate"},
    };
#undef TENSOR
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(cases[i].header, 8);
        assert_refused(cases[i].expected);
    }
}

static void a_missing_file_and_a_folder_are_refused_by_name(void **state)
{
    struct error error = {0};
    assert_null(safetensors_open("/nonexistent.safetensors", &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.text, "/nonexistent.safetensors"));
    assert_null(safetensors_open("/tmp", &error));
    assert_string_equal(error.text, "/tmp: not a regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_reads_back),
        cmocka_unit_test(tensors_are_found_by_name_whatever_their_order),
        cmocka_unit_test(a_file_without_a_whole_header_is_refused),
        cmocka_unit_test(a_header_above_the_limit_is_refused),
        cmocka_unit_test(a_header_that_is_no_json_object_is_refused),
        cmocka_unit_test(a_wrong_description_of_a_tensor_is_refused),
        cmocka_unit_test(a_missing_file_and_a_folder_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
