#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "proto/farm.h"
#include "proto/places.h"
#include "tests/folder.h"

static void write_file(const char *text)
{
    char *path = path_format("%s/" PLACE_FARM, folder);
    assert_true(path_write(path, text, strlen(text), 0600, NULL));
    free(path);
}

static void a_saved_farm_loads_back_with_spaces_in_its_name(void **state)
{
    struct farm farm = {.address = "tcp://127.0.0.1:7610", .name = "the attic"}, read;
    for (uint8_t i = 0; i < KEY_SIZE; i++)
        farm.server_key[i] = i;
    assert_true(farm_save(&farm, folder, NULL));
    assert_true(farm_load(&read, folder, PLACE_FARM, NULL));
    assert_string_equal(read.address, farm.address);
    assert_string_equal(read.name, farm.name);
    assert_memory_equal(read.server_key, farm.server_key, KEY_SIZE);
}

static void the_signing_key_is_learned_once_and_kept(void **state)
{
    struct farm farm = {.address = "tcp://127.0.0.1:7610", .name = "the attic"}, read;
    uint8_t key[SIGNING_KEY] = {7};
    struct error error = {0};
    assert_false(farm_learn_key(&farm, NULL, 0, &error));
    assert_true(farm_learn_key(&farm, key, sizeof key, &error));
    assert_false(farm_learn_key(&farm, key, sizeof key, &error));
    assert_string_equal(error.text, "");
    assert_true(farm_save(&farm, folder, NULL));
    assert_true(farm_load(&read, folder, PLACE_FARM, NULL));
    assert_memory_equal(read.signing_key, key, sizeof key);
    key[31] = 1;
    assert_false(farm_learn_key(&farm, key, sizeof key, &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    assert_int_equal(farm.signing_key[31], 0);
}

static void a_farm_whose_file_lacks_the_key_is_refused_by_the_file_s_name(void **state)
{
    struct farm read;
    struct error error = {0};
    write_file("tcp://127.0.0.1:7610\n");
    assert_false(farm_load(&read, folder, PLACE_FARM, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, PLACE_FARM));
    write_file("tcp://127.0.0.1:7610\nno key\n");
    assert_false(farm_load(&read, folder, PLACE_FARM, &error));
    assert_non_null(strstr(error.text, PLACE_FARM));
    assert_false(farm_load(&read, folder, "elsewhere", &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_farm_loads_back_with_spaces_in_its_name),
        cmocka_unit_test(the_signing_key_is_learned_once_and_kept),
        cmocka_unit_test(a_farm_whose_file_lacks_the_key_is_refused_by_the_file_s_name),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
