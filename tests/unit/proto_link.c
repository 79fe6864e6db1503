/* Links and the gate over real CURVE sockets on the loopback. One thread plays both sides. */
#include <string.h>

#include "base/clock.h"
#include "proto/gate.h"
#include "proto/link.h"
#include "tests/test.h"

static struct keypair server_key, known, stranger;
static struct gate *gate;
static zsock_t *server;
static int port;
static int hellos; /* the server was greeted so often */

static void serve(int at)
{
    struct error error = {0};
    server = zsock_new(ZMQ_ROUTER);
    if (!gate_guard(server, &server_key, WIRE_CONTROL_LIMIT, &error))
        fail_msg("%s", error.text);
    int64_t until = clock_ms() + 20000; /* a closed port is given back a little later */
    do
        port = at ? zsock_bind(server, "tcp://127.0.0.1:%d", at)
                  : zsock_bind(server, "tcp://127.0.0.1:*");
    while (port < 0 && clock_ms() < until);
    assert_true(port > 0);
}

static int start(void **state)
{
    hellos = 0;
    assert_true(keypair_make(&server_key, NULL) && keypair_make(&known, NULL) &&
                keypair_make(&stranger, NULL));
    gate = gate_new((const uint8_t(*)[GATE_KEY])known.public_key, 1, NULL);
    assert_non_null(gate);
    serve(0);
    return 0;
}

static int stop(void **state)
{
    zsock_destroy(&server);
    gate_destroy(&gate);
    return 0;
}

/* Welcomes whoever says hello with `welcome`, echoes anything else. */
static bool welcome = true;
static uint8_t last_sender[32];

static void server_step(void)
{
    struct message got;
    if (!server || !wire_receive(server, WIRE_CONTROL_LIMIT, &got, NULL))
        return;
    memcpy(last_sender, got.key, sizeof last_sender);
    Farm__Welcome greeting = FARM__WELCOME__INIT;
    Farm__Refused refusal = FARM__REFUSED__INIT;
    Farm__Envelope answer = *got.envelope;
    if (got.envelope->body_case == FARM__ENVELOPE__BODY_HELLO) {
        hellos++;
        farm__envelope__init(&answer);
        answer.body_case =
            welcome ? FARM__ENVELOPE__BODY_WELCOME : FARM__ENVELOPE__BODY_REFUSED;
        answer.welcome = &greeting;
        if (!welcome) {
            refusal.kind = ERROR_BUSY;
            refusal.text = wire_text("this key is in use by attic");
            answer.refused = &refusal;
        }
    }
    wire_send(server, got.peer, &answer, NULL, 0, NULL);
    message_clear(&got);
}

static struct link *open_link(const struct keypair *own, const uint8_t *key,
                              int64_t silence_ms, bool with_hello)
{
    char address[64];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    uint8_t instance[16] = {1};
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.instance = wire_bytes(instance, sizeof instance);
    struct link_options options = {
        .address = address,
        .server_key = key,
        .own = own,
        .hello = with_hello ? &hello : NULL,
        .limit = WIRE_CONTROL_LIMIT,
        .send_high_water = 100,
        .silence_ms = silence_ms,
    };
    struct link *link = link_open(&options, NULL);
    assert_non_null(link);
    return link;
}

/* Steps both sides until the event comes or `ms` have passed; whether it came. */
static bool wait_for(struct link *link, enum link_event wanted, int ms)
{
    int64_t until = clock_ms() + ms;
    while (clock_ms() < until) {
        server_step();
        struct message got;
        enum link_event event = link_step(link, clock_ms(), &got);
        message_clear(&got);
        if (event == wanted)
            return true;
        if (event == LINK_NOTHING) {
            zmq_pollitem_t items[] = {
                {zsock_resolve(link_socket(link)), 0, ZMQ_POLLIN, 0},
                {zsock_resolve(link_monitor(link)), 0, ZMQ_POLLIN, 0}};
            zmq_poll(items, 2, 2);
        }
    }
    return false;
}

static bool wait_for_trouble(struct link *link, const char *text, struct error *error)
{
    int64_t until = clock_ms() + 20000;
    while (clock_ms() < until) {
        wait_for(link, LINK_GREETED, 5);
        if (link_trouble(link, error) && strstr(error->text, text))
            return true;
    }
    return false;
}

static void a_known_key_is_greeted_and_its_messages_carry_it(void **state)
{
    struct link *link = open_link(&known, server_key.public_key, 0, true);
    assert_false(link_is_up(link));
    assert_true(wait_for(link, LINK_GREETED, 20000));
    assert_true(link_is_up(link));
    assert_false(link_trouble(link, NULL));
    assert_memory_equal(last_sender, known.public_key, KEY_SIZE);

    Farm__Pulse pulse = FARM__PULSE__INIT;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_PULSE;
    envelope.pulse = &pulse;
    assert_true(link_send(link, &envelope, NULL, 0, NULL));
    assert_true(wait_for(link, LINK_MESSAGE, 20000));
    link_close(&link);
}

static void
an_unknown_key_is_denied_and_says_so_then_gets_in_once_admitted(void **state)
{
    struct error error = {0};
    struct link *link = open_link(&stranger, server_key.public_key, 0, true);
    assert_true(wait_for_trouble(link, "does not know this key", &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    assert_int_equal(hellos, 0);
    gate_admit(gate, stranger.public_key);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    assert_memory_equal(last_sender, stranger.public_key, KEY_SIZE);
    assert_false(link_trouble(link, NULL));
    link_close(&link);
}

static void a_forgotten_key_does_not_get_in_again(void **state)
{
    struct error error = {0};
    struct link *link = open_link(&known, server_key.public_key, 0, true);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    link_close(&link);
    gate_forget(gate, known.public_key);
    link = open_link(&known, server_key.public_key, 0, true);
    assert_true(wait_for_trouble(link, "revoked", &error));
    assert_int_equal(hellos, 1);
    link_close(&link);
}

static void a_wrong_server_key_is_told_from_an_unknown_own_key(void **state)
{
    struct error error = {0};
    struct link *link = open_link(&known, stranger.public_key, 0, true);
    assert_true(wait_for_trouble(link, "another key", &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    assert_int_equal(hellos, 0);
    link_close(&link);
}

static void a_link_finds_the_server_that_starts_later_and_after_a_restart(void **state)
{
    struct error error = {0};
    zsock_destroy(&server);
    struct link *link = open_link(&known, server_key.public_key, 0, true);
    assert_true(wait_for_trouble(link, "nobody listens", &error));
    assert_int_equal(error.kind, ERROR_UNREACHABLE);
    assert_true(link_is_alone(link));
    serve(port);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    assert_false(link_is_alone(link));

    zsock_destroy(&server);
    assert_true(wait_for_trouble(link, "lost", &error));
    assert_false(link_is_up(link));
    serve(port);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    assert_int_equal(hellos, 2);
    link_close(&link);
}

static void a_link_without_a_hello_reports_its_new_socket(void **state)
{
    struct link *link = open_link(&known, server_key.public_key, 0, false);
    int64_t until = clock_ms() + 20000;
    while (!link_is_up(link) && clock_ms() < until)
        wait_for(link, LINK_REOPENED, 5);
    assert_true(link_is_up(link));
    zsock_destroy(&server);
    assert_true(wait_for(link, LINK_REOPENED, 20000));
    link_close(&link);
}

static void ask_unanswered(struct link *link)
{
    Farm__Pulse pulse = FARM__PULSE__INIT;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = 1;
    envelope.body_case = FARM__ENVELOPE__BODY_PULSE;
    envelope.pulse = &pulse;
    int64_t until = clock_ms() + 20000;
    while (!link_is_up(link) && clock_ms() < until)
        wait_for(link, LINK_REOPENED, 5);
    assert_true(link_send(link, &envelope, NULL, 0, NULL));
}

static bool is_silent(struct link *link, int64_t at)
{
    struct message got;
    struct error error = {0};
    assert_int_equal(link_step(link, at, &got), LINK_NOTHING);
    return link_trouble(link, &error) && strstr(error.text, "nothing was answered");
}

/* What it carries would be lost each time, and never arrive. */
static void a_bulk_link_that_answered_nothing_is_waited_for_twice_as_long(void **state)
{
    const int64_t silence = 60000;
    struct link *link = open_link(&known, server_key.public_key, silence, false);
    struct message got;
    ask_unanswered(link);
    int64_t now = clock_ms();
    assert_false(is_silent(link, now));
    assert_true(is_silent(link, now + silence));
    assert_int_equal(link_step(link, now + 2 * silence, &got), LINK_REOPENED);
    ask_unanswered(link);
    now += 3 * silence;
    assert_false(is_silent(link, now));
    assert_false(is_silent(link, now + 2 * silence - 1));
    assert_true(is_silent(link, now + 2 * silence));
    link_close(&link);
}

static void a_server_that_never_answers_is_left_for_a_new_socket(void **state)
{
    struct message got;
    struct error error = {0};
    struct link *link = open_link(&known, server_key.public_key, 300, true);
    int64_t until = clock_ms() + 20000;
    bool troubled = false;
    while (!troubled && clock_ms() < until) { /* nobody steps the server */
        link_step(link, clock_ms(), &got);
        message_clear(&got);
        assert_true(link_patience(link, clock_ms()) <= 300);
        troubled = link_trouble(link, &error);
        zclock_sleep(2);
    }
    assert_non_null(strstr(error.text, "nothing was answered"));
    assert_true(wait_for(link, LINK_GREETED, 20000));
    link_close(&link);
}

static void a_refused_hello_is_the_trouble_and_is_said_again_later(void **state)
{
    struct error error = {0};
    welcome = false;
    struct link *link = open_link(&known, server_key.public_key, 0, true);
    assert_true(wait_for_trouble(link, "this key is in use by attic", &error));
    assert_int_equal(error.kind, ERROR_BUSY);
    assert_false(link_is_up(link));
    welcome = true;
    assert_true(wait_for(link, LINK_GREETED, 20000));
    link_close(&link);
}

/* The server echoes what it does not know, refusals too. */
static void an_expelled_member_is_told_once_and_opens_a_new_socket(void **state)
{
    struct error error = {0};
    struct link *link = open_link(&known, server_key.public_key, 0, true);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    Farm__Refused refusal = FARM__REFUSED__INIT;
    refusal.kind = ERROR_DENIED;
    refusal.text = wire_text("no longer a member");
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_REFUSED;
    envelope.refused = &refusal;
    envelope.request = 7;
    assert_true(link_send(link, &envelope, NULL, 0, NULL));
    assert_true(wait_for(link, LINK_MESSAGE, 20000)); /* the answer to a question */
    assert_true(link_is_up(link));
    envelope.request = 0;
    assert_true(link_send(link, &envelope, NULL, 0, NULL));
    assert_true(wait_for_trouble(link, "no longer a member", &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    link_close(&link);
}

static void peers_without_curve_get_nothing(void **state)
{
    zsock_t *null_peer = zsock_new(ZMQ_DEALER), *plain_peer = zsock_new(ZMQ_DEALER);
    zsock_set_plain_username(plain_peer, "admin");
    zsock_set_plain_password(plain_peer, "admin");
    zsock_t *peers[] = {null_peer, plain_peer};
    Farm__Hello hello = FARM__HELLO__INIT;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    for (size_t i = 0; i < 2; i++) {
        zsock_set_linger(peers[i], 0);
        assert_int_equal(zsock_connect(peers[i], "tcp://127.0.0.1:%d", port), 0);
        assert_true(wire_send(peers[i], NULL, &envelope, NULL, 0, NULL));
    }
    /* Long enough for a key that is known to be greeted many times over. */
    struct link *link = open_link(&known, server_key.public_key, 0, true);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    wait_for(link, LINK_GREETED, 300);
    assert_int_equal(hellos, 1);
    for (size_t i = 0; i < 2; i++) {
        struct message got;
        assert_false(wire_receive(peers[i], WIRE_CONTROL_LIMIT, &got, NULL));
        zsock_destroy(&peers[i]);
    }
    link_close(&link);
}

static void a_frame_above_the_limit_ends_the_connection_not_the_server(void **state)
{
    struct link *link = open_link(&known, server_key.public_key, 0, true);
    assert_true(wait_for(link, LINK_GREETED, 20000));
    char *large = calloc(1, WIRE_CONTROL_LIMIT + 1);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    assert_true(link_send(link, &envelope, large, WIRE_CONTROL_LIMIT + 1, NULL));
    assert_true(wait_for(link, LINK_GREETED, 20000));
    assert_int_equal(hellos, 2);
    free(large);
    link_close(&link);
}

static void an_address_that_is_none_is_an_input_error(void **state)
{
    struct error error = {0};
    struct link_options options = {
        .address = "10.0.0.5",
        .server_key = server_key.public_key,
        .own = &known,
        .limit = WIRE_BULK_LIMIT,
        .send_high_water = 8,
    };
    assert_null(link_open(&options, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(
        error.text, "\"10.0.0.5\" is no address; one looks like tcp://10.0.0.5:7610");
}

int main(void)
{
#define SERVED(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        SERVED(a_known_key_is_greeted_and_its_messages_carry_it),
        SERVED(an_unknown_key_is_denied_and_says_so_then_gets_in_once_admitted),
        SERVED(a_forgotten_key_does_not_get_in_again),
        SERVED(a_wrong_server_key_is_told_from_an_unknown_own_key),
        SERVED(a_link_finds_the_server_that_starts_later_and_after_a_restart),
        SERVED(a_link_without_a_hello_reports_its_new_socket),
        SERVED(a_bulk_link_that_answered_nothing_is_waited_for_twice_as_long),
        SERVED(a_server_that_never_answers_is_left_for_a_new_socket),
        SERVED(a_refused_hello_is_the_trouble_and_is_said_again_later),
        SERVED(an_expelled_member_is_told_once_and_opens_a_new_socket),
        SERVED(peers_without_curve_get_nothing),
        SERVED(a_frame_above_the_limit_ends_the_connection_not_the_server),
        SERVED(an_address_that_is_none_is_an_input_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
