#include "tests/folder.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/files/transfer.h"
#include "proto/wire.h"
#include "worker/gather.h"
#include "worker/pieces.h"

enum { WEIGHTS = BLOB_PIECE + 300000 }; /* two pieces */

static uint8_t *weights;
static uint64_t limit; /* of the caches opened */

/* A model of two files: a text of five bytes and WEIGHTS bytes. */
struct fixture {
    Farm__Manifest manifest;
    Farm__ModelFile file[2], *files[2];
    uint8_t text_id[BLOB_ID], weights_id[BLOB_ID], piece[2][BLOB_ID], sha256[32];
    ProtobufCBinaryData text_piece, weight_pieces[2];
    uint8_t id[BLOB_ID];
};

static void make_model(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    farm__manifest__init(&f->manifest);
    blob_id("hello", 5, f->text_id);
    blob_id(weights, WEIGHTS, f->weights_id);
    blob_id(weights, BLOB_PIECE, f->piece[0]);
    blob_id(weights + BLOB_PIECE, WEIGHTS - BLOB_PIECE, f->piece[1]);
    f->text_piece = wire_bytes(f->text_id, BLOB_ID);
    for (size_t i = 0; i < 2; i++) {
        f->weight_pieces[i] = wire_bytes(f->piece[i], BLOB_ID);
        farm__model_file__init(&f->file[i]);
        f->file[i].sha256 = wire_bytes(f->sha256, 32);
        f->files[i] = &f->file[i];
    }
    f->file[0].path = wire_text("model_index.json");
    f->file[0].size = 5;
    f->file[0].blob = wire_bytes(f->text_id, BLOB_ID);
    f->file[0].pieces = &f->text_piece;
    f->file[0].n_pieces = 1;
    f->file[1].path = wire_text("unet/weights.safetensors");
    f->file[1].size = WEIGHTS;
    f->file[1].blob = wire_bytes(f->weights_id, BLOB_ID);
    f->file[1].pieces = f->weight_pieces;
    f->file[1].n_pieces = 2;
    f->manifest.name = wire_text("tiny");
    f->manifest.kind = wire_text("diffusers");
    f->manifest.family = wire_text("sd1");
    f->manifest.reason = wire_text("made up");
    f->manifest.factor = 8;
    f->manifest.width = f->manifest.height = 64;
    f->manifest.files = f->files;
    f->manifest.n_files = 2;
    manifest_id(&f->manifest, f->id);
}

static int set_up(void **state)
{
    weights = malloc(WEIGHTS);
    for (size_t i = 0; weights && i < WEIGHTS; i++)
        weights[i] = (uint8_t)(i * 31 >> 3);
    return weights ? make_folder(state) : -1;
}

static int tear_down(void **state)
{
    free(weights);
    limit = 0;
    return remove_folder(state);
}

static struct pieces *open_cache(const char *name, const char *depot)
{
    char *path = path_format("%s/%s", folder, name);
    struct error error = {0};
    struct pieces *pieces = pieces_open(path, depot, limit, &error);
    free(path);
    if (!pieces)
        fail_msg("%s", error.text);
    return pieces;
}

/* Answers up to `most` ranges the cache asks for; gives their number. */
static size_t serve(struct pieces *pieces, const struct fixture *f, size_t most)
{
    size_t served = 0;
    uint8_t blob[BLOB_ID];
    uint64_t offset;
    uint32_t length;
    while (served < most) {
        bool piece;
        pieces_want(pieces, f->id, NULL);
        pieces_source(pieces, GATHER_COORDINATOR, NULL, 0, NULL);
        if (!pieces_next(pieces, GATHER_COORDINATOR, blob, &offset, &length, NULL))
            break;
        const uint8_t *from =
            memcmp(blob, f->text_id, BLOB_ID) == 0 ? (const uint8_t *)"hello" : weights;
        struct error error = {0};
        if (!pieces_take(pieces, GATHER_COORDINATOR, blob, offset, from + offset,
                         length, &piece, &error))
            fail_msg("%s", error.text);
        served++;
    }
    return served;
}

static void a_model_is_fetched_file_by_file_and_then_known(void **state)
{
    struct fixture f;
    make_model(&f);
    struct pieces *pieces = open_cache("cache", NULL);
    assert_int_equal(pieces_want(pieces, f.id, NULL), PIECES_NO_MANIFEST);
    assert_true(pieces_manifest(pieces, f.id, &f.manifest, NULL));
    assert_int_equal(pieces_want(pieces, f.id, NULL), PIECES_FETCHING);
    serve(pieces, &f, 1000);
    assert_int_equal(pieces_want(pieces, f.id, NULL), PIECES_HERE);

    struct model_files files;
    Farm__Manifest *manifest;
    assert_true(pieces_files(pieces, f.id, &files, &manifest, NULL));
    assert_int_equal(files.count, 2);
    assert_string_equal(files.file[1].name, "unet/weights.safetensors");
    struct buffer text = {0};
    assert_true(path_read(files.file[0].path, 100, &text, NULL));
    assert_string_equal(buffer_text(&text), "hello");
    buffer_clear(&text);
    model_files_clear(&files);
    manifest_destroy(&manifest);

    pieces_close(&pieces);
    pieces = open_cache("cache", NULL);
    uint8_t(*ids)[BLOB_ID];
    assert_int_equal(pieces_complete(pieces, &ids), 1);
    assert_memory_equal(ids[0], f.id, BLOB_ID);
    free(ids);
    pieces_close(&pieces);
}

static void a_cut_fetch_goes_on_from_its_last_good_piece(void **state)
{
    struct fixture f;
    make_model(&f);
    struct pieces *pieces = open_cache("cache", NULL);
    assert_true(pieces_manifest(pieces, f.id, &f.manifest, NULL));
    size_t all = 1 + (WEIGHTS + TRANSFER_FRAME - 1) / TRANSFER_FRAME;
    size_t large =
        BLOB_PIECE / TRANSFER_FRAME; /* in any order, this piece comes whole */
    assert_int_equal(serve(pieces, &f, all - 1), all - 1);
    pieces_close(&pieces);

    pieces = open_cache("cache", NULL);
    size_t left = serve(pieces, &f, 1000);
    assert_true(left >= 1 && left <= large);
    assert_int_equal(pieces_want(pieces, f.id, NULL), PIECES_HERE);
    pieces_close(&pieces);
}

static void a_wrong_piece_is_refused_and_asked_for_again(void **state)
{
    struct fixture f;
    make_model(&f);
    struct pieces *pieces = open_cache("cache", NULL);
    assert_true(pieces_manifest(pieces, f.id, &f.manifest, NULL));
    assert_int_equal(pieces_want(pieces, f.id, NULL), PIECES_FETCHING);
    uint8_t blob[BLOB_ID];
    uint64_t offset;
    uint32_t length;
    struct error error = {0};
    bool piece;
    uint8_t text_only[] = {1};
    assert_true(pieces_source(pieces, 3, text_only, 1, &error));
    assert_true(pieces_next(pieces, 3, blob, &offset, &length, &error));
    assert_false(pieces_take(pieces, 3, blob, offset, "jello", 5, &piece, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "model_index.json"));
    serve(pieces, &f, 1000);
    assert_int_equal(pieces_want(pieces, f.id, NULL), PIECES_HERE);
    pieces_close(&pieces);
}

static void a_depot_on_this_machine_saves_the_fetch(void **state)
{
    struct fixture f;
    make_model(&f);
    char *depot = path_format("%s/depot", folder);
    struct blob_store *store = blob_store_open(depot, NULL);
    uint8_t id[BLOB_ID];
    assert_true(blob_put(store, "hello", 5, false, id, NULL));
    assert_true(blob_put(store, weights, WEIGHTS, false, id, NULL));
    blob_store_close(&store);
    struct pieces *pieces = open_cache("cache", depot);
    assert_true(pieces_manifest(pieces, f.id, &f.manifest, NULL));
    assert_int_equal(pieces_want(pieces, f.id, NULL), PIECES_HERE);
    pieces_close(&pieces);
    free(depot);
}

static void one_process_fetches_at_a_time(void **state)
{
    struct fixture f;
    make_model(&f);
    struct pieces *first = open_cache("cache", NULL);
    struct pieces *second = open_cache("cache", NULL);
    assert_true(pieces_manifest(first, f.id, &f.manifest, NULL));
    assert_int_equal(pieces_want(first, f.id, NULL), PIECES_FETCHING);
    assert_int_equal(pieces_want(second, f.id, NULL), PIECES_BUSY);
    serve(first, &f, 1000);
    assert_int_equal(pieces_want(second, f.id, NULL), PIECES_HERE);
    pieces_close(&first);
    pieces_close(&second);
}

static void another_models_manifest_is_refused(void **state)
{
    struct fixture f;
    make_model(&f);
    struct pieces *pieces = open_cache("cache", NULL);
    uint8_t other[BLOB_ID] = {1};
    struct error error = {0};
    assert_false(pieces_manifest(pieces, other, &f.manifest, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_int_equal(pieces_want(pieces, other, NULL), PIECES_NO_MANIFEST);
    pieces_close(&pieces);
}

static void fetch_whole(struct pieces *pieces, struct fixture *f)
{
    assert_true(pieces_manifest(pieces, f->id, &f->manifest, NULL));
    serve(pieces, f, 1000);
    assert_int_equal(pieces_want(pieces, f->id, NULL), PIECES_HERE);
}

static void the_model_used_longest_ago_makes_room_but_for_shared_files(void **state)
{
    struct fixture first, second;
    limit = WEIGHTS + BLOB_PIECE;
    make_model(&first);
    struct pieces *pieces = open_cache("cache", NULL);
    fetch_whole(pieces, &first);

    weights[0] ^= 1;
    make_model(&second); /* other weights, the same text */
    fetch_whole(pieces, &second);
    assert_int_equal(pieces_want(pieces, first.id, NULL), PIECES_NO_MANIFEST);
    uint8_t(*ids)[BLOB_ID];
    assert_int_equal(pieces_complete(pieces, &ids), 1);
    assert_memory_equal(ids[0], second.id, BLOB_ID);
    free(ids);
    pieces_close(&pieces);
}

static void a_model_in_use_does_not_make_room(void **state)
{
    struct fixture first, second;
    limit = WEIGHTS + BLOB_PIECE;
    make_model(&first);
    struct pieces *user = open_cache("cache", NULL);
    fetch_whole(user, &first);
    struct model_files files;
    Farm__Manifest *manifest;
    assert_true(pieces_files(user, first.id, &files, &manifest, NULL));

    weights[0] ^= 1;
    make_model(&second);
    struct pieces *other = open_cache("cache", NULL);
    fetch_whole(other, &second);
    assert_int_equal(pieces_want(other, first.id, NULL), PIECES_HERE);
    model_files_clear(&files);
    manifest_destroy(&manifest);
    pieces_close(&user);
    pieces_close(&other);
}

#define PIECES_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIECES_TEST(a_model_is_fetched_file_by_file_and_then_known),
        PIECES_TEST(a_cut_fetch_goes_on_from_its_last_good_piece),
        PIECES_TEST(a_wrong_piece_is_refused_and_asked_for_again),
        PIECES_TEST(a_depot_on_this_machine_saves_the_fetch),
        PIECES_TEST(one_process_fetches_at_a_time),
        PIECES_TEST(the_model_used_longest_ago_makes_room_but_for_shared_files),
        PIECES_TEST(a_model_in_use_does_not_make_room),
        PIECES_TEST(another_models_manifest_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
