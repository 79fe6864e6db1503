#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/files/blob.h"
#include "tests/folder.h"

static void an_id_is_blake2b_of_32_bytes(void **state)
{
    uint8_t id[BLOB_ID], parsed[BLOB_ID];
    char text[BLOB_TEXT];
    blob_id("abc", 3, id);
    blob_format(id, text);
    assert_string_equal(
        text, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    assert_true(blob_parse(text, parsed, NULL));
    assert_memory_equal(id, parsed, BLOB_ID);
    text[63] = 'g';
    assert_false(blob_parse(text, parsed, NULL));
    assert_false(blob_parse("ab", parsed, NULL));
}

static void what_was_put_is_read_back_in_ranges(void **state)
{
    struct error error = {0};
    struct blob_store *store = blob_store_open(folder, &error);
    uint8_t id[BLOB_ID], missing[BLOB_ID] = {0};
    uint64_t size = 0;
    char part[4] = "";
    assert_true(blob_put(store, "hello blob", 10, true, id, &error));
    assert_true(blob_put(store, "hello blob", 10, true, id, &error));
    assert_true(blob_has(store, id, &size));
    assert_int_equal(size, 10);
    assert_true(blob_read(store, id, 6, part, 4, &error));
    assert_memory_equal(part, "blob", 4);
    assert_false(blob_read(store, id, 7, part, 4, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_false(blob_read(store, id, UINT64_MAX, part, 4, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_false(blob_read(store, missing, 0, part, 4, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    assert_true(blob_remove(store, id, &error));
    assert_false(blob_has(store, id, NULL));
    assert_true(blob_store_sync(store, &error));
    blob_store_close(&store);
}

static void an_imported_symbolic_link_brings_the_bytes_not_the_name(void **state)
{
    struct error error = {0};
    struct blob_store *store = blob_store_open(folder, &error);
    char *file = path_format("%s/source", folder);
    char *name = path_format("%s/name", folder);
    uint8_t id[BLOB_ID];
    char read[6] = "";
    assert_true(path_write(file, "weight", 6, 0644, &error));
    assert_int_equal(symlink("source", name), 0);
    blob_id("weight", 6, id);
    assert_true(blob_import(store, name, id, &error));
    assert_int_equal(unlink(name), 0);
    assert_int_equal(unlink(file), 0);
    assert_true(blob_read(store, id, 0, read, 6, &error));
    assert_memory_equal(read, "weight", 6);
    blob_store_close(&store);
    free(name);
    free(file);
}

static void an_import_with_another_content_is_refused_and_leaves_nothing(void **state)
{
    struct error error = {0};
    struct blob_store *store = blob_store_open(folder, &error);
    char *file = path_format("%s/other", folder);
    char *left = path_format("test -z \"$(ls -A %s/new)\"", folder);
    uint8_t id[BLOB_ID];
    assert_true(path_write(file, "changed", 7, 0644, &error));
    blob_id("announced", 9, id);
    assert_false(blob_import(store, file, id, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_false(blob_has(store, id, NULL));
    assert_int_equal(system(left), 0);
    blob_store_close(&store);
    free(left);
    free(file);
}

static void opening_empties_new_unless_another_has_the_store_open(void **state)
{
    struct error error = {0};
    struct blob_store *first = blob_store_open(folder, &error);
    char *stray = blob_new_path(first, "blob-stray");
    char *partial = path_format("%s/new/%064d.part", folder, 7);
    assert_true(path_write(stray, "x", 1, 0600, &error));
    assert_true(path_write(partial, "x", 1, 0600, &error));

    struct blob_store *second = blob_store_open(folder, &error);
    assert_int_equal(access(stray, F_OK), 0);
    blob_store_close(&second);
    blob_store_close(&first);

    first = blob_store_open(folder, &error);
    assert_int_not_equal(access(stray, F_OK), 0);
    assert_int_equal(access(partial, F_OK), 0);
    unlink(partial);
    blob_store_close(&first);
    free(stray);
    free(partial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_blake2b_of_32_bytes),
        cmocka_unit_test(what_was_put_is_read_back_in_ranges),
        cmocka_unit_test(an_imported_symbolic_link_brings_the_bytes_not_the_name),
        cmocka_unit_test(an_import_with_another_content_is_refused_and_leaves_nothing),
        cmocka_unit_test(opening_empties_new_unless_another_has_the_store_open),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
