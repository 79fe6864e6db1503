/* Where snapshots are fetched from, against a worker and a farm played by the test. */
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "proto/files/transfer.h"
#include "proto/gate.h"
#include "proto/wire.h"
#include "worker/checkpoints.h"

enum { SIZE = TRANSFER_FRAME + 1000, PATIENCE_MS = 15000 };

/* A socket that gives ranges of one byte over and over. */
struct giver {
    zsock_t *socket;
    char address[64];
    uint8_t content;
    bool refuses;
    size_t asked;
};

static struct keypair keys, own;
static struct gate *gate;
static struct giver other, farm;
static struct link *bulk;
static struct checkpoints *checkpoints;
static struct io_event news;
static int64_t stopped_ms; /* when the clock of what is tested stopped; 0: it runs */
static uint8_t blob[BLOB_ID];

static void open_giver(struct giver *giver)
{
    *giver = (struct giver){.socket = zsock_new(ZMQ_ROUTER), .content = 9};
    assert_true(gate_guard(giver->socket, &keys, WIRE_BULK_LIMIT, NULL));
    int port = zsock_bind(giver->socket, "tcp://127.0.0.1:*");
    assert_true(port > 0);
    snprintf(giver->address, sizeof giver->address, "tcp://127.0.0.1:%d", port);
}

static int set_up(void **state)
{
    stopped_ms = 0;
    assert_true(keypair_make(&keys, NULL) && keypair_make(&own, NULL));
    gate = gate_new((const uint8_t(*)[GATE_KEY])own.public_key, 1, NULL);
    open_giver(&other);
    open_giver(&farm);
    struct link_options options = {.address = farm.address,
                                   .server_key = keys.public_key,
                                   .own = &own,
                                   .limit = WIRE_BULK_LIMIT,
                                   .send_high_water = 32};
    bulk = link_open(&options, NULL);
    checkpoints = checkpoints_new(&own);
    uint8_t *content = malloc(SIZE);
    assert_non_null(content);
    memset(content, 9, SIZE);
    blob_id(content, SIZE, blob);
    free(content);
    checkpoints_want(checkpoints, 1, 2, blob, SIZE);
    return 0;
}

static int tear_down(void **state)
{
    buffer_clear(&news.bits);
    checkpoints_destroy(&checkpoints);
    link_close(&bulk);
    zsock_destroy(&other.socket);
    zsock_destroy(&farm.socket);
    gate_destroy(&gate);
    return 0;
}

static void answer(struct giver *giver)
{
    static uint8_t range[TRANSFER_FRAME];
    struct message got;
    if (!wire_receive(giver->socket, WIRE_BULK_LIMIT, &got, NULL))
        return;
    const Farm__Want *want = got.envelope->want;
    giver->asked++;
    memset(range, giver->content, want->length);
    Farm__Chunk chunk = FARM__CHUNK__INIT;
    chunk.blob = want->blob;
    chunk.offset = want->offset;
    Farm__Refused refused = FARM__REFUSED__INIT;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = got.envelope->request;
    envelope.body_case =
        giver->refuses ? FARM__ENVELOPE__BODY_REFUSED : FARM__ENVELOPE__BODY_CHUNK;
    if (giver->refuses)
        envelope.refused = &refused;
    else
        envelope.chunk = &chunk;
    assert_true(wire_send(giver->socket, got.peer, &envelope,
                          giver->refuses ? NULL : range,
                          giver->refuses ? 0 : want->length, NULL));
    message_clear(&got);
}

/* Waits for news of that kind; others are dropped. */
static void await(enum io_event_kind kind)
{
    for (int64_t until = clock_ms() + PATIENCE_MS; clock_ms() < until;
         zclock_sleep(2)) {
        struct message message;
        answer(&other);
        answer(&farm);
        while (link_step(bulk, clock_ms(), &message)) {
            if (message.envelope && !checkpoints_chunk(checkpoints, &message))
                fail_msg("what came was not taken");
            message_clear(&message);
        }
        buffer_clear(&news.bits);
        int64_t now = stopped_ms ? stopped_ms : clock_ms();
        if (checkpoints_next(checkpoints, bulk, now, &news) && news.kind == kind)
            return;
    }
    fail_msg("no news of kind %d", (int)kind);
}

/* The coordinator's answer to a Have. */
static void tell_of(bool is_elsewhere, bool may_ask_farm)
{
    uint8_t seeds = may_ask_farm;
    Farm__Source source = FARM__SOURCE__INIT, *list[] = {&source};
    source.key = wire_bytes(keys.public_key, KEY_SIZE);
    source.address = wire_text(other.address);
    Farm__Peers peers = FARM__PEERS__INIT;
    peers.model = wire_bytes(blob, BLOB_ID);
    peers.sources = list;
    peers.n_sources = is_elsewhere;
    peers.seeds = wire_bytes(&seeds, 1);
    checkpoints_peers(checkpoints, &peers);
}

static void await_the_snapshot(size_t from_other, size_t from_farm)
{
    await(IO_CHECKPOINT);
    assert_int_equal(news.epoch, 1);
    assert_int_equal(news.counter, 2);
    assert_int_equal(news.bits.size, SIZE);
    assert_int_equal(news.bits.data[SIZE - 1], 9);
    assert_int_equal(other.asked, from_other);
    assert_int_equal(farm.asked, from_farm);
    assert_false(checkpoints_is_fetching(checkpoints));
}

static void whoever_made_it_is_asked_under_a_grant(void **state)
{
    await(IO_HAVE);
    assert_true(news.fetching);
    assert_memory_equal(news.model, blob, BLOB_ID);
    assert_int_equal(news.bits.size, 1);
    assert_int_equal(news.bits.data[0], 0);
    stopped_ms = clock_ms();
    tell_of(true, false);
    await_the_snapshot(2, 0);
}

static void the_farm_is_asked_when_nobody_else_has_it(void **state)
{
    await(IO_HAVE);
    stopped_ms = clock_ms(); /* it does not wait for a grant to come */
    tell_of(false, true);
    await_the_snapshot(0, 2);
}

static void the_farm_is_asked_when_no_grant_comes(void **state)
{
    await(IO_HAVE);
    tell_of(false, false);
    await_the_snapshot(0, 2);
}

static void one_who_refuses_costs_no_snapshot(void **state)
{
    other.refuses = true;
    await(IO_HAVE);
    tell_of(true, false);
    await_the_snapshot(1, 2);
}

static void wrong_bytes_are_told_and_asked_of_the_farm(void **state)
{
    other.content = 8;
    await(IO_HAVE);
    tell_of(true, false);
    await(IO_HAVE);
    assert_false(news.fetching);
    assert_int_equal(news.bads, 1);
    assert_memory_equal(news.bad[0], keys.public_key, KEY_SIZE);
    await_the_snapshot(2, 2);
}

#define CHECKPOINTS_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        CHECKPOINTS_TEST(whoever_made_it_is_asked_under_a_grant),
        CHECKPOINTS_TEST(the_farm_is_asked_when_nobody_else_has_it),
        CHECKPOINTS_TEST(the_farm_is_asked_when_no_grant_comes),
        CHECKPOINTS_TEST(one_who_refuses_costs_no_snapshot),
        CHECKPOINTS_TEST(wrong_bytes_are_told_and_asked_of_the_farm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
