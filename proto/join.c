/* How one joins
 *
 * The token's key opens a connection on which the server takes a Join and nothing else. The
 * Join names the new key and proves that its secret half is ours: a box from the new key to
 * the server's over the token's public key, which nobody can make for a key not their own,
 * nor replay for another token. The server answers Joined or Refused; a connection lost in
 * between only means asking again, because the same Join gets the same answer.
 */
#include "proto/join.h"

#include "base/clock.h"
#include "proto/link.h"

struct joining {
    const struct token *token;
    const struct keypair *own;
    const char *name;
    struct keypair key; /* the token's */
    struct joined *out;
};

static bool send_join(const struct joining *self, struct link *link,
                      struct error *error)
{
    uint8_t nonce[JOIN_NONCE], proof[JOIN_PROOF];
    if (!join_prove(self->own, self->token->server_key, self->key.public_key, nonce,
                    proof, error))
        return false;

    Farm__Join join = FARM__JOIN__INIT;
    join.public_key = wire_bytes(self->own->public_key, KEY_SIZE);
    join.name = wire_text(self->name);
    join.proof = wire_bytes(proof, sizeof proof);
    join.nonce = wire_bytes(nonce, sizeof nonce);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = 1;
    envelope.body_case = FARM__ENVELOPE__BODY_JOIN;
    envelope.join = &join;
    return link_send(link, &envelope, NULL, 0, error);
}

static void copy_text(char *into, size_t size, ProtobufCBinaryData field)
{
    char *text = wire_string(field);
    snprintf(into, size, "%s", text);
    free(text);
}

/* Takes the answer: 1 joined, 0 something else came, -1 refused. */
static int take_answer(const struct joining *self, const char *address,
                       const Farm__Envelope *envelope, struct error *error)
{
    if (envelope->body_case == FARM__ENVELOPE__BODY_REFUSED) {
        char *text = wire_string(envelope->refused->text);
        error_set_kind(error, (enum error_kind)envelope->refused->kind, "%s", text);
        free(text);
        return -1;
    }
    if (envelope->body_case != FARM__ENVELOPE__BODY_JOINED)
        return 0;
    struct joined *out = self->out;
    out->role = envelope->joined->role;
    copy_text(out->farm.name, sizeof out->farm.name, envelope->joined->farm);
    copy_text(out->name, sizeof out->name, envelope->joined->name);
    snprintf(out->farm.address, sizeof out->farm.address, "%s", address);
    memcpy(out->farm.server_key, self->token->server_key, KEY_SIZE);
    ProtobufCBinaryData signing = envelope->joined->signing_key;
    farm_learn_key(&out->farm, signing.data, signing.len, NULL);
    return 1;
}

/* Waits until one of the link's sockets is readable, or `until`. */
static void wait_link(struct link *link, int64_t until)
{
    int64_t now = clock_ms();
    int64_t patience = link_patience(link, now);
    if (patience < 0 || patience > until - now)
        patience = until - now;
    zmq_pollitem_t items[] = {
        {zsock_resolve(link_socket(link)), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(link_monitor(link)), 0, ZMQ_POLLIN, 0},
    };
    zmq_poll(items, 2, patience > 0 ? patience : 0);
}

/* As take_answer; 0: this address does not answer, *error says why. */
static int join_at(const struct joining *self, const char *address, int64_t until,
                   struct error *error)
{
    struct link_options options = {
        .address = address,
        .server_key = self->token->server_key,
        .own = &self->key,
        .limit = WIRE_CONTROL_LIMIT,
        .send_high_water = 8,
    };
    struct message message = {0};
    struct link *link = link_open(&options, error);
    int answer = link && send_join(self, link, error) ? 0 : -1;
    bool silent = false;
    while (answer == 0 && !silent) {
        wait_link(link, until);
        enum link_event event;
        while (answer == 0 && (event = link_step(link, clock_ms(), &message))) {
            if (event == LINK_MESSAGE)
                answer = take_answer(self, address, message.envelope, error);
            else if (event == LINK_REOPENED && !send_join(self, link, error))
                answer = -1;
            message_clear(&message);
        }
        if (answer == 0 && link_trouble(link, error)) {
            silent = true;
        } else if (answer == 0 && clock_ms() >= until) {
            error_set_kind(error, ERROR_UNREACHABLE, "%s: no answer", address);
            silent = true;
        }
    }
    link_close(&link);
    return answer;
}

static bool still_valid(const struct token *token, struct error *error)
{
    if (clock_unix() < token->expires)
        return true;
    return error_set_kind(error, ERROR_INPUT,
                          "this token expired %lld minutes ago; ask for another "
                          "(farmctl token new)",
                          (long long)(clock_unix() - token->expires) / 60);
}

bool join_farm(const struct token *token, const struct keypair *own, const char *name,
               struct joined *out, int timeout_ms, struct error *error)
{
    if (!still_valid(token, error))
        return false;
    struct joining self = {.token = token, .own = own, .name = name, .out = out};
    keypair_from_secret(&self.key, token->join_secret);
    *out = (struct joined){0};
    error_set_kind(error, ERROR_INPUT, "the token names no address");

    size_t left = 0;
    while (left < TOKEN_ADDRESSES && token->address[left][0])
        left++;
    int64_t until = clock_ms() + timeout_ms;
    int answer = 0;
    struct error denied = {0};
    for (size_t i = 0; left && answer == 0; i++, left--) {
        int64_t now = clock_ms();
        answer = join_at(&self, token->address[i], now + (until - now) / (int64_t)left,
                         error);
        if (answer == 0 && error && error->kind == ERROR_DENIED)
            denied = *error;
    }
    keypair_wipe(&self.key);
    if (answer == 0 && denied.text[0]) /* says more than that another did not answer */
        error_set_kind(error, ERROR_DENIED,
                       "%s; a token is good for one join until it expires: ask for "
                       "another (farmctl token new)",
                       denied.text);
    return answer == 1;
}
