#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "coordinator/janitor.h"
#include "tests/folder.h"

static struct blob_store *store;

static int make_store(void **state)
{
    if (make_folder(state))
        return -1;
    char *blobs = path_format("%s/blobs", folder);
    store = blob_store_open(blobs, NULL);
    free(blobs);
    return store ? 0 : -1;
}

static int drop_store(void **state)
{
    blob_store_close(&store);
    return remove_folder(state);
}

static char *keep(const char *text, uint8_t id[BLOB_ID])
{
    assert_true(blob_put(store, text, strlen(text), false, id, NULL));
    return blob_path(store, id);
}

static bool finds(const struct janitor_options *options, const uint8_t id[BLOB_ID],
                  bool damage)
{
    struct janitor *janitor = janitor_new(options);
    bool found = false;
    for (int64_t until = clock_ms() + 60000; !found && clock_ms() < until;) {
        uint8_t which[BLOB_ID];
        bool damaged;
        if (!janitor_found(janitor, which, &damaged))
            zclock_sleep(5);
        else
            found = damaged == damage && memcmp(which, id, BLOB_ID) == 0;
    }
    janitor_destroy(&janitor);
    return found;
}

static void a_file_is_told_when_it_was_not_spoken_of_for_the_grace_period(void **state)
{
    uint8_t id[BLOB_ID];
    char *path = keep("old", id);
    struct timespec times[2] = {{0, UTIME_NOW}, {clock_unix() - 1000, 0}};
    assert_false(janitor_is_old(path, 500));
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_true(janitor_is_old(path, 500));
    assert_false(janitor_is_old(path, 2000));
    assert_true(finds(&(struct janitor_options){folder, 500, 0, 1}, id, false));
    blob_touch(store, id);
    assert_false(janitor_is_old(path, 500));
    free(path);
    assert_false(janitor_is_old("/nonexistent", 0));
}

static void a_file_with_other_bytes_than_its_name_says_is_told(void **state)
{
    uint8_t good[BLOB_ID], bad[BLOB_ID];
    free(keep("good", good));
    char *path = keep("bad", bad);
    chmod(path, 0600);
    assert_true(path_write(path, "rot", 3, 0600, NULL));
    assert_true(finds(&(struct janitor_options){folder, 500, 1, 1}, bad, true));
    free(path);
}

#define JANITOR_TEST(name) cmocka_unit_test_setup_teardown(name, make_store, drop_store)

int main(void)
{
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        JANITOR_TEST(a_file_is_told_when_it_was_not_spoken_of_for_the_grace_period),
        JANITOR_TEST(a_file_with_other_bytes_than_its_name_says_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
