#include "coordinator/handlers.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/limits.h"

#define MAY(role) (1u << FARM__ROLE__ROLE_##role)

enum {
    ADMIN = MAY(ADMIN),
    CLIENT = MAY(ADMIN) | MAY(SUBMIT),
    READER = MAY(ADMIN) | MAY(SUBMIT) | MAY(OBSERVER),
    WORKER = MAY(WORKER),
    MEMBER = MAY(ADMIN) | MAY(SUBMIT) | MAY(OBSERVER) | MAY(WORKER),
    JOINER = MAY(JOIN),
};

static const struct handler {
    Farm__Envelope__BodyCase body;
    unsigned roles;
    bool greets; /* may come before a Hello */
    handler_fn *handle;
} handlers[] = {
    {FARM__ENVELOPE__BODY_HELLO, MEMBER, true, handle_hello},
    {FARM__ENVELOPE__BODY_PULSE, MEMBER, false, handle_pulse},
    {FARM__ENVELOPE__BODY_JOIN, JOINER, true, handle_join},

    {FARM__ENVELOPE__BODY_READY, WORKER, false, handle_ready},
    {FARM__ENVELOPE__BODY_HEARTBEAT, WORKER, false, handle_heartbeat},
    {FARM__ENVELOPE__BODY_COMMIT, WORKER, false, handle_commit},
    {FARM__ENVELOPE__BODY_FAILED, WORKER, false, handle_failed},
    {FARM__ENVELOPE__BODY_RETURNED, WORKER, false, handle_returned},
    {FARM__ENVELOPE__BODY_CHECKPOINT, WORKER, false, handle_checkpoint},
    {FARM__ENVELOPE__BODY_PREVIEW, WORKER, false, handle_preview},
    {FARM__ENVELOPE__BODY_TUNING, WORKER, false, handle_tuning},
    {FARM__ENVELOPE__BODY_HAVE, WORKER, false, handle_have},
    {FARM__ENVELOPE__BODY_GRANTED, WORKER, false, handle_granted},

    {FARM__ENVELOPE__BODY_SUBMIT, CLIENT, false, handle_submit},
    {FARM__ENVELOPE__BODY_JOB_LIST, READER, false, handle_job_list},
    {FARM__ENVELOPE__BODY_JOB_SHOW, READER, false, handle_job_show},
    {FARM__ENVELOPE__BODY_JOB_CANCEL, CLIENT, false, handle_job_cancel},
    {FARM__ENVELOPE__BODY_JOB_STEER, CLIENT, false, handle_job_steer},
    {FARM__ENVELOPE__BODY_JOB_RETRY, CLIENT, false, handle_job_retry},
    {FARM__ENVELOPE__BODY_JOB_REMOVE, CLIENT, false, handle_job_remove},
    {FARM__ENVELOPE__BODY_DISK_LIST, READER, false, handle_disk_list},
    {FARM__ENVELOPE__BODY_LOG_LIST, READER, false, handle_log_list},
    {FARM__ENVELOPE__BODY_NODE_LIST, READER, false, handle_node_list},
    {FARM__ENVELOPE__BODY_MODEL_ADD, CLIENT, false, handle_model_add},
    {FARM__ENVELOPE__BODY_MODEL_LIST, READER, false, handle_model_list},
    {FARM__ENVELOPE__BODY_MODEL_GET, MEMBER, false, handle_model_get},

    {FARM__ENVELOPE__BODY_NODE_STEER, ADMIN, false, handle_node_steer},
    {FARM__ENVELOPE__BODY_TOKEN_NEW, ADMIN, false, handle_token_new},
    {FARM__ENVELOPE__BODY_KEY_LIST, ADMIN, false, handle_key_list},
    {FARM__ENVELOPE__BODY_KEY_REVOKE, ADMIN, false, handle_key_revoke},
    {FARM__ENVELOPE__BODY_KEY_ROLE, ADMIN, false, handle_key_role},
    {FARM__ENVELOPE__BODY_AUDIT_GET, ADMIN, false, handle_audit_get},
    {FARM__ENVELOPE__BODY_METRICS_GET, READER, false, handle_metrics_get},

    {FARM__ENVELOPE__BODY_WATCH, READER, false, handle_watch},
    {FARM__ENVELOPE__BODY_UNWATCH, READER, false, handle_unwatch},
    {FARM__ENVELOPE__BODY_CREDIT, READER, false, handle_credit},
};

static const struct handler *find(Farm__Envelope__BodyCase body)
{
    for (size_t h = 0; h < sizeof handlers / sizeof handlers[0]; h++)
        if (handlers[h].body == body)
            return &handlers[h];
    return NULL;
}

static bool is_allowed(const struct request *request, const struct handler *handler,
                       struct error *error)
{
    const char *name = wire_name(request->message->envelope->body_case);
    if (request->role == FARM__ROLE__ROLE_NONE)
        return error_set_kind(error, ERROR_DENIED,
                              "this key is not, or no longer, a member of the farm");
    if (!handler || !(handler->roles & 1u << request->role))
        return error_set_kind(error, ERROR_DENIED,
                              "the role of this key does not permit \"%s\"", name);
    if (!handler->greets && !request->session)
        return error_set_kind(error, ERROR_INPUT, "\"%s\" came before a hello", name);
    return true;
}

/* The session of this connection, if it is still that key's. */
static struct session *session_of(struct coordinator *self,
                                  const struct message *message)
{
    struct session *session =
        registry_session(&self->registry, zframe_data(message->peer));
    if (session && memcmp(session->key, message->key, sizeof session->key) != 0)
        session_end(self, &session);
    return session;
}

static void heard(struct coordinator *self, struct session *session)
{
    if (!session)
        return;
    session->heard = self->now;
    if (!session->node)
        return;
    if (!node_works(session->node, self->now))
        session->node->changed = true;
    session->node->heard = self->now;
}

/* Heartbeats keep leases and cost little: they are never too many. */
static bool is_slow_enough(struct coordinator *self, const struct request *request,
                           struct error *error)
{
    int64_t rate = self->settings->rate;
    if (request->message->envelope->body_case == FARM__ENVELOPE__BODY_HEARTBEAT ||
        !request->member || limits_allow(request->member, rate, self->now))
        return true;
    if (request->member->hurried++ % 10000 == 0)
        log_warn("%s sends more than %lld messages a second", request->member->name,
                 (long long)rate);
    return error_set_kind(error, ERROR_BUSY,
                          "this key sends more than %lld messages a second",
                          (long long)rate);
}

/* Somebody tried what is not allowed. */
static void note_attempt(struct coordinator *self, const struct request *request,
                         const char *why)
{
    struct member *member = request->member;
    unsigned count = member ? limits_offence(member, self->now) : 0;
    if (!count)
        return;
    log_warn("%s (%s): %s", member->name, request->message->address, why);
    audit_write(self->audit, "refused what=%s by=%s from=%s times=%u",
                wire_name(request->message->envelope->body_case), member->name,
                request->message->address, count);
}

static void deal(struct coordinator *self, struct message *message, bool again)
{
    struct request request = {
        .message = message,
        .peer = zframe_data(message->peer),
        .session = session_of(self, message),
        .member = members_find(&self->members, message->key),
        .role = members_role(&self->members, message->key, clock_unix()),
        .again = again,
    };
    const struct handler *handler = find(message->envelope->body_case);
    struct error error = {0};
    heard(self, request.session);
    struct log_subject subject = {.task = -1};
    snprintf(subject.node, sizeof subject.node, "%s",
             request.session && request.session->node ? request.session->node->name
             : request.member                         ? request.member->name
                                                      : "");
    log_about(&subject);
    if ((again || is_slow_enough(self, &request, &error)) &&
        is_allowed(&request, handler, &error) &&
        handler->handle(self, &request, &error)) {
        log_about(NULL);
        return;
    }
    metrics_count(&self->metrics, METRICS_REFUSED);
    log_debug("%s refused: %s", wire_name(message->envelope->body_case), error.text);
    if (error.kind == ERROR_DENIED)
        note_attempt(self, &request, error.text);
    tell_refused(self, request.peer, message->envelope->request, &error);
    log_about(NULL);
}

void handlers_take(struct coordinator *self, struct message *message,
                   const struct error *broken)
{
    if (!message->peer || zframe_size(message->peer) != PEER_ID)
        return;
    if (!message->envelope) {
        struct member *member = members_find(&self->members, message->key);
        unsigned count = member ? limits_offence(member, self->now) : 0;
        if (count)
            log_warn("%s (%s) sends what is no message: %s", member->name,
                     message->address, broken->text);
        tell_refused(self, zframe_data(message->peer), 0, broken);
        return;
    }
    metrics_count(&self->metrics, METRICS_MESSAGES);
    deal(self, message, false);
}

void handlers_take_again(struct coordinator *self, struct message *message)
{
    deal(self, message, true);
}

const uint8_t *owner_of(const struct request *request)
{
    return request->role == FARM__ROLE__ROLE_SUBMIT ? request->member->key : NULL;
}
