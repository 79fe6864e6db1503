/* The join handshake over a real CURVE socket; a thread plays the coordinator. */
#include "tests/test.h"

#include <string.h>

#include "base/clock.h"
#include "proto/gate.h"
#include "proto/join.h"
#include "proto/wire.h"

enum { PATIENCE_MS = 30000 };

static struct keypair server_key, join_key, own;
static struct gate *gate;
static zactor_t *server;
static struct token token;

/* Answers a Join whose proof holds by Joined, or, told so, by TokenUsed's sentence. */
static void serve(zsock_t *pipe, void *used)
{
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    int port = gate_guard(socket, &server_key, WIRE_CONTROL_LIMIT, NULL)
                   ? zsock_bind(socket, "tcp://127.0.0.1:*")
                   : -1;
    snprintf(token.address[0], sizeof token.address[0], "tcp://127.0.0.1:%d", port);
    zsock_signal(pipe, 0);
    zpoller_t *poller = zpoller_new(pipe, socket, NULL);
    while (zpoller_wait(poller, -1) == socket) {
        struct message got = {0};
        Farm__Joined joined = FARM__JOINED__INIT;
        joined.role = FARM__ROLE__ROLE_WORKER;
        joined.farm = wire_text("attic");
        joined.name = wire_text("node-2");
        Farm__Refused refused = FARM__REFUSED__INIT;
        refused.kind = ERROR_DENIED;
        refused.text = wire_text("this token was used");
        Farm__Envelope answer = FARM__ENVELOPE__INIT;
        if (wire_receive(socket, WIRE_CONTROL_LIMIT, &got, NULL) &&
            got.envelope->body_case == FARM__ENVELOPE__BODY_JOIN) {
            const Farm__Join *join = got.envelope->join;
            bool welcome = !used && join_verify(&server_key, join->public_key.data,
                                                join_key.public_key, join->nonce.data,
                                                join->proof.data, NULL);
            answer.request = got.envelope->request;
            answer.body_case =
                welcome ? FARM__ENVELOPE__BODY_JOINED : FARM__ENVELOPE__BODY_REFUSED;
            answer.joined = &joined;
            if (!welcome)
                answer.refused = &refused;
            wire_send(socket, got.peer, &answer, NULL, 0, NULL);
        }
        message_clear(&got);
    }
    zpoller_destroy(&poller);
    zsock_destroy(&socket);
}

static void start(bool used)
{
    static char yes[] = "used";
    server = zactor_new(serve, used ? yes : NULL);
    assert_non_null(server);
}

static int set_up(void **state)
{
    token = (struct token){.expires = clock_unix() + 100};
    assert_true(keypair_make(&server_key, NULL) && keypair_make(&join_key, NULL) &&
                keypair_make(&own, NULL));
    gate = gate_new((const uint8_t(*)[GATE_KEY])join_key.public_key, 1, NULL);
    assert_non_null(gate);
    memcpy(token.server_key, server_key.public_key, KEY_SIZE);
    memcpy(token.join_secret, join_key.secret_key, KEY_SIZE);
    return 0;
}

static int tear_down(void **state)
{
    zactor_destroy(&server);
    gate_destroy(&gate);
    return 0;
}

static void a_good_token_makes_a_member(void **state)
{
    struct joined joined;
    struct error error = {0};
    start(false);
    if (!join_farm(&token, &own, "node", &joined, PATIENCE_MS, &error))
        fail_msg("%s", error.text);
    assert_int_equal(joined.role, FARM__ROLE__ROLE_WORKER);
    assert_string_equal(joined.farm.name, "attic");
    assert_string_equal(joined.name, "node-2");
    assert_string_equal(joined.farm.address, token.address[0]);
}

static void the_address_that_answers_is_found(void **state)
{
    struct joined joined;
    start(false);
    memcpy(token.address[1], token.address[0], sizeof token.address[0]);
    strcpy(token.address[0], "tcp://127.0.0.1:1");
    assert_true(join_farm(&token, &own, "node", &joined, PATIENCE_MS, NULL));
    assert_string_equal(joined.farm.address, token.address[1]);
}

static void a_used_token_is_refused_in_the_farms_words(void **state)
{
    struct joined joined;
    struct error error = {0};
    start(true);
    assert_false(join_farm(&token, &own, "node", &joined, PATIENCE_MS, &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    assert_non_null(strstr(error.text, "this token was used"));
}

static void a_token_that_is_known_no_more_says_how_to_get_another(void **state)
{
    struct joined joined;
    struct error error = {0};
    start(false);
    gate_forget(gate, join_key.public_key);
    assert_false(join_farm(&token, &own, "node", &joined, PATIENCE_MS, &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    assert_non_null(strstr(error.text, "farmctl token new"));
}

static void an_expired_token_is_not_even_sent(void **state)
{
    struct joined joined;
    struct error error = {0};
    token.expires = clock_unix() - 120;
    strcpy(token.address[0], "tcp://127.0.0.1:1");
    assert_false(join_farm(&token, &own, "node", &joined, PATIENCE_MS, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "expired 2 minutes ago"));
}

static void nobody_there_is_said_so(void **state)
{
    struct joined joined;
    struct error error = {0};
    strcpy(token.address[0], "tcp://127.0.0.1:1");
    assert_false(join_farm(&token, &own, "node", &joined, PATIENCE_MS, &error));
    assert_int_equal(error.kind, ERROR_UNREACHABLE);
}

#define JOIN_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        JOIN_TEST(a_good_token_makes_a_member),
        JOIN_TEST(the_address_that_answers_is_found),
        JOIN_TEST(a_used_token_is_refused_in_the_farms_words),
        JOIN_TEST(a_token_that_is_known_no_more_says_how_to_get_another),
        JOIN_TEST(an_expired_token_is_not_even_sent),
        JOIN_TEST(nobody_there_is_said_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
