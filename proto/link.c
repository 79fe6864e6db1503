/* What the monitor tells, and what becomes of it
 *
 *   CONNECT_RETRIED          nobody listens; libzmq goes on trying
 *   HANDSHAKE_SUCCEEDED      up, for a link without a hello
 *   HANDSHAKE_FAILED_AUTH    the gate refused the key; this socket never connects again
 *   HANDSHAKE_FAILED_*       the server hung up: with a wrong server key it always does, a
 *                            dying one does once, so only the second in a row is blamed on
 *                            the key
 *   DISCONNECTED             afterwards: lost
 *
 * All but the first two end the socket; the next one is opened `back_off` ms later, twice
 * as long each time until a greeting resets it. The dead socket stays until then, so that
 * whoever polls it never holds a closed one.
 *
 * libzmq alone would reconnect a lost connection, but the new server would see messages
 * without a Hello. Opening a new socket keeps "Hello is first" true on every connection.
 */
#include "proto/link.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/log.h"

enum {
    BACK_OFF_LEAST_MS = 200,
    BACK_OFF_MOST_MS = 30000,
    RECONNECT_MOST_MS = 3000,
    CONNECT_MS = 5000,
    PATIENCE_MOST_MS = 60000,
    SILENCE_MOST_MS = 600000, /* of a slow bulk link */
    GAPS = 4, /* a bulk link may be silent for as long as so many answers took */
};

struct link {
    char *address;
    struct keypair own;
    uint8_t server_key[KEY_SIZE];
    uint8_t *hello; /* packed envelope, NULL on links without */
    size_t hello_size, limit;
    int send_high_water;
    int64_t silence_ms, silent_ms; /* at least; now: a bulk link may be slow */

    zsock_t *socket, *monitor;
    bool handshaken, greeted;
    bool alone;          /* nobody listened at the last try to connect */
    bool announce;       /* LINK_REOPENED is to be returned */
    unsigned unfinished; /* handshakes the server cut, in a row */
    bool asked;          /* something that is answered was sent... */
    int64_t asked_at;    /* ...then, 0: not looked at the clock yet */
    int64_t reopen_at;   /* 0: the socket is in use */
    int back_off;
    bool troubled;
    struct error trouble;
};

static bool has_failed(const struct link *self)
{
    return self->reopen_at != 0;
}

static void set_trouble(struct link *self, enum error_kind kind, const char *what)
{
    self->troubled = true;
    error_set_kind(&self->trouble, kind, "%s: %s", self->address, what);
}

static void fail(struct link *self, int64_t now_ms, enum error_kind kind,
                 const char *what)
{
    set_trouble(self, kind, what);
    self->handshaken = self->greeted = self->asked = false;
    self->reopen_at = now_ms + self->back_off;
    self->back_off *= 2;
    if (self->back_off > BACK_OFF_MOST_MS)
        self->back_off = BACK_OFF_MOST_MS;
}

static void close_pair(zsock_t **socket, zsock_t **monitor, int linger_ms)
{
    if (*socket) {
        zmq_socket_monitor(zsock_resolve(*socket), NULL, 0);
        zsock_set_linger(*socket, linger_ms);
    }
    zsock_destroy(monitor);
    zsock_destroy(socket);
}

static void set_options(const struct link *self, zsock_t *socket)
{
    zsock_set_curve_serverkey_bin(socket, self->server_key);
    zsock_set_curve_publickey_bin(socket, self->own.public_key);
    zsock_set_curve_secretkey_bin(socket, self->own.secret_key);
    zsock_set_linger(socket, 0);
    zsock_set_sndhwm(socket, self->send_high_water);
    zsock_set_maxmsgsize(socket, (int)self->limit);
    zsock_set_handshake_ivl(socket, CONNECT_MS);
    zsock_set_connect_timeout(socket, CONNECT_MS);
    zsock_set_reconnect_ivl(socket, BACK_OFF_LEAST_MS);
    zsock_set_reconnect_ivl_max(socket, RECONNECT_MOST_MS);
    zsock_set_heartbeat_ivl(socket, 5000);
    /* a sign of life comes between two frames, not amid one */
    zsock_set_heartbeat_timeout(socket, self->hello ? 15000 : 60000);
    zsock_set_ipv6(socket, 1);
}

/* A PAIR that hears what happens to the socket. Its name lives in this process, some moments
 * longer than a link that is closed: no other may have it. */
static zsock_t *open_monitor(zsock_t *socket)
{
    char name[80];
    uint64_t unique;
    randombytes_buf(&unique, sizeof unique);
    snprintf(name, sizeof name, "inproc://link-%016" PRIx64, unique);
    if (zmq_socket_monitor(zsock_resolve(socket), name,
                           ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) != 0)
        return NULL;
    zsock_t *monitor = zsock_new(ZMQ_PAIR);
    if (monitor && zsock_connect(monitor, "%s", name) != 0)
        zsock_destroy(&monitor);
    return monitor;
}

/* Replaces the sockets by new ones, or leaves all as it is. */
static bool open_sockets(struct link *self, struct error *error)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER), *monitor = NULL;
    if (socket) {
        set_options(self, socket);
        monitor = open_monitor(socket);
    }
    if (!monitor) {
        error_set(error, "%s: no socket: %s", self->address, zmq_strerror(errno));
        close_pair(&socket, &monitor, 0);
        return false;
    }
    if (zsock_connect(socket, "%s", self->address) != 0) {
        error_set_kind(error, ERROR_INPUT,
                       "\"%s\" is no address; one looks like tcp://10.0.0.5:7610",
                       self->address);
        close_pair(&socket, &monitor, 0);
        return false;
    }
    close_pair(&self->socket, &self->monitor, 0);
    self->socket = socket;
    self->monitor = monitor;
    self->reopen_at = 0;
    if (self->hello) {
        zframe_t *hello = zframe_new(self->hello, self->hello_size);
        zframe_send(&hello, socket, ZFRAME_DONTWAIT);
        self->asked = true;
        self->asked_at = 0;
    }
    return true;
}

static void pack_hello(struct link *self, const Farm__Hello *hello)
{
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_HELLO;
    envelope.hello = (Farm__Hello *)(uintptr_t)hello; /* packing only reads */
    self->hello_size = farm__envelope__get_packed_size(&envelope);
    self->hello = malloc(self->hello_size);
    if (!self->hello)
        abort();
    farm__envelope__pack(&envelope, self->hello);
}

struct link *link_open(const struct link_options *options, struct error *error)
{
    struct link *self = calloc(1, sizeof *self);
    if (!self || !(self->address = strdup(options->address)))
        abort();
    keypair_from_secret(&self->own, options->own->secret_key);
    memcpy(self->server_key, options->server_key, KEY_SIZE);
    self->limit = options->limit;
    self->send_high_water = options->send_high_water;
    self->silence_ms = self->silent_ms = options->silence_ms;
    self->back_off = BACK_OFF_LEAST_MS;
    if (options->hello)
        pack_hello(self, options->hello);
    if (!open_sockets(self, error))
        link_close(&self);
    return self;
}

void link_close(struct link **self_p)
{
    struct link *self = *self_p;
    if (!self)
        return;
    close_pair(&self->socket, &self->monitor, 1000);
    keypair_wipe(&self->own);
    free(self->hello);
    free(self->address);
    free(self);
    *self_p = NULL;
}

zsock_t *link_socket(struct link *self)
{
    return self->socket;
}

zsock_t *link_monitor(struct link *self)
{
    return self->monitor;
}

static void take_event(struct link *self, int64_t now_ms, uint16_t event,
                       uint32_t value)
{
    self->alone = event == ZMQ_EVENT_CONNECT_RETRIED;
    switch (event) {
    case ZMQ_EVENT_CONNECT_RETRIED:
        set_trouble(self, ERROR_UNREACHABLE,
                    "nobody listens there; is farm-coordinator running?");
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        self->handshaken = true;
        self->unfinished = 0;
        if (!self->hello) {
            self->troubled = false;
            self->back_off = BACK_OFF_LEAST_MS;
        }
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        fail(self, now_ms, ERROR_DENIED,
             "the farm does not know this key, or it was revoked; join again with a "
             "token");
        break;
    case ZMQ_EVENT_DISCONNECTED:
        fail(self, now_ms, ERROR_UNREACHABLE, "the connection was lost");
        break;
    default: /* HANDSHAKE_FAILED_NO_DETAIL, _PROTOCOL */
        if (value == ETIMEDOUT)
            fail(
                self, now_ms, ERROR_UNREACHABLE,
                "somebody listens there but does not greet; is it a farm-coordinator?");
        else if (++self->unfinished < 2)
            fail(self, now_ms, ERROR_UNREACHABLE, "the connection was cut at once");
        else
            fail(self, now_ms, ERROR_DENIED,
                 "the farm there has another key than the one known here, or it is no "
                 "farm; join again with a token");
    }
}

/* Events of a socket that has failed already say nothing new. */
static void drain_monitor(struct link *self, int64_t now_ms)
{
    void *handle = zsock_resolve(self->monitor);
    for (;;) {
        struct {
            uint16_t event;
            uint32_t value;
        } __attribute__((packed)) told;
        int got = zmq_recv(handle, &told, sizeof told, ZMQ_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return;
        char address[256];
        zmq_recv(handle, address, sizeof address, ZMQ_DONTWAIT);
        if (got == sizeof told && !has_failed(self))
            take_event(self, now_ms, told.event, told.value);
    }
}

/* What a slow link carries takes it long, and is lost when it is reopened: it would never
 * arrive. So a bulk link's limit follows what its answers took, and doubles whenever none
 * came. */
static void set_silence(struct link *self, int64_t limit_ms)
{
    if (self->hello)
        return;
    limit_ms = limit_ms < SILENCE_MOST_MS ? limit_ms : SILENCE_MOST_MS;
    self->silent_ms = limit_ms > self->silence_ms ? limit_ms : self->silence_ms;
}

static void watch_clock(struct link *self, int64_t now_ms)
{
    if (self->asked && !self->asked_at)
        self->asked_at = now_ms;
    if (self->silence_ms && self->handshaken && self->asked &&
        now_ms - self->asked_at >= self->silent_ms) {
        set_silence(self, 2 * self->silent_ms);
        fail(self, now_ms, ERROR_UNREACHABLE, "connected, but nothing was answered");
    }
    if (has_failed(self) && now_ms >= self->reopen_at) {
        struct error error;
        if (open_sockets(self, &error))
            self->announce = !self->hello;
        else
            fail(self, now_ms, error.kind, error.text);
    }
}

/* A refusal that answers no question of ours comes when the key was revoked: only a new
 * handshake can tell more. */
static bool is_expelled(const struct link *self, const Farm__Envelope *envelope)
{
    return self->greeted && !envelope->request &&
           envelope->body_case == FARM__ENVELOPE__BODY_REFUSED &&
           envelope->refused->kind == ERROR_DENIED;
}

/* A message on a link that is not greeted yet: Welcome greets, Refused ends the socket. */
static enum link_event greet(struct link *self, int64_t now_ms, struct message *into)
{
    if (into->envelope->body_case == FARM__ENVELOPE__BODY_WELCOME) {
        self->greeted = true;
        self->alone = self->troubled = false;
        self->back_off = BACK_OFF_LEAST_MS;
        return LINK_GREETED;
    }
    if (into->envelope->body_case == FARM__ENVELOPE__BODY_REFUSED) {
        char *why = wire_string(into->envelope->refused->text);
        uint32_t kind = into->envelope->refused->kind;
        fail(self, now_ms, kind <= ERROR_DEVICE ? (enum error_kind)kind : ERROR_FAILED,
             why);
        free(why);
        message_clear(into);
        return LINK_NOTHING;
    }
    return LINK_MESSAGE;
}

enum link_event link_step(struct link *self, int64_t now_ms, struct message *into)
{
    *into = (struct message){0};
    drain_monitor(self, now_ms);
    watch_clock(self, now_ms);
    if (self->announce) {
        self->announce = false;
        return LINK_REOPENED;
    }
    struct error error;
    while (!has_failed(self)) {
        if (wire_receive(self->socket, self->limit, into, &error)) {
            if (self->asked_at)
                set_silence(self, GAPS * (now_ms - self->asked_at));
            self->asked = false;
            self->asked_at = 0;
            if (is_expelled(self, into->envelope))
                self->greeted = false;
            return self->hello && !self->greeted ? greet(self, now_ms, into)
                                                 : LINK_MESSAGE;
        }
        message_clear(into);
        if (error.kind != ERROR_INPUT)
            break;
        log_warn("%s: %s", self->address, error.text);
    }
    return LINK_NOTHING;
}

int link_patience(const struct link *self, int64_t now_ms)
{
    int64_t left = PATIENCE_MOST_MS;
    if (has_failed(self))
        left = self->reopen_at - now_ms;
    else if (self->silence_ms && self->asked)
        left = self->asked_at ? self->asked_at + self->silent_ms - now_ms
                              : self->silent_ms;
    return left < 0 ? 0 : left > PATIENCE_MOST_MS ? PATIENCE_MOST_MS : (int)left;
}

static bool is_answered(const Farm__Envelope *envelope)
{
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_PULSE:
    case FARM__ENVELOPE__BODY_OFFER:
    case FARM__ENVELOPE__BODY_WANT:
    case FARM__ENVELOPE__BODY_COMMIT:
        return true;
    default:
        return envelope->request != 0;
    }
}

bool link_send(struct link *self, const Farm__Envelope *envelope, const void *payload,
               size_t size, struct error *error)
{
    if (has_failed(self))
        return error_set_kind(error, ERROR_BUSY, "%s: not connected", self->address);
    if (!wire_send(self->socket, NULL, envelope, payload, size, error))
        return false;
    if (is_answered(envelope) && !self->asked) {
        self->asked = true;
        self->asked_at = 0;
    }
    return true;
}

bool link_is_up(const struct link *self)
{
    return self->hello ? self->greeted : self->handshaken;
}

bool link_is_alone(const struct link *self)
{
    return self->alone;
}

bool link_trouble(const struct link *self, struct error *error)
{
    if (!self->troubled || link_is_up(self))
        return false;
    if (error)
        *error = self->trouble;
    return true;
}
