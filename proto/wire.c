/* How a message is checked
 *
 * Every text is a `bytes` field, so that protobuf-c neither trusts nor truncates it. After
 * unpacking, one walk over the descriptors looks at every field:
 *
 *   bytes      UTF-8 without zeros; or, when `rules` names the field, so many bytes exactly
 *              (or any number)
 *   message    must be there unless `rules` says it may be missing
 *   enum       must be a value the schema knows
 *   double     must be finite
 *
 * A new field is therefore text and a new sub-message is required until a row says
 * otherwise. The schema has no recursive type, so the walk's depth is the schema's.
 */
#include "proto/wire.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/keys.h"
#include "proto/signing.h"

struct rule {
    const ProtobufCMessageDescriptor *message;
    const char *field;
    size_t size; /* of a binary field */
    bool optional;
};

/* A binary field of any size. */
#define ANY_SIZE SIZE_MAX

static const struct rule rules[] = {
    {&farm__hello__descriptor, "instance", 16, false},
    {&farm__hello__descriptor, "device", 0, true},
    {&farm__join__descriptor, "public_key", 32, false},
    {&farm__join__descriptor, "proof", JOIN_PROOF, false},
    {&farm__join__descriptor, "nonce", JOIN_NONCE, false},
    {&farm__welcome__descriptor, "signing_key", SIGNING_KEY, true},
    {&farm__joined__descriptor, "signing_key", SIGNING_KEY, true},
    {&farm__manifest__descriptor, "signature", SIGNING_SIGNATURE, true},
    {&farm__attempt__descriptor, "job", 16, false},
    {&farm__attempt__descriptor, "key", 32, false},
    {&farm__attempt__descriptor, "model", 32, false},
    {&farm__attempt__descriptor, "inputs", 32, false},
    {&farm__attempt__descriptor, "checkpoint", 0, true},
    {&farm__checkpoint__descriptor, "blob", 32, true},
    {&farm__ready__descriptor, "models", 32, false},
    {&farm__result__descriptor, "png", 32, false},
    {&farm__result__descriptor, "latents", 32, true},
    {&farm__result__descriptor, "pixels", 32, false},
    {&farm__commit__descriptor, "job", 16, false},
    {&farm__commit__descriptor, "key", 32, false},
    {&farm__submit__descriptor, "id", 16, false},
    {&farm__accepted__descriptor, "job", 16, false},
    {&farm__job_summary__descriptor, "job", 16, false},
    {&farm__task_row__descriptor, "result", 0, true},
    {&farm__log_line__descriptor, "job", 16, false},
    {&farm__disk_use__descriptor, "id", ANY_SIZE, false},
    {&farm__job__descriptor, "deny_list", 32, true},
    {&farm__tuning__descriptor, "identity", 16, false},
    {&farm__tuned__descriptor, "identity", 16, true},
    {&farm__node__descriptor, "device", 0, true},
    {&farm__node__descriptor, "key", 32, true},
    {&farm__model_file__descriptor, "blob", 32, false},
    {&farm__model_file__descriptor, "sha256", 32, false},
    {&farm__model_file__descriptor, "pieces", 32, false},
    {&farm__model_info__descriptor, "id", 32, false},
    {&farm__model_state__descriptor, "id", 32, false},
    {&farm__model_state__descriptor, "missing", 32, false},
    {&farm__model_get__descriptor, "id", 32, false},
    {&farm__key__descriptor, "public_key", 32, false},
    {&farm__have__descriptor, "model", 32, false},
    {&farm__have__descriptor, "pieces", ANY_SIZE, true},
    {&farm__have__descriptor, "bad", 32, false},
    {&farm__source__descriptor, "key", 32, false},
    {&farm__source__descriptor, "pieces", ANY_SIZE, true},
    {&farm__peers__descriptor, "model", 32, false},
    {&farm__peers__descriptor, "seeds", ANY_SIZE, true},
    {&farm__grant__descriptor, "key", 32, false},
    {&farm__grant__descriptor, "model", 32, false},
    {&farm__grant_end__descriptor, "key", 32, false},
    {&farm__watch__descriptor, "job", 16, true},
    {&farm__event__descriptor, "job", 16, true},
    {&farm__event__descriptor, "summary", 0, true},
    {&farm__event__descriptor, "task", 0, true},
    {&farm__event__descriptor, "node", 0, true},
    {&farm__event__descriptor, "preview", 0, true},
    {&farm__preview__descriptor, "png", ANY_SIZE, false},
    {&farm__offer__descriptor, "blob", 32, false},
    {&farm__want__descriptor, "blob", 32, false},
    {&farm__chunk__descriptor, "blob", 32, false},
    {&farm__stored__descriptor, "blob", 32, false},
};

static const struct rule *rule_for(const ProtobufCMessageDescriptor *message,
                                   const char *field)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].message == message && strcmp(rules[i].field, field) == 0)
            return &rules[i];
    return NULL;
}

/* Strict: no overlong forms, no surrogates, nothing above U+10FFFF, no zero. */
static bool is_text(const uint8_t *at, size_t size)
{
    const uint8_t *end = size ? at + size : at; /* an empty field has no data */
    while (at < end) {
        uint8_t first = *at++;
        if (first == 0 || (first >= 0x80 && first < 0xc2) || first > 0xf4)
            return false;
        if (first < 0x80)
            continue;
        size_t more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if ((size_t)(end - at) < more)
            return false;
        uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        for (; more; more--, at++, least = 0x80, most = 0xbf)
            if (*at < least || *at > most)
                return false;
    }
    return true;
}

static bool check_message(const ProtobufCMessage *message, struct error *error);

static bool check_bytes(const ProtobufCMessageDescriptor *type, const char *name,
                        const ProtobufCBinaryData *value, struct error *error)
{
    const struct rule *rule = rule_for(type, name);
    if (!rule)
        return is_text(value->data, value->len) ||
               error_set_kind(error, ERROR_INPUT,
                              "%s.%s is not UTF-8 text without zeros", type->name,
                              name);
    if (value->len == rule->size || rule->size == ANY_SIZE ||
        (rule->optional && value->len == 0))
        return true;
    return error_set_kind(error, ERROR_INPUT, "%s.%s has %zu bytes, expected %zu",
                          type->name, name, value->len, rule->size);
}

static bool check_value(const ProtobufCMessageDescriptor *type,
                        const ProtobufCFieldDescriptor *field, const void *value,
                        struct error *error)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return check_bytes(type, field->name, value, error);
    case PROTOBUF_C_TYPE_ENUM: {
        int number = *(const int *)value;
        return protobuf_c_enum_descriptor_get_value(field->descriptor, number) !=
                   NULL ||
               error_set_kind(error, ERROR_INPUT, "%s.%s has the unknown value %d",
                              type->name, field->name, number);
    }
    case PROTOBUF_C_TYPE_DOUBLE:
        return isfinite(*(const double *)value) ||
               error_set_kind(error, ERROR_INPUT, "%s.%s is not a finite number",
                              type->name, field->name);
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *inner = *(ProtobufCMessage *const *)value;
        if (inner)
            return check_message(inner, error);
        const struct rule *rule = rule_for(type, field->name);
        return (rule && rule->optional) ||
               error_set_kind(error, ERROR_INPUT, "%s.%s is missing", type->name,
                              field->name);
    }
    default:
        return true;
    }
}

static size_t width_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    default:
        return 0; /* whole numbers have no form to check */
    }
}

static bool check_message(const ProtobufCMessage *message, struct error *error)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < message->n_unknown_fields; i++)
        if (message->unknown_fields[i].tag == 0) /* packed again it could not be read */
            return error_set_kind(error, ERROR_INPUT, "%s has a field of number 0",
                                  type->name);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const uint8_t *member = (const uint8_t *)message + field->offset;
        const void *count = (const uint8_t *)message + field->quantifier_offset;
        size_t width = width_of(field->type);
        if (!width)
            continue;
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            if (*(const uint32_t *)count == field->id &&
                !check_value(type, field, member, error))
                return false;
        } else if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            const uint8_t *values = *(uint8_t *const *)member;
            for (size_t n = 0; n < *(const size_t *)count; n++)
                if (!check_value(type, field, values + n * width, error))
                    return false;
        } else if (!check_value(type, field, member, error)) {
            return false;
        }
    }
    return true;
}

/* protobuf-c's heap, counted: a message of a megabyte can ask for twenty. */
static void *counted_alloc(void *left, size_t size)
{
    size_t *budget = left;
    if (size > *budget) {
        *budget = 0;
        return NULL;
    }
    *budget -= size;
    return malloc(size);
}

static void counted_free(void *left, void *memory)
{
    (void)left;
    free(memory);
}

Farm__Envelope *wire_unpack(const void *data, size_t size, struct error *error)
{
    size_t budget = WIRE_UNPACK_LIMIT;
    ProtobufCAllocator counted = {counted_alloc, counted_free, &budget};
    Farm__Envelope *envelope = farm__envelope__unpack(&counted, size, data);
    if (!envelope) {
        error_set_kind(error, ERROR_INPUT,
                       budget
                           ? "%zu bytes are no envelope"
                           : "an envelope of %zu bytes unpacks to more than %d bytes",
                       size, WIRE_UNPACK_LIMIT);
        return NULL;
    }
    if (!check_message(&envelope->base, error)) {
        farm__envelope__free_unpacked(envelope, NULL);
        return NULL;
    }
    return envelope;
}

void message_clear(struct message *self)
{
    if (self->envelope)
        farm__envelope__free_unpacked(self->envelope, NULL);
    zframe_destroy(&self->payload);
    zframe_destroy(&self->peer);
    *self = (struct message){0};
}

static int receive_part(void *handle, zmq_msg_t *part)
{
    int size;
    do
        size = zmq_msg_recv(part, handle, ZMQ_DONTWAIT);
    while (size < 0 && errno == EINTR);
    return size;
}

/* libzmq delivers multi-part messages whole: what is left of one never blocks. */
static void drop_rest(void *handle, zmq_msg_t *part)
{
    while (zmq_msg_more(part) && receive_part(handle, part) >= 0)
        ;
}

static bool receive_body(void *handle, zmq_msg_t *part, size_t limit,
                         struct message *into, struct error *error)
{
    size_t size = zmq_msg_size(part);
    const char *user = zmq_msg_gets(part, "User-Id");
    const char *seen = into->peer ? zmq_msg_gets(part, "Peer-Address") : NULL;
    snprintf(into->address, sizeof into->address, "%s", seen ? seen : "");
    if (into->peer && user && !key_parse(user, into->key, error))
        memset(into->key, 0, sizeof into->key);
    if (size > limit)
        return error_set_kind(error, ERROR_INPUT,
                              "a message of %zu bytes, the limit is %zu", size, limit);
    into->envelope = wire_unpack(zmq_msg_data(part), size, error);
    if (!into->envelope)
        return false;
    if (!zmq_msg_more(part))
        return true;

    if (receive_part(handle, part) < 0)
        return error_set(error, "receiving: %s", zmq_strerror(errno));
    if (zmq_msg_more(part))
        return error_set_kind(error, ERROR_INPUT, "a message of more than two frames");
    if (zmq_msg_size(part) > limit - size)
        return error_set_kind(error, ERROR_INPUT,
                              "a message of %zu bytes, the limit is %zu",
                              size + zmq_msg_size(part), limit);
    into->payload = zframe_new(zmq_msg_data(part), zmq_msg_size(part));
    return true;
}

bool wire_receive(zsock_t *socket, size_t limit, struct message *into,
                  struct error *error)
{
    *into = (struct message){0};
    void *handle = zsock_resolve(socket);
    zmq_msg_t part;
    zmq_msg_init(&part);
    bool ok = false;
    if (receive_part(handle, &part) < 0) {
        error_set_kind(error, errno == EAGAIN ? ERROR_BUSY : ERROR_FAILED,
                       errno == EAGAIN ? "no message waits" : "receiving: %s",
                       zmq_strerror(errno));
        goto out;
    }
    if (zsock_type(socket) == ZMQ_ROUTER) {
        into->peer = zframe_new(zmq_msg_data(&part), zmq_msg_size(&part));
        if (!zmq_msg_more(&part) || receive_part(handle, &part) < 0) {
            error_set_kind(error, ERROR_INPUT, "a message without an envelope");
            goto out;
        }
    }
    ok = receive_body(handle, &part, limit, into, error);
    drop_rest(handle, &part);
    if (!ok && into->envelope) {
        farm__envelope__free_unpacked(into->envelope, NULL);
        into->envelope = NULL;
    }
out:
    zmq_msg_close(&part);
    return ok;
}

static bool send_part(void *handle, zmq_msg_t *part, bool more, struct error *error)
{
    int sent;
    do
        sent = zmq_msg_send(part, handle, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return true;
    int why = errno;
    zmq_msg_close(part);
    return error_set_kind(error,
                          why == EAGAIN         ? ERROR_BUSY
                          : why == EHOSTUNREACH ? ERROR_UNREACHABLE
                                                : ERROR_FAILED,
                          "sending: %s",
                          why == EAGAIN         ? "the peer's queue is full"
                          : why == EHOSTUNREACH ? "the peer is gone"
                                                : zmq_strerror(why));
}

/* A part of `size` bytes copied from `data`, or left open when that is NULL. */
static void part_init(zmq_msg_t *part, const void *data, size_t size)
{
    if (zmq_msg_init_size(part, size) != 0)
        abort();
    if (data && size)
        memcpy(zmq_msg_data(part), data, size);
}

/* The high-water mark counts whole messages, so that only the first part can be refused:
 * a message is never sent in half. */
static bool send_peer(void *handle, zframe_t *peer, struct error *error)
{
    zmq_msg_t part;
    if (!peer)
        return true;
    part_init(&part, zframe_data(peer), zframe_size(peer));
    return send_part(handle, &part, true, error);
}

bool wire_send(zsock_t *socket, zframe_t *peer, const Farm__Envelope *envelope,
               const void *payload, size_t size, struct error *error)
{
    void *handle = zsock_resolve(socket);
    zmq_msg_t part;
    if (!send_peer(handle, peer, error))
        return false;
    part_init(&part, NULL, farm__envelope__get_packed_size(envelope));
    farm__envelope__pack(envelope, zmq_msg_data(&part));
    if (!send_part(handle, &part, payload != NULL, error))
        return false;
    if (payload) {
        part_init(&part, payload, size);
        if (!send_part(handle, &part, false, error))
            return false;
    }
    return true;
}

bool wire_send_packed(zsock_t *socket, zframe_t *peer, const void *packed, size_t size,
                      struct error *error)
{
    void *handle = zsock_resolve(socket);
    zmq_msg_t part;
    if (!send_peer(handle, peer, error))
        return false;
    part_init(&part, packed, size);
    return send_part(handle, &part, false, error);
}

const char *wire_name(Farm__Envelope__BodyCase body)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
        &farm__envelope__descriptor, (unsigned)body);
    return field && body != FARM__ENVELOPE__BODY__NOT_SET ? field->name : "nothing";
}

ProtobufCBinaryData wire_text(const char *text)
{
    return wire_bytes(text, text ? strlen(text) : 0);
}

ProtobufCBinaryData wire_bytes(const void *data, size_t size)
{
    /* protobuf-c's structs do not know const; packing only reads. */
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}

char *wire_string(ProtobufCBinaryData field)
{
    char *text = malloc(field.len + 1);
    if (!text)
        abort();
    if (field.len)
        memcpy(text, field.data, field.len);
    text[field.len] = 0;
    return text;
}

bool wire_is(ProtobufCBinaryData field, const void *data, size_t size)
{
    return field.len == size && (!data || !size || memcmp(field.data, data, size) == 0);
}

ProtobufCBinaryData wire_own(ProtobufCBinaryData field)
{
    return (ProtobufCBinaryData){field.len, (uint8_t *)wire_string(field)};
}

uint8_t *wire_pack(const ProtobufCMessage *message, size_t *size)
{
    *size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(*size + 1);
    if (!packed)
        abort();
    protobuf_c_message_pack(message, packed);
    return packed;
}

void *wire_copy(const ProtobufCMessage *message)
{
    size_t size;
    uint8_t *packed = wire_pack(message, &size);
    void *copy = protobuf_c_message_unpack(message->descriptor, NULL, size, packed);
    if (!copy)
        abort();
    free(packed);
    return copy;
}
