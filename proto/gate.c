/* ZAP (ZeroMQ RFC 27) in short: for each handshake libzmq sends a request to
 * inproc://zeromq.zap.01
 *
 *   version "1.0" | request id | domain | address | routing id | mechanism | CURVE: key
 *
 * and waits for
 *
 *   version | request id | status | text | user id | metadata
 *
 * Status 200 admits. Of the refusals only 400 tells the client why: after 300 it sees no
 * event at all. The user id then stands in every message of the connection.
 *
 * There is one such address per context, so there can be one gate per process.
 */
#include "proto/gate.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define GATE_ENDPOINT "inproc://zeromq.zap.01"
#define GATE_DOMAIN   "clfarm"

/* libzmq has it, Debian's zmq.h hides it among the drafts. */
enum { ZAP_ENFORCE_DOMAIN = 93 };

enum { TOLD_MS = 10000, GATE_HANDSHAKE_MS = 5000, GATE_ADMIT = 'A', GATE_FORGET = 'F' };

struct gate {
    zactor_t *actor;
};

/* What the actor's thread owns. */
struct doorkeeper {
    zsock_t *requests;
    zhashx_t *admitted; /* Z85 text of a key -> itself */
    unsigned refused;   /* since `told` */
    int64_t told;
};

static void learn(zhashx_t *admitted, const uint8_t key[GATE_KEY])
{
    char text[KEY_TEXT];
    key_format(key, text);
    zhashx_update(admitted, text, text);
}

static bool frame_is(zframe_t *frame, const char *text)
{
    return frame && zframe_streq(frame, text);
}

/* The key's Z85 text when this request may pass. */
static bool judge(struct doorkeeper *self, zmsg_t *request, char key[KEY_TEXT])
{
    zframe_t *part[7] = {zmsg_first(request)};
    for (size_t i = 1; i < 7 && part[i - 1]; i++)
        part[i] = zmsg_next(request);
    if (zmsg_size(request) != 7 || !frame_is(part[0], "1.0") ||
        !frame_is(part[2], GATE_DOMAIN) || !frame_is(part[5], "CURVE") ||
        zframe_size(part[6]) != GATE_KEY)
        return false;
    key_format(zframe_data(part[6]), key);
    return zhashx_lookup(self->admitted, key) != NULL;
}

/* A line now and then: whoever knocks must not fill the log. */
static void note_refusal(struct doorkeeper *self, zmsg_t *request)
{
    int64_t now = clock_ms();
    self->refused++;
    if (self->told && now - self->told < TOLD_MS)
        return;
    zmsg_first(request);
    zmsg_next(request);
    zmsg_next(request);
    zframe_t *address = zmsg_next(request);
    log_warn("the gate refused %u connections, the last from %.*s", self->refused,
             address ? (int)zframe_size(address) : 0,
             address ? (const char *)zframe_data(address) : "");
    self->told = now;
    self->refused = 0;
}

static void answer(struct doorkeeper *self)
{
    zmsg_t *request = zmsg_recv(self->requests);
    if (!request)
        return;
    char key[KEY_TEXT] = "";
    bool admitted = judge(self, request, key);
    if (!admitted)
        note_refusal(self, request);
    zmsg_first(request);
    zframe_t *id = zmsg_next(request);
    zmsg_t *reply = zmsg_new();
    zmsg_addstr(reply, "1.0");
    zmsg_addmem(reply, id ? zframe_data(id) : NULL, id ? zframe_size(id) : 0);
    zmsg_addstr(reply, admitted ? "200" : "400");
    zmsg_addstr(reply, admitted ? "" : "this key is not allowed");
    zmsg_addstr(reply, admitted ? key : "");
    zmsg_addmem(reply, "", 0);
    zmsg_send(&reply, self->requests);
    zmsg_destroy(&request);
}

/* One command from the owner; false when it says to end. */
static bool obey(struct doorkeeper *self, zsock_t *pipe)
{
    zframe_t *command = zframe_recv(pipe);
    if (!command)
        return true;
    bool go_on = zframe_size(command) == 1 + GATE_KEY;
    if (go_on) {
        const uint8_t *data = zframe_data(command);
        char text[KEY_TEXT];
        key_format(data + 1, text);
        if (data[0] == GATE_ADMIT)
            learn(self->admitted, data + 1);
        else
            zhashx_delete(self->admitted, text);
        zsock_signal(pipe, 0);
    }
    zframe_destroy(&command);
    return go_on;
}

static void gate_actor(zsock_t *pipe, void *argument)
{
    struct doorkeeper *self = argument;
    zsock_signal(pipe, 0);
    zmq_pollitem_t items[] = {{zsock_resolve(pipe), 0, ZMQ_POLLIN, 0},
                              {zsock_resolve(self->requests), 0, ZMQ_POLLIN, 0}};
    bool go_on = true;
    while (go_on) {
        if (zmq_poll(items, 2, -1) < 0 && errno != EINTR)
            break;
        if (items[1].revents & ZMQ_POLLIN)
            answer(self);
        if (items[0].revents & ZMQ_POLLIN)
            go_on = obey(self, pipe);
    }
    zsock_destroy(&self->requests);
    zhashx_destroy(&self->admitted);
    free(self);
}

/* libzmq gives an inproc name back some moments after its socket was closed. */
static zsock_t *bind_requests(void)
{
    zsock_t *requests = zsock_new(ZMQ_REP);
    int64_t until = clock_ms() + 1000;
    while (requests && zsock_bind(requests, GATE_ENDPOINT) < 0) {
        if (errno != EADDRINUSE || clock_ms() > until)
            zsock_destroy(&requests);
        else
            zclock_sleep(5);
    }
    return requests;
}

struct gate *gate_new(const uint8_t (*keys)[GATE_KEY], size_t count,
                      struct error *error)
{
    zsock_t *requests = bind_requests();
    if (!requests) {
        error_set(error, "the gate cannot take %s: %s", GATE_ENDPOINT,
                  zmq_strerror(errno));
        return NULL;
    }
    struct gate *self = calloc(1, sizeof *self);
    struct doorkeeper *keeper = calloc(1, sizeof *keeper);
    zhashx_t *admitted = zhashx_new();
    if (!self || !keeper || !admitted)
        abort();
    zhashx_set_duplicator(admitted, (zhashx_duplicator_fn *)strdup);
    zhashx_set_destructor(admitted, (zhashx_destructor_fn *)zstr_free);
    *keeper = (struct doorkeeper){.requests = requests, .admitted = admitted};
    for (size_t i = 0; i < count; i++)
        learn(admitted, keys[i]);
    self->actor = zactor_new(gate_actor, keeper);
    if (!self->actor)
        abort();
    return self;
}

void gate_destroy(struct gate **self_p)
{
    if (!*self_p)
        return;
    zactor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}

static void command(struct gate *self, uint8_t what, const uint8_t key[GATE_KEY])
{
    uint8_t bytes[1 + GATE_KEY] = {what};
    memcpy(bytes + 1, key, GATE_KEY);
    zframe_t *frame = zframe_new(bytes, sizeof bytes);
    while (zframe_send(&frame, self->actor, 0) < 0 && errno == EINTR)
        ;
    while (zsock_wait(self->actor) < 0 && errno == EINTR)
        ;
}

void gate_admit(struct gate *self, const uint8_t key[GATE_KEY])
{
    command(self, GATE_ADMIT, key);
}

void gate_forget(struct gate *self, const uint8_t key[GATE_KEY])
{
    command(self, GATE_FORGET, key);
}

static bool set_number(void *handle, int option, const char *name, int value,
                       struct error *error)
{
    int found = 0;
    size_t size = sizeof found;
    if (zmq_setsockopt(handle, option, &value, sizeof value) == 0 &&
        zmq_getsockopt(handle, option, &found, &size) == 0 && found == value)
        return true;
    return error_set(error,
                     "libzmq does not take %s = %d; it must not be used unguarded",
                     name, value);
}

bool gate_guard(zsock_t *socket, const struct keypair *server, size_t limit,
                struct error *error)
{
    void *handle = zsock_resolve(socket);
    int64_t most = (int64_t)limit;
    int mandatory = 1;
    if (zmq_setsockopt(handle, ZMQ_CURVE_SECRETKEY, server->secret_key, KEY_SIZE) != 0)
        return error_set(error, "libzmq does not take the server key: %s",
                         zmq_strerror(errno));
    if (!set_number(handle, ZMQ_CURVE_SERVER, "CURVE_SERVER", 1, error))
        return false;
    if (zmq_setsockopt(handle, ZMQ_ZAP_DOMAIN, GATE_DOMAIN, strlen(GATE_DOMAIN)) != 0 ||
        zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &most, sizeof most) != 0)
        return error_set(error, "libzmq does not take the domain or the limit: %s",
                         zmq_strerror(errno));
    if (zsock_type(socket) == ZMQ_ROUTER &&
        zmq_setsockopt(handle, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory) != 0)
        return error_set(error, "libzmq does not take ROUTER_MANDATORY: %s",
                         zmq_strerror(errno));
    return set_number(handle, ZAP_ENFORCE_DOMAIN, "ZAP_ENFORCE_DOMAIN", 1, error) &&
           set_number(handle, ZMQ_HANDSHAKE_IVL, "HANDSHAKE_IVL", GATE_HANDSHAKE_MS,
                      error) &&
           set_number(handle, ZMQ_HEARTBEAT_IVL, "HEARTBEAT_IVL", 5000, error) &&
           set_number(handle, ZMQ_HEARTBEAT_TIMEOUT, "HEARTBEAT_TIMEOUT", 15000,
                      error) &&
           set_number(handle, ZMQ_LINGER, "LINGER", 0, error);
}
