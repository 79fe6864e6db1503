/* The I/O actor against a bulk server played by the test, over real CURVE sockets. */
#include "tests/folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "proto/files/transfer.h"
#include "proto/gate.h"
#include "proto/wire.h"
#include "worker/io.h"
#include "worker/rendered.h"
#include "worker/result.h"

enum { EPOCH = 1700000000, PATIENCE_MS = 15000, BIG = 2 * TRANSFER_FRAME + 1000 };
enum {
    SMALL_SIDE = 8,
    BIG_SIDE = 512
}; /* of pictures; the second's file is above BIG */

static struct keypair server_key, own;
static struct gate *gate;
static zsock_t *server;
static char address[64];
static struct io *io;
static struct message got;
static struct io_event event;
static struct buffer png; /* of the picture kept last */

static void start_io(void)
{
    char *spool = path_format("%s/spool", folder);
    char *cache = path_format("%s/cache", folder);
    struct io_options own_options = {.spool = spool,
                                     .cache = cache,
                                     .own = &own,
                                     .server_key = server_key.public_key};
    struct error error = {0};
    io = io_new(&own_options, &error);
    free(cache);
    free(spool);
    if (!io)
        fail_msg("%s", error.text);
    io_connect(io, address);
}

static int set_up(void **state)
{
    assert_int_equal(make_folder(state), 0);
    assert_true(keypair_make(&server_key, NULL) && keypair_make(&own, NULL));
    gate = gate_new((const uint8_t(*)[GATE_KEY])own.public_key, 1, NULL);
    server = zsock_new(ZMQ_ROUTER);
    assert_true(gate_guard(server, &server_key, WIRE_BULK_LIMIT, NULL));
    int port = zsock_bind(server, "tcp://127.0.0.1:*");
    assert_true(port > 0);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    start_io();
    return 0;
}

static int tear_down(void **state)
{
    io_destroy(&io);
    zsock_destroy(&server);
    gate_destroy(&gate);
    message_clear(&got);
    io_event_clear(&event);
    return remove_folder(state);
}

/* The next message the actor sent, into `got`; its kind, or nothing within `ms`. */
static Farm__Envelope__BodyCase next_message(int64_t ms)
{
    int64_t until = clock_ms() + ms;
    message_clear(&got);
    while (clock_ms() < until) {
        struct error error = {0};
        if (wire_receive(server, WIRE_BULK_LIMIT, &got, &error))
            return got.envelope->body_case;
        zclock_sleep(2);
    }
    return FARM__ENVELOPE__BODY__NOT_SET;
}

/* Waits for an event of that kind; others are dropped. */
static void await(enum io_event_kind kind)
{
    int64_t until = clock_ms() + PATIENCE_MS;
    while (clock_ms() < until) {
        io_event_clear(&event);
        if (io_next(io, &event) && event.kind == kind)
            return;
        zclock_sleep(2);
    }
    fail_msg("no event of kind %d", (int)kind);
}

static bool comes_within(enum io_event_kind kind, int64_t ms)
{
    int64_t until = clock_ms() + ms;
    while (clock_ms() < until) {
        io_event_clear(&event);
        if (io_next(io, &event) && event.kind == kind)
            return true;
        zclock_sleep(2);
    }
    return false;
}

static void answer_stored(void)
{
    Farm__Stored stored = FARM__STORED__INIT;
    stored.blob = got.envelope->offer->blob;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_STORED;
    envelope.stored = &stored;
    assert_true(wire_send(server, got.peer, &envelope, NULL, 0, NULL));
}

/* A picture of nothing but noise, without latents. */
static struct rendered *noise_of(uint64_t counter, size_t side)
{
    struct attempt attempt = {.epoch = EPOCH, .counter = counter};
    struct image image = {
        .width = side, .height = side, .rgb = malloc(side * side * 3)};
    uint32_t state = (uint32_t)counter;
    assert_non_null(image.rgb);
    for (size_t i = 0; i < side * side * 3; i++)
        image.rgb[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
    task_init(&attempt.task);
    struct rendered *rendered = rendered_new(&attempt, &image);
    task_clear(&attempt.task);
    rendered->model_name = path_format("model");
    rendered->refiner = path_format("%s", "");
    return rendered;
}

/* Gives the actor a picture. */
static void keep(uint64_t counter, size_t side)
{
    struct rendered *rendered = noise_of(counter, side);
    struct result *result = result_make(rendered, NULL);
    assert_non_null(result);
    buffer_clear(&png);
    png = result->png;
    free(result);
    io_finish(io, &rendered);
    await(IO_KEPT);
}

static void a_small_result_goes_up_in_one_offer_and_is_announced(void **state)
{
    keep(1, SMALL_SIDE);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    assert_int_equal(got.envelope->offer->size, png.size);
    assert_int_equal(zframe_size(got.payload), png.size);
    assert_memory_equal(zframe_data(got.payload), png.data, png.size);
    answer_stored();
    await(IO_UPLOADED);
    assert_int_equal(event.commit->attempt->counter, 1);
    io_committed(io, EPOCH, 1, FARM__COMMIT_ANSWER__COMMIT_ACCEPTED);
    await(IO_FORGOTTEN);
    assert_int_equal(event.spooled, 0);
}

static void a_large_result_is_sent_range_by_range_as_wanted(void **state)
{
    keep(1, BIG_SIDE);
    assert_true(png.size >= BIG);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    assert_int_equal(zframe_size(got.payload), TRANSFER_FRAME);
    Farm__Want want = FARM__WANT__INIT;
    want.blob = got.envelope->offer->blob;
    want.offset = 2 * TRANSFER_FRAME;
    want.length = 1000;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_WANT;
    envelope.want = &want;
    assert_true(wire_send(server, got.peer, &envelope, NULL, 0, NULL));
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_CHUNK);
    assert_int_equal(got.envelope->chunk->offset, 2 * TRANSFER_FRAME);
    assert_int_equal(got.envelope->chunk->size, png.size);
    assert_int_equal(zframe_size(got.payload), 1000);
    assert_memory_equal(zframe_data(got.payload), png.data + 2 * TRANSFER_FRAME, 1000);
}

static void a_file_that_was_not_offered_is_not_sent(void **state)
{
    keep(1, SMALL_SIDE);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    uint8_t other[BLOB_ID] = {1};
    Farm__Want want = FARM__WANT__INIT;
    want.blob = wire_bytes(other, BLOB_ID);
    want.length = 10;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_WANT;
    envelope.want = &want;
    assert_true(wire_send(server, got.peer, &envelope, NULL, 0, NULL));
    assert_int_equal(next_message(300), FARM__ENVELOPE__BODY__NOT_SET);
}

static void nothing_is_announced_before_it_is_stored(void **state)
{
    keep(1, SMALL_SIDE);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    assert_false(comes_within(IO_UPLOADED, 300));
    answer_stored();
    await(IO_UPLOADED);
}

static void retry_offers_and_announces_again(void **state)
{
    keep(1, SMALL_SIDE);
    next_message(PATIENCE_MS);
    answer_stored();
    await(IO_UPLOADED);
    int64_t asked = clock_ms();
    io_committed(io, EPOCH, 1, FARM__COMMIT_ANSWER__COMMIT_RETRY);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    assert_true(clock_ms() - asked >= 490);
    answer_stored();
    await(IO_UPLOADED);
}

static void a_new_session_is_offered_everything_again(void **state)
{
    keep(1, SMALL_SIDE);
    next_message(PATIENCE_MS);
    answer_stored();
    await(IO_UPLOADED);
    io_connect(io, address);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    answer_stored();
    await(IO_UPLOADED);
}

static void after_a_restart_the_spool_is_held_and_offered(void **state)
{
    keep(1, SMALL_SIDE);
    next_message(PATIENCE_MS);
    io_destroy(&io);
    start_io();
    await(IO_KEPT);
    assert_int_equal(event.counter, 1);
    int64_t until = clock_ms() + PATIENCE_MS;
    while (next_message(PATIENCE_MS) != FARM__ENVELOPE__BODY_OFFER)
        assert_true(clock_ms() < until);
    answer_stored();
    await(IO_UPLOADED);
}

static void offer_snapshot(uint32_t step, size_t size)
{
    struct buffer bytes = {0};
    uint8_t *room = buffer_room(&bytes, size, NULL);
    assert_non_null(room);
    memset(room, (int)step, size);
    bytes.size = size;
    io_offer_checkpoint(io, EPOCH, 1, step, &bytes);
}

static void a_snapshot_is_told_when_it_is_there_and_newer_ones_overtake(void **state)
{
    offer_snapshot(5, BIG);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    assert_int_equal(got.envelope->offer->size, BIG);
    struct message first = got;
    got = (struct message){0};
    offer_snapshot(10, 1000);
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    answer_stored();
    await(IO_CHECKPOINTED);
    assert_int_equal(event.step, 10);
    assert_int_equal(event.size, 1000);
    assert_memory_equal(event.blob, got.envelope->offer->blob.data, BLOB_ID);
    keep(1, SMALL_SIDE); /* the result makes what is left of no use */
    assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_OFFER);
    ProtobufCBinaryData own_blob = got.envelope->offer->blob;
    got.envelope->offer->blob = first.envelope->offer->blob;
    answer_stored();
    assert_false(comes_within(IO_CHECKPOINTED, 200));
    got.envelope->offer->blob = own_blob;
    message_clear(&first);
}

/* Answers the Want in `got` with that byte over and over. */
static void answer_range(uint8_t content)
{
    static uint8_t range[TRANSFER_FRAME];
    const Farm__Want *want = got.envelope->want;
    memset(range, content, want->length);
    Farm__Chunk chunk = FARM__CHUNK__INIT;
    chunk.blob = want->blob;
    chunk.offset = want->offset;
    chunk.size = BIG;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = got.envelope->request;
    envelope.body_case = FARM__ENVELOPE__BODY_CHUNK;
    envelope.chunk = &chunk;
    assert_true(wire_send(server, got.peer, &envelope, range, want->length, NULL));
}

static void a_snapshot_comes_in_ranges_and_is_what_its_name_says(void **state)
{
    uint8_t *content = malloc(BIG), id[BLOB_ID];
    assert_non_null(content);
    memset(content, 9, BIG);
    blob_id(content, BIG, id);
    for (int wrong = 0; wrong < 2; wrong++) {
        io_want_checkpoint(io, EPOCH, 3, id, BIG);
        for (uint64_t at = 0; at < BIG; at += TRANSFER_FRAME) {
            assert_int_equal(next_message(PATIENCE_MS), FARM__ENVELOPE__BODY_WANT);
            assert_int_equal(got.envelope->want->offset, at);
            answer_range(wrong ? 8 : 9);
        }
        await(wrong ? IO_NO_CHECKPOINT : IO_CHECKPOINT);
        assert_int_equal(event.counter, 3);
    }
    assert_non_null(strstr(event.error.text, "not what its name says"));
    free(content);
}

static void a_model_nobody_has_is_reported_with_the_reason(void **state)
{
    uint8_t id[32] = {5};
    struct error why = {.kind = ERROR_NOT_FOUND, .text = "no such model"};
    io_want_model(io, id);
    await(IO_MANIFEST_WANTED);
    assert_memory_equal(event.model, id, sizeof id);
    io_no_manifest(io, id, &why);
    await(IO_MODEL_FAILED);
    assert_int_equal(event.error.kind, ERROR_NOT_FOUND);
    assert_string_equal(event.error.text, "no such model");
}

#define IO_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        IO_TEST(a_small_result_goes_up_in_one_offer_and_is_announced),
        IO_TEST(a_large_result_is_sent_range_by_range_as_wanted),
        IO_TEST(a_file_that_was_not_offered_is_not_sent),
        IO_TEST(nothing_is_announced_before_it_is_stored),
        IO_TEST(retry_offers_and_announces_again),
        IO_TEST(a_new_session_is_offered_everything_again),
        IO_TEST(after_a_restart_the_spool_is_held_and_offered),
        IO_TEST(a_snapshot_is_told_when_it_is_there_and_newer_ones_overtake),
        IO_TEST(a_snapshot_comes_in_ranges_and_is_what_its_name_says),
        IO_TEST(a_model_nobody_has_is_reported_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
