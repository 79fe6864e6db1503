#include <stdlib.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/test.h"
#include "worker/sd/model_files.h"

static char folder[] = "/tmp/farm-model-XXXXXX";
static const char *const names[] = {"unet/config.json", "model_index.json", ".hidden",
                                    "unet/.cache"};

static int make_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    char *unet = path_format("%s/unet", folder);
    bool ok = path_make_folders(unet, 0700, NULL);
    free(unet);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *file = path_format("%s/%s", folder, names[i]);
        ok = ok && path_write(file, "{}", 2, 0600, NULL);
        free(file);
    }
    return ok ? 0 : -1;
}

static int remove_folder(void **state)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *file = path_format("%s/%s", folder, names[i]);
        unlink(file);
        free(file);
    }
    char *unet = path_format("%s/unet", folder);
    int failed = rmdir(unet) | rmdir(folder);
    free(unet);
    return failed;
}

static void files_of_all_levels_are_listed_by_name_hidden_ones_aside(void **state)
{
    struct model_files files;
    assert_true(model_files_from_folder(&files, folder, NULL));
    assert_int_equal(files.count, 2);
    assert_string_equal(files.file[0].name, "model_index.json");
    assert_string_equal(files.file[1].name, "unet/config.json");
    assert_non_null(model_files_path(&files, "unet/config.json"));
    assert_null(model_files_path(&files, "unet"));
    model_files_clear(&files);
}

static void a_folder_that_is_not_there_is_told(void **state)
{
    struct model_files files;
    struct error error = {0};
    assert_false(model_files_from_folder(&files, "/nowhere/at/all", &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    assert_string_equal(error.text, "/nowhere/at/all: No such file or directory");
}

static void an_error_names_the_file_and_not_where_it_lies(void **state)
{
    struct model_files files;
    struct error error = {0};
    assert_true(model_files_from_folder(&files, folder, NULL));
    const char *path = model_files_path(&files, "unet/config.json");
    error_set(&error, "%s: line 1", path);
    assert_false(model_files_rename(&files, &error));
    assert_string_equal(error.text, "unet/config.json: line 1");
    error_set(&error, "model: unet/config.json: %s: line 1", path);
    model_files_rename(&files, &error);
    assert_string_equal(error.text, "model: unet/config.json: line 1");
    error_set(&error, "out of memory");
    model_files_rename(&files, &error);
    assert_string_equal(error.text, "out of memory");
    model_files_clear(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_all_levels_are_listed_by_name_hidden_ones_aside),
        cmocka_unit_test(a_folder_that_is_not_there_is_told),
        cmocka_unit_test(an_error_names_the_file_and_not_where_it_lies),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
