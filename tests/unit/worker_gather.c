#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "proto/wire.h"
#include "tests/folder.h"
#include "worker/gather.h"

enum { PIECES = 5, SIZE = 4 * BLOB_PIECE + 1000 };

static uint8_t *content;
static uint8_t id[BLOB_ID], hash[PIECES][BLOB_ID];
static ProtobufCBinaryData pieces[PIECES];
static Farm__ModelFile file[2], *files[] = {&file[0], &file[1]};
static Farm__Manifest manifest;
static struct blob_store *store;
static struct gather *gather;

/* A model of one file twice, of five pieces. */
static int make_model(void **state)
{
    content = malloc(SIZE);
    for (size_t i = 0; content && i < SIZE; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    blob_id(content, SIZE, id);
    for (size_t p = 0; p < PIECES; p++) {
        size_t size = p < 4 ? BLOB_PIECE : 1000;
        blob_id(content + p * BLOB_PIECE, size, hash[p]);
        pieces[p] = wire_bytes(hash[p], BLOB_ID);
    }
    for (size_t f = 0; f < 2; f++) {
        farm__model_file__init(&file[f]);
        file[f].path = wire_text(f ? "b" : "a");
        file[f].size = SIZE;
        file[f].blob = wire_bytes(id, BLOB_ID);
        file[f].pieces = pieces;
        file[f].n_pieces = PIECES;
    }
    farm__manifest__init(&manifest);
    manifest.files = files;
    manifest.n_files = 2;
    if (!content || make_folder(state) || !(store = blob_store_open(folder, NULL)))
        return -1;
    gather = gather_new(store, &manifest, NULL);
    return gather ? 0 : -1;
}

static int drop_model(void **state)
{
    gather_destroy(&gather);
    blob_store_close(&store);
    free(content);
    return remove_folder(state);
}

static void has(size_t source, uint8_t bits)
{
    uint8_t all[2] = {bits, 0};
    struct error error = {0};
    if (!gather_source(gather, source, all, sizeof all, &error))
        fail_msg("%s", error.text);
}

/* Asks a source once; the piece it is asked for. */
static size_t ask(size_t source)
{
    uint8_t blob[BLOB_ID];
    uint64_t offset;
    uint32_t length;
    if (!gather_next(gather, source, blob, &offset, &length, NULL))
        return SIZE_MAX;
    return (size_t)(offset / BLOB_PIECE);
}

/* Answers all that a source is asked for; the number of pieces that became whole. */
static size_t serve(size_t source, const uint8_t *from, struct error *error)
{
    uint8_t blob[BLOB_ID];
    uint64_t offset;
    uint32_t length;
    size_t whole = 0;
    while (gather_next(gather, source, blob, &offset, &length, error)) {
        bool piece;
        if (!gather_take(gather, source, blob, offset, from + offset, length, &piece,
                         error))
            return whole;
        whole += piece;
    }
    return whole;
}

/* All that is due, in slices; how many it took. */
static int work(void)
{
    struct error error = {0};
    int slices = 0;
    for (bool more = true; more; slices++)
        if (!gather_work(gather, BLOB_PIECE, &more, &error))
            fail_msg("%s", error.text);
    return slices;
}

static void equal_files_are_fetched_once(void **state)
{
    assert_int_equal(gather_pieces(gather), 2 * PIECES);
    assert_int_equal(gather_missing(gather), PIECES);
    has(1, 0x1f);
    assert_int_equal(serve(1, content, NULL), PIECES);
    assert_int_equal(gather_missing(gather), 0);
    assert_false(gather_is_done(gather));
    work();
    assert_true(gather_is_done(gather));
    assert_true(blob_has(store, id, NULL));
}

static void what_came_in_no_order_is_hashed_in_slices(void **state)
{
    for (uint8_t bit = 0x10; bit; bit = (uint8_t)(bit >> 1)) {
        has(1, bit);
        serve(1, content, NULL);
    }
    assert_true(work() >= 4); /* the first piece was hashed when it came */
    assert_true(gather_is_done(gather));
}

static void the_piece_that_fewest_have_is_asked_for_first(void **state)
{
    for (int round = 0; round < 20; round++) {
        has(1, 0x1f);
        has(2, 0x1b);
        has(3, 0x1b);
        assert_int_equal(ask(1), 2);
        for (size_t s = 1; s <= 3; s++)
            gather_drop(gather, s);
    }
}

static void a_source_is_asked_only_for_what_it_has(void **state)
{
    has(1, 0x08);
    for (int i = 0; i < TRANSFER_WINDOW; i++)
        assert_int_equal(ask(1), 3);
    assert_int_equal(ask(1), SIZE_MAX); /* the window is full */
    assert_int_equal(gather_outstanding(gather, 1), TRANSFER_WINDOW);
    has(2, 0x08);
    assert_int_equal(ask(2), SIZE_MAX); /* it is on its way already */
    gather_drop(gather, 1);
    assert_int_equal(ask(2), 3);
}

static void a_wrong_piece_names_its_source_and_is_asked_of_another(void **state)
{
    struct error error = {0};
    uint8_t *wrong = malloc(SIZE), bits[2];
    assert_non_null(wrong);
    memset(wrong, 1, SIZE);
    has(1, 0x01);
    has(2, 0x01);
    assert_int_equal(serve(1, wrong, &error), 0);
    assert_int_equal(error.kind, ERROR_INPUT);
    gather_drop(gather, 1);
    assert_int_equal(serve(2, content, &error), 1);
    gather_bits(gather, bits);
    assert_int_equal(bits[0] & 0x1f, 0x01);
    free(wrong);
}

static void what_comes_from_whom_nobody_asked_is_dropped(void **state)
{
    bool piece = true;
    has(1, 0x1f);
    assert_true(gather_take(gather, 2, id, 0, content, TRANSFER_FRAME, &piece, NULL));
    assert_false(piece);
    assert_int_equal(gather_missing(gather), PIECES);
}

static void an_answer_from_before_a_release_accuses_nobody(void **state)
{
    struct error error = {0};
    bool piece;
    has(1, 0x01);
    for (int i = 0; i < TRANSFER_WINDOW; i++)
        assert_int_equal(ask(1), 0);
    gather_release(gather, 1);
    assert_int_equal(ask(1), 0); /* the first frame alone */
    assert_true(gather_take(gather, 1, id, 5 * TRANSFER_FRAME,
                            content + 5 * TRANSFER_FRAME, TRANSFER_FRAME, &piece,
                            &error));
    assert_int_equal(gather_outstanding(gather, 1), 1);
    assert_true(gather_take(gather, 1, id, 0, content, TRANSFER_FRAME, &piece, &error));
    assert_int_equal(serve(1, content, &error), 1);
}

static void verified_pieces_can_be_given_on_before_the_file_is_whole(void **state)
{
    uint8_t range[1000];
    struct error error = {0};
    has(1, 0x02);
    assert_int_equal(serve(1, content, NULL), 1);
    assert_true(gather_read(gather, id, BLOB_PIECE + 5, range, sizeof range, NULL));
    assert_memory_equal(range, content + BLOB_PIECE + 5, sizeof range);
    assert_false(gather_read(gather, id, 0, range, sizeof range, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    assert_false(
        gather_read(gather, id, 2 * BLOB_PIECE - 5, range, sizeof range, NULL));
    assert_false(gather_read(gather, id, UINT64_MAX, range, sizeof range, NULL));
}

static void bits_of_another_size_are_refused(void **state)
{
    uint8_t bits[3] = {0};
    assert_false(gather_source(gather, 1, bits, 3, NULL));
    assert_false(gather_source(gather, 1, bits, 0, NULL));
}

#define GATHER_TEST(name) cmocka_unit_test_setup_teardown(name, make_model, drop_model)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GATHER_TEST(equal_files_are_fetched_once),
        GATHER_TEST(what_came_in_no_order_is_hashed_in_slices),
        GATHER_TEST(the_piece_that_fewest_have_is_asked_for_first),
        GATHER_TEST(a_source_is_asked_only_for_what_it_has),
        GATHER_TEST(a_wrong_piece_names_its_source_and_is_asked_of_another),
        GATHER_TEST(what_comes_from_whom_nobody_asked_is_dropped),
        GATHER_TEST(an_answer_from_before_a_release_accuses_nobody),
        GATHER_TEST(verified_pieces_can_be_given_on_before_the_file_is_whole),
        GATHER_TEST(bits_of_another_size_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
