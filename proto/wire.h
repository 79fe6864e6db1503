/* Frames <-> messages.
 *
 * A message is one protobuf Envelope frame and at most one payload frame. Reading checks
 * sizes, unpacks through an allocator with a cap, and checks every text field for UTF-8
 * and zeros, so that code behind it can trust form, if not content.
 */
#ifndef FARM_WIRE_H
#define FARM_WIRE_H

#include <czmq.h>

#include "base/error.h"
#include "proto/farm.pb-c.h"

enum {
    WIRE_VERSION = 1,
    WIRE_CONTROL_LIMIT = 1 << 20,     /* bytes of a control message */
    WIRE_BULK_LIMIT = 320 << 10,      /* bytes of a bulk message */
    WIRE_CHECKPOINT_LIMIT = 64 << 20, /* bytes of a picture half way */
    WIRE_PREVIEW_LIMIT = 64 << 10,    /* bytes of a preview */
    WIRE_UNPACK_LIMIT = 8 << 20,      /* heap bytes one unpacked envelope may take */
};

struct message {
    Farm__Envelope *envelope; /* never NULL in a message that was read */
    zframe_t *payload;        /* NULL when there is none */
    zframe_t *peer;           /* routing id when read from a ROUTER, else NULL */
    uint8_t key[32];  /* who sent it: authenticated CURVE key; zeros on a DEALER */
    char address[48]; /* the IP address it came from, on a ROUTER; else "" */
};

void message_clear(struct message *self);

/* Reads one message from a DEALER or ROUTER (the routing id and the User-Id the gate gave
 * are taken off a ROUTER's). Never blocks: ERROR_BUSY when none waits. false with
 * ERROR_INPUT when what came is no message of ours; peer and key are then filled
 * nevertheless, so that it can be refused. What *into held is overwritten, not freed;
 * message_clear it afterwards either way. */
bool wire_receive(zsock_t *socket, size_t limit, struct message *into,
                  struct error *error);

/* One envelope from its bytes, checked: what wire_receive does to the first frame. Form is
 * then sure: every required sub-message is there, ids and keys have their length, enums
 * are known values. farm__envelope__free_unpacked(it, NULL) frees it. */
Farm__Envelope *wire_unpack(const void *data, size_t size, struct error *error);

/* Sends without ever blocking. `peer` NULL on a DEALER (borrowed otherwise). `payload` may
 * be NULL; it is copied. ERROR_BUSY when the peer's queue is full, ERROR_UNREACHABLE when
 * a ROUTER does not know the peer. */
bool wire_send(zsock_t *socket, zframe_t *peer, const Farm__Envelope *envelope,
               const void *payload, size_t size, struct error *error);

/* The same for an envelope that was packed before, without payload. */
bool wire_send_packed(zsock_t *socket, zframe_t *peer, const void *packed, size_t size,
                      struct error *error);

/* The name of a body for logs: "submit"; "nothing" for none. */
const char *wire_name(Farm__Envelope__BodyCase body);

/* bytes fields: a borrowed C string as one (NULL: empty); borrowed bytes as one; a field as
 * a heap C string ("" when empty); whether a field is exactly `size` bytes, and these where
 * `data` is not NULL. */
ProtobufCBinaryData wire_text(const char *text);
ProtobufCBinaryData wire_bytes(const void *data, size_t size);
char *wire_string(ProtobufCBinaryData field);
bool wire_is(ProtobufCBinaryData field, const void *data, size_t size);

/* A field of one's own, on the heap, with a zero behind it that does not count. Without
 * memory the process ends, here and below. */
ProtobufCBinaryData wire_own(ProtobufCBinaryData field);

/* A message's packed form, on the heap; and a deep copy of a message, which its
 * free_unpacked ends. */
uint8_t *wire_pack(const ProtobufCMessage *message, size_t *size);
void *wire_copy(const ProtobufCMessage *message);

#endif
