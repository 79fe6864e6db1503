#include "tests/folder.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/wire.h"
#include "worker/spool.h"

static void put(struct spool *spool, uint64_t counter, const char *png,
                const char *latents)
{
    static const uint8_t job[16] = {7}, key[32] = {8}, pixels[32] = {9};
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = 1700000000;
    id.counter = counter;
    Farm__Result result = FARM__RESULT__INIT;
    result.pixels = wire_bytes(pixels, sizeof pixels);
    result.seconds = 1.5;
    Farm__Commit commit = FARM__COMMIT__INIT;
    commit.attempt = &id;
    commit.job = wire_bytes(job, sizeof job);
    commit.key = wire_bytes(key, sizeof key);
    commit.index = 3;
    commit.result = &result;
    struct buffer first = {.data = (uint8_t *)(uintptr_t)png, .size = strlen(png)};
    struct buffer second = {.data = (uint8_t *)(uintptr_t)latents,
                            .size = strlen(latents)};
    struct error error = {0};
    if (!spool_put(spool, &commit, &first, &second, &error))
        fail_msg("%s", error.text);
}

static void results_are_there_after_a_restart(void **state)
{
    struct spool *spool = spool_open(folder, NULL);
    assert_non_null(spool);
    put(spool, 1, "picture one", "latents one");
    put(spool, 2, "picture two", "");
    spool_close(&spool);

    spool = spool_open(folder, NULL);
    assert_int_equal(spool_count(spool), 2);
    struct spool_entry *entry = spool_find(spool, 1700000000, 1);
    assert_non_null(entry);
    assert_int_equal(entry->commit->index, 3);
    assert_true(entry->commit->result->seconds == 1.5);
    assert_int_equal(entry->blob[0].size, 11);
    assert_int_equal(entry->blob[1].size, 11);
    char text[12] = "";
    assert_true(spool_read(spool, entry->blob[1].id, 0, text, 11, NULL));
    assert_string_equal(text, "latents one");
    assert_int_equal(spool_find(spool, 1700000000, 2)->blob[1].size, 0);
    spool_close(&spool);
}

static void a_forgotten_result_is_gone_for_good(void **state)
{
    struct spool *spool = spool_open(folder, NULL);
    put(spool, 1, "picture", "");
    uint8_t id[BLOB_ID];
    memcpy(id, spool_at(spool, 0)->blob[0].id, BLOB_ID);
    spool_forget(spool, 1700000000, 1);
    struct error error = {0};
    char byte;
    assert_false(spool_read(spool, id, 0, &byte, 1, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    spool_close(&spool);
    spool = spool_open(folder, NULL);
    assert_int_equal(spool_count(spool), 0);
    spool_close(&spool);
}

static void equal_pictures_stay_until_the_last_is_forgotten(void **state)
{
    struct spool *spool = spool_open(folder, NULL);
    put(spool, 1, "same", "");
    put(spool, 2, "same", "");
    spool_forget(spool, 1700000000, 1);
    char text[5] = "";
    assert_true(spool_read(spool, spool_at(spool, 0)->blob[0].id, 0, text, 4, NULL));
    assert_string_equal(text, "same");
    spool_close(&spool);
}

static void a_record_without_its_picture_is_dropped(void **state)
{
    struct spool *spool = spool_open(folder, NULL);
    put(spool, 1, "picture", "");
    put(spool, 2, "other", "");
    char hex[BLOB_TEXT];
    blob_format(spool_at(spool, 0)->blob[0].id, hex);
    spool_close(&spool);
    char *path = path_format("%s/blobs/%.2s/%s", folder, hex, hex);
    assert_int_equal(unlink(path), 0);
    free(path);
    path = path_format("%s/1700000000-3.commit", folder);
    assert_true(path_write(path, "\xff garbage", 9, 0600, NULL));
    free(path);

    spool = spool_open(folder, NULL);
    assert_int_equal(spool_count(spool), 1);
    assert_int_equal(spool_at(spool, 0)->commit->attempt->counter, 2);
    spool_close(&spool);
}

static void a_picture_without_a_record_is_swept(void **state)
{
    struct spool *spool = spool_open(folder, NULL);
    put(spool, 1, "picture", "");
    char hex[BLOB_TEXT];
    blob_format(spool_at(spool, 0)->blob[0].id, hex);
    spool_close(&spool);
    char *record = path_format("%s/1700000000-1.commit", folder);
    char *picture = path_format("%s/blobs/%.2s/%s", folder, hex, hex);
    assert_int_equal(unlink(record), 0);
    assert_int_equal(access(picture, F_OK), 0);
    spool = spool_open(folder, NULL);
    assert_int_not_equal(access(picture, F_OK), 0);
    spool_close(&spool);
    free(picture);
    free(record);
}

static void two_processes_cannot_share_a_spool(void **state)
{
    struct spool *spool = spool_open(folder, NULL);
    struct error error = {0};
    assert_null(spool_open(folder, &error));
    assert_int_equal(error.kind, ERROR_BUSY);
    spool_close(&spool);
}

#define SPOOL_TEST(test)                                                               \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(results_are_there_after_a_restart),
        SPOOL_TEST(a_forgotten_result_is_gone_for_good),
        SPOOL_TEST(equal_pictures_stay_until_the_last_is_forgotten),
        SPOOL_TEST(a_record_without_its_picture_is_dropped),
        SPOOL_TEST(a_picture_without_a_record_is_swept),
        SPOOL_TEST(two_processes_cannot_share_a_spool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
