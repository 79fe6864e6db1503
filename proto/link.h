/* One CURVE connection to a coordinator, watched and reopened.
 *
 * A link owns a DEALER and its monitor. While nobody listens libzmq goes on trying by
 * itself; after a refusal or a lost connection the link says why (link_trouble) and opens
 * a new socket with back-off (0.2 to 30 s), so that every connection begins with a Hello.
 * It also reopens when nothing was heard for `silence_ms` though something was asked that
 * is always answered: a request number, Hello, Pulse, Offer, Want, Commit. A bulk link, which
 * may be slow, for longer where its answers take long, or never came.
 * What was queued in a closed socket is gone: whoever must not lose it sends it again after
 * LINK_GREETED (LINK_REOPENED on a bulk link).
 * A Refused that answers the Hello is kept as the trouble and tried again with back-off.
 */
#ifndef FARM_LINK_H
#define FARM_LINK_H

#include <czmq.h>

#include "proto/keys.h"
#include "proto/wire.h"

struct link_options {
    const char *address;       /* "tcp://10.0.0.5:7610" */
    const uint8_t *server_key; /* 32 bytes */
    const struct keypair *own;
    const Farm__Hello *hello; /* sent first on every new socket; NULL on bulk links */
    size_t limit;             /* WIRE_CONTROL_LIMIT or WIRE_BULK_LIMIT */
    int send_high_water;      /* messages queued before wire_send says busy */
    int64_t silence_ms;       /* of a quick link; 0: never reopen for silence */
};

struct link;

/* Copies what it needs of the options; connects in the background. ERROR_INPUT when the
 * address is none. Closing gives what is queued a second to leave. */
struct link *link_open(const struct link_options *options, struct error *error);
void link_close(struct link **self);

/* What a poller waits for: messages, and the monitor's events. Both change when the socket
 * is reopened: ask again after every link_step. */
zsock_t *link_socket(struct link *self);
zsock_t *link_monitor(struct link *self);

enum link_event {
    LINK_NOTHING, /* go on polling */
    LINK_MESSAGE, /* *into holds a message */
    LINK_GREETED, /* Welcome came (in *into): a new session; what was unanswered is gone */
    LINK_REOPENED, /* the socket was replaced (only links without a hello say so) */
};

/* Call when either socket is readable, and at least every link_patience ms; call again
 * until it returns LINK_NOTHING. */
enum link_event link_step(struct link *self, int64_t now_ms, struct message *into);
int link_patience(const struct link *self, int64_t now_ms);

/* Queues a message; ERROR_BUSY above the high-water mark, and while the link waits to open
 * its next socket. */
bool link_send(struct link *self, const Farm__Envelope *envelope, const void *payload,
               size_t size, struct error *error);

/* Whether the peer greeted since the socket was opened (a bulk link: finished the
 * handshake); and if not, why not, as one sentence and kind: ERROR_UNREACHABLE (nobody
 * listens, connection lost), ERROR_DENIED (key not allowed, or the server's key is
 * another), or the kind the Hello was refused with. false while nothing is known against
 * it. */
bool link_is_up(const struct link *self);
bool link_trouble(const struct link *self, struct error *error);

/* Whether nobody listened at the last try to connect. */
bool link_is_alone(const struct link *self);

#endif
