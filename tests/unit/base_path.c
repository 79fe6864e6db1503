#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/folder.h"

static void a_written_file_reads_back_and_has_its_mode(void **state)
{
    char *path = path_format("%s/secret", folder);
    struct buffer read = {0};
    assert_true(path_write(path, "abc", 3, 0600, NULL));
    assert_true(path_write(path, "abcd", 4, 0600, NULL));
    assert_true(path_read(path, 4, &read, NULL));
    assert_string_equal(buffer_text(&read), "abcd");
    struct stat found;
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    buffer_clear(&read);
    free(path);
}

static void a_file_above_the_limit_is_refused_by_name(void **state)
{
    char *path = path_format("%s/large", folder);
    struct buffer read = {0};
    struct error error = {0};
    assert_true(path_write(path, "abcdef", 6, 0600, NULL));
    assert_false(path_read(path, 5, &read, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "large: larger than 5 bytes"));
    buffer_clear(&read);
    free(path);
}

static void folders_are_made_with_the_ones_above(void **state)
{
    char *path = path_format("%s/a/b/c", folder);
    assert_true(path_make_folders(path, 0700, NULL));
    assert_true(path_make_folders(path, 0700, NULL));
    assert_int_equal(access(path, W_OK), 0);
    free(path);
}

static void a_tree_is_removed_but_not_what_its_links_point_to(void **state)
{
    char *tree = path_format("%s/tree", folder), *below = path_format("%s/a/b", tree);
    char *kept = path_format("%s/kept", folder), *link = path_format("%s/link", below);
    assert_true(path_make_folders(below, 0700, NULL));
    assert_true(path_make_folders(kept, 0700, NULL));
    assert_int_equal(symlink(kept, link), 0);
    path_remove_tree(tree);
    assert_int_equal(access(tree, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0);
    free(link);
    free(kept);
    free(below);
    free(tree);
}

static void a_file_in_the_way_of_a_folder_is_an_error(void **state)
{
    struct error error = {0};
    char *file = path_format("%s/file", folder);
    char *path = path_format("%s/file/below", folder);
    assert_true(path_write(file, "", 0, 0600, NULL));
    assert_false(path_make_folders(path, 0700, &error));
    assert_false(path_make_folders(file, 0700, &error));
    assert_non_null(strstr(error.text, "is not a folder"));
    assert_false(path_make_folders("", 0700, &error));
    free(path);
    free(file);
}

static void files_for_people_follow_the_umask(void **state)
{
    mode_t before = umask(027);
    assert_int_equal(path_shared_mode(), 0640);
    assert_int_equal(umask(before), 027);
}

static void a_lock_is_held_until_it_is_closed(void **state)
{
    struct error error = {0};
    char *path = path_format("%s/lock", folder);
    int first = path_lock(path, false, &error);
    assert_true(first >= 0);
    assert_int_equal(path_lock(path, false, &error), -1);
    assert_int_equal(error.kind, ERROR_BUSY);
    close(first);
    int second = path_lock(path, false, &error);
    assert_true(second >= 0);
    close(second);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_file_reads_back_and_has_its_mode),
        cmocka_unit_test(a_file_above_the_limit_is_refused_by_name),
        cmocka_unit_test(folders_are_made_with_the_ones_above),
        cmocka_unit_test(a_tree_is_removed_but_not_what_its_links_point_to),
        cmocka_unit_test(a_file_in_the_way_of_a_folder_is_an_error),
        cmocka_unit_test(files_for_people_follow_the_umask),
        cmocka_unit_test(a_lock_is_held_until_it_is_closed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
