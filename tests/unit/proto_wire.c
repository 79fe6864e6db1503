#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/wire.h"
#include "tests/test.h"

/* A DEALER and a ROUTER that know each other, without CURVE: only frames matter here. */
static zsock_t *dealer, *router;

static int make_pair(void **state)
{
    router = zsock_new(ZMQ_ROUTER);
    dealer = zsock_new(ZMQ_DEALER);
    zsock_set_router_mandatory(router, 1);
    zsock_set_sndhwm(router, 1);
    zsock_set_rcvhwm(dealer, 1);
    zsock_set_linger(router, 0);
    zsock_set_linger(dealer, 0);
    int port = zsock_bind(router, "tcp://127.0.0.1:*");
    return zsock_connect(dealer, "tcp://127.0.0.1:%d", port);
}

static int destroy_pair(void **state)
{
    zsock_destroy(&dealer);
    zsock_destroy(&router);
    return 0;
}

static bool receive(zsock_t *from, size_t limit, struct message *into,
                    struct error *error)
{
    zmq_pollitem_t item = {zsock_resolve(from), 0, ZMQ_POLLIN, 0};
    assert_int_equal(zmq_poll(&item, 1, 5000), 1);
    return wire_receive(from, limit, into, error);
}

static void send_raw(size_t parts, const void *data, size_t size)
{
    for (size_t i = 0; i < parts; i++)
        assert_true(zmq_send(zsock_resolve(dealer), data, size,
                             i + 1 < parts ? ZMQ_SNDMORE : 0) >= 0);
}

static void a_message_with_payload_arrives_whole_and_is_answered(void **state)
{
    struct message got;
    struct error error = {0};
    uint8_t id[32] = {1, 2, 3};
    Farm__Offer offer = FARM__OFFER__INIT;
    offer.blob = wire_bytes(id, sizeof id);
    offer.size = 3;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = 77;
    envelope.body_case = FARM__ENVELOPE__BODY_OFFER;
    envelope.offer = &offer;
    assert_true(wire_send(dealer, NULL, &envelope, "abc", 3, &error));
    assert_true(receive(router, WIRE_BULK_LIMIT, &got, &error));
    assert_int_equal(got.envelope->request, 77);
    assert_string_equal(wire_name(got.envelope->body_case), "offer");
    assert_true(wire_is(got.envelope->offer->blob, id, 32));
    assert_int_equal(zframe_size(got.payload), 3);
    assert_memory_equal(zframe_data(got.payload), "abc", 3);

    Farm__Done done = FARM__DONE__INIT;
    Farm__Envelope answer = FARM__ENVELOPE__INIT;
    answer.body_case = FARM__ENVELOPE__BODY_DONE;
    answer.done = &done;
    assert_true(wire_send(router, got.peer, &answer, NULL, 0, &error));
    message_clear(&got);
    assert_true(receive(dealer, WIRE_BULK_LIMIT, &got, &error));
    assert_string_equal(wire_name(got.envelope->body_case), "done");
    assert_null(got.peer);
    assert_null(got.payload);
    message_clear(&got);
    assert_false(wire_receive(dealer, WIRE_BULK_LIMIT, &got, &error));
    assert_int_equal(error.kind, ERROR_BUSY);
}

static void
garbage_is_refused_with_its_sender_and_the_next_message_is_read(void **state)
{
    struct message got;
    struct error error = {0};
    send_raw(1, "\xff\xff\xff\xff", 4);
    send_raw(3, "", 0);
    send_raw(1, "", 0);
    for (int i = 0; i < 2; i++) {
        assert_false(receive(router, WIRE_BULK_LIMIT, &got, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_non_null(got.peer);
        message_clear(&got);
    }
    assert_string_equal(error.text, "a message of more than two frames");
    assert_true(receive(router, WIRE_BULK_LIMIT, &got, &error));
    assert_string_equal(wire_name(got.envelope->body_case), "nothing");
    message_clear(&got);
}

static void frames_that_pass_the_limit_only_together_are_refused(void **state)
{
    struct message got;
    struct error error = {0};
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = 1;
    char payload[100] = "";
    assert_true(wire_send(dealer, NULL, &envelope, payload, 99, &error));
    assert_false(receive(router, 100, &got, &error));
    assert_string_equal(error.text, "a message of 101 bytes, the limit is 100");
    message_clear(&got);
    assert_true(wire_send(dealer, NULL, &envelope, payload, 98, &error));
    assert_true(receive(router, 100, &got, &error));
    message_clear(&got);
}

static void a_full_queue_is_busy_and_an_unknown_peer_unreachable(void **state)
{
    struct message got;
    struct error error = {0};
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    assert_true(wire_send(dealer, NULL, &envelope, NULL, 0, &error));
    assert_true(receive(router, WIRE_BULK_LIMIT, &got, &error));
    static char payload[200000];
    int sent = 0;
    int64_t start = clock_ms();
    while (wire_send(router, got.peer, &envelope, payload, sizeof payload, &error)) {
        sent++;
        assert_true(sent < 10000 && clock_ms() - start < 20000);
    }
    assert_int_equal(error.kind, ERROR_BUSY);
    message_clear(&got);

    zframe_t *nobody = zframe_new("nobody", 6);
    assert_false(wire_send(router, nobody, &envelope, NULL, 0, &error));
    assert_int_equal(error.kind, ERROR_UNREACHABLE);
    zframe_destroy(&nobody);
}

/* Packs and unpacks; the error text, or "" when it passed. */
static const char *judged(const Farm__Envelope *envelope)
{
    static struct error error;
    error.text[0] = 0;
    size_t size = farm__envelope__get_packed_size(envelope);
    uint8_t *bytes = malloc(size + 1);
    farm__envelope__pack(envelope, bytes);
    Farm__Envelope *read = wire_unpack(bytes, size, &error);
    free(bytes);
    if (read)
        farm__envelope__free_unpacked(read, NULL);
    return error.text;
}

static void text_is_utf8_without_zeros(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        bool good;
    } cases[] = {
        {"", 0, true},
        {"gr\xc3\xbc\xc3\x9f", 6, true},
        {"\xe7\x8c\xab", 3, true},
        {"\xf0\x9f\x90\x88", 4, true},
        {"\xf4\x8f\xbf\xbf", 4, true},
        {"a\0b", 3, false},
        {"\xc0\x80", 2, false},         /* overlong zero */
        {"\xe0\x9f\xbf", 3, false},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 4, false}, /* overlong */
        {"\xed\xa0\x80", 3, false},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, false}, /* above U+10FFFF */
        {"\xc3", 1, false},             /* cut */
        {"\xe7\x8c", 2, false},         /* cut */
        {"\x80", 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Farm__JobCancel cancel = FARM__JOB_CANCEL__INIT;
        cancel.job = wire_bytes(cases[i].text, cases[i].size);
        Farm__Envelope envelope = FARM__ENVELOPE__INIT;
        envelope.body_case = FARM__ENVELOPE__BODY_JOB_CANCEL;
        envelope.job_cancel = &cancel;
        assert_string_equal(
            judged(&envelope),
            cases[i].good ? "" : "farm.JobCancel.job is not UTF-8 text without zeros");
    }
}

static void a_message_without_what_it_needs_is_refused_by_name(void **state)
{
    uint8_t id[32] = {0};
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    Farm__Failed failed = FARM__FAILED__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_FAILED;
    envelope.failed = &failed;
    assert_string_equal(judged(&envelope), "farm.Failed.attempt is missing");

    Farm__ModelGet get = FARM__MODEL_GET__INIT;
    get.id = wire_bytes(id, 31);
    envelope.body_case = FARM__ENVELOPE__BODY_MODEL_GET;
    envelope.model_get = &get;
    assert_string_equal(judged(&envelope),
                        "farm.ModelGet.id has 31 bytes, expected 32");

    Farm__TokenNew token = FARM__TOKEN_NEW__INIT;
    token.role = (Farm__Role)99;
    envelope.body_case = FARM__ENVELOPE__BODY_TOKEN_NEW;
    envelope.token_new = &token;
    assert_string_equal(judged(&envelope),
                        "farm.TokenNew.role has the unknown value 99");

    Farm__AttemptId attempt = FARM__ATTEMPT_ID__INIT;
    Farm__Result result = FARM__RESULT__INIT;
    result.png = result.pixels = wire_bytes(id, 32);
    result.seconds = (double)NAN;
    Farm__Commit commit = FARM__COMMIT__INIT;
    commit.attempt = &attempt;
    commit.result = &result;
    commit.job = wire_bytes(id, 16);
    commit.key = wire_bytes(id, 32);
    envelope.body_case = FARM__ENVELOPE__BODY_COMMIT;
    envelope.commit = &commit;
    assert_string_equal(judged(&envelope),
                        "farm.Result.seconds is not a finite number");
    result.seconds = 0.25;
    assert_string_equal(judged(&envelope), "");

    Farm__Ready ready = FARM__READY__INIT;
    ProtobufCBinaryData models[] = {wire_bytes(id, 32), wire_bytes(id, 2)};
    ready.models = models;
    ready.n_models = 2;
    envelope.body_case = FARM__ENVELOPE__BODY_READY;
    envelope.ready = &ready;
    assert_string_equal(judged(&envelope),
                        "farm.Ready.models has 2 bytes, expected 32");
}

static void what_could_not_be_read_after_it_was_stored_is_refused(void **state)
{
    struct error error = {0};
    static const uint8_t field_zero[] = {0x08, 0x01, 0x82, 0x00, 0x01, 'x'};
    static const uint8_t later_field[] = {0x08, 0x01, 0x82, 0x7d, 0x01, 'x'};
    assert_null(wire_unpack(field_zero, sizeof field_zero, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "number 0"));
    Farm__Envelope *envelope = wire_unpack(later_field, sizeof later_field, &error);
    assert_non_null(envelope); /* of a later version */
    farm__envelope__free_unpacked(envelope, NULL);
}

static void a_small_message_that_unpacks_to_much_memory_is_refused(void **state)
{
    /* Settings of two bytes each on the wire, 64 or so in memory. */
    enum { COUNT = 300000 };
    Farm__Setting empty = FARM__SETTING__INIT;
    Farm__Setting **settings = malloc(COUNT * sizeof *settings);
    for (size_t i = 0; i < COUNT; i++)
        settings[i] = &empty;
    uint8_t id[16] = {0};
    Farm__Job job = FARM__JOB__INIT;
    job.settings = settings;
    job.n_settings = COUNT;
    Farm__Submit submit = FARM__SUBMIT__INIT;
    submit.id = wire_bytes(id, 16);
    submit.job = &job;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_SUBMIT;
    envelope.submit = &submit;
    assert_true(farm__envelope__get_packed_size(&envelope) < WIRE_CONTROL_LIMIT);
    assert_non_null(strstr(judged(&envelope), "unpacks to more than 8388608 bytes"));
    job.n_settings = 1000;
    assert_string_equal(judged(&envelope), "");
    free(settings);
}

static void a_copy_has_everything_of_its_own(void **state)
{
    uint8_t id[32];
    memset(id, 7, sizeof id);
    Farm__ModelFile file = FARM__MODEL_FILE__INIT, *files[] = {&file};
    file.path = wire_text("unet/config.json");
    file.blob = wire_own(wire_bytes(id, sizeof id));
    Farm__Manifest manifest = FARM__MANIFEST__INIT;
    manifest.files = files;
    manifest.n_files = 1;
    Farm__Manifest *copy = wire_copy(&manifest.base);
    memset(file.blob.data, 9, sizeof id);
    assert_int_equal(copy->n_files, 1);
    assert_true(wire_is(copy->files[0]->path, "unet/config.json", 16));
    assert_true(wire_is(copy->files[0]->blob, id, sizeof id));
    free(file.blob.data);
    farm__manifest__free_unpacked(copy, NULL);
}

int main(void)
{
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, make_pair, destroy_pair)
    const struct CMUnitTest tests[] = {
        WITH_PAIR(a_message_with_payload_arrives_whole_and_is_answered),
        WITH_PAIR(garbage_is_refused_with_its_sender_and_the_next_message_is_read),
        WITH_PAIR(frames_that_pass_the_limit_only_together_are_refused),
        WITH_PAIR(a_full_queue_is_busy_and_an_unknown_peer_unreachable),
        cmocka_unit_test(text_is_utf8_without_zeros),
        cmocka_unit_test(a_message_without_what_it_needs_is_refused_by_name),
        cmocka_unit_test(what_could_not_be_read_after_it_was_stored_is_refused),
        cmocka_unit_test(a_small_message_that_unpacks_to_much_memory_is_refused),
        cmocka_unit_test(a_copy_has_everything_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
