#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/files/transfer.h"
#include "tests/folder.h"

/* Two whole pieces and a bit: the last frame and the last piece are short. */
enum { SIZE = 2 * BLOB_PIECE + TRANSFER_FRAME + 1000, PIECES = 3 };

static struct blob_store *store;
static uint8_t *content;
static uint8_t id[BLOB_ID], pieces[PIECES][BLOB_ID];

static int make_store(void **state)
{
    content = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    blob_id(content, SIZE, id);
    for (size_t p = 0; p < PIECES; p++)
        blob_id(content + p * BLOB_PIECE, p < 2 ? BLOB_PIECE : SIZE - 2 * BLOB_PIECE,
                pieces[p]);
    return make_folder(state) == 0 && (store = blob_store_open(folder, NULL)) ? 0 : -1;
}

static int remove_store(void **state)
{
    blob_store_close(&store);
    free(content);
    return remove_folder(state);
}

static struct transfer *start(bool known, bool resume)
{
    struct error error = {0};
    struct transfer *self =
        transfer_new(store, id, SIZE, known ? (const uint8_t(*)[BLOB_ID])pieces : NULL,
                     known ? PIECES : 0, resume, &error);
    if (!self)
        fail_msg("%s", error.text);
    return self;
}

/* Asks and answers `frames` frames from `from`; how many were asked for. */
static size_t feed(struct transfer *self, const uint8_t *from, size_t frames)
{
    uint64_t offset;
    uint32_t length;
    size_t fed = 0;
    while (fed < frames && transfer_next(self, &offset, &length)) {
        transfer_take(self, offset, from + offset, length, NULL);
        fed++;
    }
    return fed;
}

static bool nothing_is_left_in_new(void)
{
    char *command = path_format("test -z \"$(ls -A %s/new)\"", folder);
    bool empty = system(command) == 0;
    free(command);
    return empty;
}

static void a_blob_that_came_whole_gets_its_name(void **state)
{
    struct error error = {0};
    struct transfer *self = start(false, false);
    assert_int_equal(feed(self, content, 1000), 34);
    assert_true(transfer_is_complete(self));
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    uint8_t found[BLOB_ID];
    uint64_t size;
    char *path = blob_path(store, id);
    assert_true(blob_id_of_file(path, found, &size, &error));
    assert_int_equal(size, SIZE);
    assert_memory_equal(found, id, BLOB_ID);
    assert_true(nothing_is_left_in_new());
    assert_true(blob_remove(store, id, &error));
    free(path);
}

static void frames_may_come_in_any_order_and_the_window_is_kept(void **state)
{
    struct error error = {0};
    struct transfer *self = start(true, false);
    uint64_t offset[TRANSFER_WINDOW + 1];
    uint32_t length[TRANSFER_WINDOW + 1];
    while (!transfer_is_complete(self)) {
        size_t asked = 0;
        while (transfer_next(self, &offset[asked], &length[asked]))
            assert_true(++asked <= TRANSFER_WINDOW);
        assert_true(asked > 0);
        while (asked--)
            assert_true(transfer_take(self, offset[asked], content + offset[asked],
                                      length[asked], &error));
    }
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_remove(store, id, &error));
}

static void a_range_that_was_not_asked_for_is_refused(void **state)
{
    struct error error = {0};
    struct transfer *self = start(true, false);
    uint64_t offset;
    uint32_t length;
    assert_false(transfer_take(self, 0, content, TRANSFER_FRAME, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_true(transfer_next(self, &offset, &length));
    assert_false(transfer_take(self, 0, content, TRANSFER_FRAME - 1, &error));
    assert_false(transfer_take(self, 1, content, TRANSFER_FRAME, &error));
    assert_false(transfer_take(self, TRANSFER_FRAME, content, TRANSFER_FRAME, &error));
    assert_false(transfer_take(self, UINT64_MAX - TRANSFER_FRAME + 1, content,
                               TRANSFER_FRAME, &error));
    assert_true(transfer_take(self, 0, content, TRANSFER_FRAME, &error));
    assert_false(transfer_take(self, 0, content, TRANSFER_FRAME, &error));
    assert_int_equal(transfer_received(self), TRANSFER_FRAME);
    transfer_destroy(&self);
    assert_true(nothing_is_left_in_new());
}

static void a_wrong_piece_is_asked_for_again(void **state)
{
    struct error error = {0};
    struct transfer *self = start(true, false);
    uint64_t offset;
    uint32_t length;
    feed(self, content, 15);
    assert_true(transfer_next(self, &offset, &length));
    content[offset + 5] ^= 1;
    bool taken = transfer_take(self, offset, content + offset, length, &error);
    content[offset + 5] ^= 1;
    assert_false(taken);
    assert_string_equal(error.text, "piece 0 does not have the content it must have");
    assert_int_equal(transfer_received(self), 0);
    assert_int_equal(feed(self, content, 1000), 34);
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_remove(store, id, &error));
}

static void a_wrong_whole_is_removed(void **state)
{
    struct error error = {0};
    struct transfer *self = start(false, false);
    content[SIZE - 1] ^= 1;
    feed(self, content, 1000);
    content[SIZE - 1] ^= 1;
    assert_false(transfer_finish(self, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    transfer_destroy(&self);
    assert_false(blob_has(store, id, NULL));
    assert_true(nothing_is_left_in_new());
}

static void the_whole_is_hashed_in_slices_when_pieces_come_in_no_order(void **state)
{
    struct error error = {0};
    struct transfer *self = start(true, false);
    static const size_t order[PIECES] = {2, 1, 0};
    uint64_t offset;
    uint32_t length;
    for (size_t p = 0; p < PIECES; p++)
        while (transfer_next_of(self, order[p], &offset, &length))
            assert_true(transfer_take(self, offset, content + offset, length, &error));
    assert_true(transfer_is_complete(self));
    assert_true(transfer_work(self, 1)); /* the second piece; the first came last */
    assert_false(transfer_work(self, 1));
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_remove(store, id, &error));
}

static void nothing_is_asked_for_before_what_was_left_is_known(void **state)
{
    struct error error = {0};
    uint64_t offset;
    uint32_t length;
    struct transfer *self = start(true, true);
    assert_true(transfer_is_ready(self));
    feed(self, content, 32);
    transfer_destroy(&self);
    self = start(true, true);
    assert_false(transfer_is_ready(self));
    assert_false(transfer_next(self, &offset, &length));
    assert_false(transfer_next_of(self, 2, &offset, &length));
    assert_true(transfer_work(self, 1));
    assert_false(transfer_is_ready(self));
    transfer_work(self, 1);
    assert_true(transfer_is_ready(self));
    assert_int_equal(transfer_received(self), 2 * BLOB_PIECE);
    assert_int_equal(feed(self, content, 1000), 2);
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_remove(store, id, &error));
}

static void a_restart_asks_again_only_for_what_did_not_come(void **state)
{
    struct error error = {0};
    struct transfer *self = start(true, false);
    uint64_t offset;
    uint32_t length;
    feed(self, content, 3);
    for (int i = 0; i < TRANSFER_WINDOW; i++)
        assert_true(transfer_next(self, &offset, &length));
    assert_false(transfer_next(self, &offset, &length));
    transfer_restart(self);
    assert_true(transfer_next(self, &offset, &length));
    assert_int_equal(offset, 3 * TRANSFER_FRAME);
    assert_true(transfer_take(self, offset, content + offset, length, &error));
    assert_int_equal(feed(self, content, 1000), 30);
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_remove(store, id, &error));
}

static void a_later_start_goes_on_from_the_pieces_that_verify(void **state)
{
    struct error error = {0};
    struct transfer *self = start(true, true);
    feed(self, content, 20); /* one piece and four frames */
    assert_null(transfer_new(store, id, SIZE, (const uint8_t(*)[BLOB_ID])pieces, PIECES,
                             true, &error));
    assert_int_equal(error.kind, ERROR_BUSY);
    transfer_destroy(&self);

    blob_store_close(&store);
    store = blob_store_open(folder, &error);
    self = start(true, true);
    while (transfer_work(self, BLOB_PIECE))
        ;
    assert_int_equal(transfer_received(self), BLOB_PIECE);
    assert_int_equal(feed(self, content, 1000), 18);
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_has(store, id, NULL));
    assert_true(nothing_is_left_in_new());
    assert_true(blob_remove(store, id, &error));
}

static void a_partial_file_that_rotted_is_fetched_again(void **state)
{
    struct error error = {0};
    struct transfer *self = start(true, true);
    feed(self, content, 33);
    transfer_destroy(&self);
    char name[BLOB_TEXT];
    blob_format(id, name);
    char *command = path_format("printf x | dd of=%s/new/%s.part bs=1 seek=100 "
                                "conv=notrunc status=none",
                                folder, name);
    assert_int_equal(system(command), 0);
    free(command);
    self = start(true, true);
    while (transfer_work(self, BLOB_PIECE))
        ;
    assert_int_equal(transfer_received(self), BLOB_PIECE); /* the second */
    assert_int_equal(feed(self, content, 1000), 18);
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_remove(store, id, &error));
}

static void an_empty_blob_is_complete_at_once(void **state)
{
    struct error error = {0};
    uint8_t empty[BLOB_ID];
    uint64_t offset;
    uint32_t length;
    blob_id("", 0, empty);
    struct transfer *self = transfer_new(store, empty, 0, NULL, 0, false, &error);
    assert_false(transfer_next(self, &offset, &length));
    assert_true(transfer_is_complete(self));
    assert_true(transfer_finish(self, &error));
    transfer_destroy(&self);
    assert_true(blob_has(store, empty, NULL));
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    struct error error = {0};
    assert_null(transfer_new(store, id, UINT64_MAX, NULL, 0, false, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_null(transfer_new(store, id, SIZE, (const uint8_t(*)[BLOB_ID])pieces, 2,
                             false, &error));
    assert_non_null(strstr(error.text, "with 2 pieces, expected 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blob_that_came_whole_gets_its_name),
        cmocka_unit_test(frames_may_come_in_any_order_and_the_window_is_kept),
        cmocka_unit_test(a_range_that_was_not_asked_for_is_refused),
        cmocka_unit_test(a_wrong_piece_is_asked_for_again),
        cmocka_unit_test(a_wrong_whole_is_removed),
        cmocka_unit_test(the_whole_is_hashed_in_slices_when_pieces_come_in_no_order),
        cmocka_unit_test(nothing_is_asked_for_before_what_was_left_is_known),
        cmocka_unit_test(a_restart_asks_again_only_for_what_did_not_come),
        cmocka_unit_test(a_later_start_goes_on_from_the_pieces_that_verify),
        cmocka_unit_test(a_partial_file_that_rotted_is_fetched_again),
        cmocka_unit_test(an_empty_blob_is_complete_at_once),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, make_store, remove_store);
}
