/* Membership, as the rules of joining are:
 *
 *   TokenNew   keeps the public half of a fresh key with role join
 *   Join       in one transaction the token is used by the new key and the key is in
 *   Hello      of the new key: the token is dead, as it is at its expiry
 *   KeyRevoke  the gate, the depot, the role, the sessions: all at once
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "coordinator/addresses.h"
#include "coordinator/handlers.h"
#include "coordinator/learned.h"
#include "coordinator/swarm.h"
#include "coordinator/work.h"
#include "proto/places.h"

enum {
    TTL_USUAL_S = 3600,
    TTL_MOST_S = 30 * 86400,
    ADMIN_TTL_S = 30 * 86400,
    DEVICES_MOST = 256, /* of one key */
};

void audit_key(struct coordinator *self, const char *what, const struct member *member,
               const char *by)
{
    char key[KEY_TEXT];
    key_format(member->key, key);
    audit_write(
        self->audit, "%s key=%s role=%d name=%s by=%s", what, key,
        (int)(member->role == FARM__ROLE__ROLE_JOIN ? member->grants : member->role),
        member->name, by);
}

void store_key(struct coordinator *self, const struct member *member)
{
    struct key_row row = {.role = (int)member->role,
                          .name = member->name,
                          .created = member->created,
                          .revoked = member->revoked,
                          .greeted = member->greeted};
    memcpy(row.public_key, member->key, 32);
    change_key(self->change, &row);
}

static void store_token(struct coordinator *self, const struct member *member)
{
    struct token_row row = {.role = (int)member->grants,
                            .name = member->name,
                            .created = member->created,
                            .expires = member->expires,
                            .used = member->used};
    memcpy(row.join_key, member->key, 32);
    memcpy(row.used_by, member->used_by, 32);
    change_token(self->change, &row);
}

static void admin_token_remove(struct coordinator *self)
{
    char *path = path_format("%s/%s", self->state, PLACE_ADMIN_TOKEN);
    unlink(path);
    free(path);
    memset(self->admin_token, 0, sizeof self->admin_token);
}

static void token_dies(struct coordinator *self, struct member *token)
{
    gate_forget(self->gate, token->key);
    change_token_dead(self->change, token->key);
    if (memcmp(token->key, self->admin_token, 32) == 0)
        admin_token_remove(self);
    members_remove(&self->members, &token);
}

/* The first Hello of a key that joined: whatever token it used is dead. */
static void first_greeting(struct coordinator *self, struct member *member)
{
    member->greeted = true;
    store_key(self, member);
    struct member *token = NULL;
    for (struct member *m = zhashx_first(self->members.by_key); m && !token;
         m = zhashx_next(self->members.by_key))
        if (m->role == FARM__ROLE__ROLE_JOIN && m->used &&
            memcmp(m->used_by, member->key, 32) == 0)
            token = m;
    if (token)
        token_dies(self, token);
}

void session_end(struct coordinator *self, struct session **session)
{
    outbox_forget(self->outbox, (*session)->peer);
    events_unwatch(self->events, (*session)->peer);
    swarm_leave(self->swarm, (*session)->peer);
    registry_part(&self->registry, session);
}

/* Sends without the outbox: it says nothing, and the result tells who is still there. */
static bool is_reachable(struct coordinator *self, const struct session *session)
{
    Farm__Pulse pulse = FARM__PULSE__INIT;
    struct error error = {0};
    zframe_t *peer = zframe_new(session->peer, PEER_ID);
    bool sent =
        wire_send(self->control, peer, ANSWER(pulse, PULSE, &pulse), NULL, 0, &error);
    zframe_destroy(&peer);
    return sent || error.kind != ERROR_UNREACHABLE;
}

/* Two processes have one key: somebody copied it. */
static void note_clone(struct coordinator *self, const struct request *request)
{
    unsigned count = limits_offence(request->member, self->now);
    if (!count)
        return;
    log_warn("%s is here already, and greets from %s with the same key",
             request->member->name, request->message->address);
    audit_write(self->audit, "cloned key=%s from=%s times=%u", request->member->name,
                request->message->address, count);
}

/* The worker's device becomes a node, or is again what it was. */
static bool greet_node(struct coordinator *self, const struct request *request,
                       struct session *session, struct error *error)
{
    const Farm__Hello *hello = request->message->envelope->hello;
    if (hello->device->index >= DEVICES_MOST)
        return error_set_kind(error, ERROR_INPUT, "device %u, the last one may be %d",
                              hello->device->index, DEVICES_MOST - 1);
    struct node *node = registry_node(&self->registry, request->member->key,
                                      hello->device->index, request->member->name);
    if (node->session && !is_reachable(self, node->session)) {
        struct session *gone = node->session;
        session_end(self, &gone);
    }
    if (!registry_free_for(node, hello->instance.data, self->now, error)) {
        note_clone(self, request);
        return false;
    }
    learned_load(self, node);
    bool same =
        registry_attach(node, session, hello->instance.data, hello->device, self->now);
    struct queue_lease *lease;
    for (lease = TAILQ_FIRST(&self->queue->leases); lease;
         lease = TAILQ_NEXT(lease, by_expiry)) {
        if (lease->node == node->number)
            lease->confirmed = false;
    }
    if (!same)
        work_release_node(self, node, false, "the worker began anew");
    log_info("%s (%s) is here: %.*s", node->name, node->host,
             (int)hello->device->name.len, (const char *)hello->device->name.data);
    self->match = true;
    return true;
}

/* "tcp://10.0.0.7:40123", from where the connection comes unless the worker knows better.
 * What it says is an address and nothing else. */
static void note_serving(struct session *session, const struct message *message)
{
    const Farm__Hello *hello = message->envelope->hello;
    char *told = wire_string(hello->peer_address);
    bool is_address = strncmp(told, "tcp://", 6) == 0 && strlen(told) < 120 &&
                      !told[6 + strspn(told + 6, "0123456789abcdefghijklmnopqrstuvwxyz"
                                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:[]")];
    bool v6 = strchr(message->address, ':') != NULL;
    if (!hello->peer_port || hello->peer_port > 65535)
        session->serves[0] = 0;
    else if (is_address)
        snprintf(session->serves, sizeof session->serves, "%s:%u", told,
                 hello->peer_port);
    else if (message->address[0])
        snprintf(session->serves, sizeof session->serves,
                 v6 ? "tcp://[%s]:%u" : "tcp://%s:%u", message->address,
                 hello->peer_port);
    free(told);
}

bool handle_hello(struct coordinator *self, struct request *request,
                  struct error *error)
{
    const Farm__Hello *hello = request->message->envelope->hello;
    if (hello->version != WIRE_VERSION)
        return error_set_kind(error, ERROR_INPUT,
                              "this farm speaks protocol version %d, you speak %u; use "
                              "programs of one release",
                              WIRE_VERSION, hello->version);
    char *host = wire_string(hello->host), *program = wire_string(hello->program);
    struct session *session = registry_greet(
        &self->registry, request->peer, request->member->key, host, program, self->now);
    free(host);
    free(program);
    if (request->role == FARM__ROLE__ROLE_WORKER)
        note_serving(session, request->message);
    bool is_node = request->role == FARM__ROLE__ROLE_WORKER && hello->device;
    if (is_node && !greet_node(self, request, session, error)) {
        registry_part(&self->registry, &session);
        return false;
    }
    if (!request->member->greeted)
        first_greeting(self, request->member);
    Farm__Welcome welcome = FARM__WELCOME__INIT;
    welcome.version = WIRE_VERSION;
    welcome.epoch = self->epoch;
    welcome.farm = wire_text(self->farm);
    welcome.role = request->role;
    welcome.bulk_port = (uint32_t)self->bulk_port;
    welcome.heartbeat_ms = (uint32_t)self->settings->heartbeat_ms;
    welcome.node = wire_text(session->node ? session->node->name : NULL);
    welcome.signing_key = wire_bytes(self->signer.public_key, SIGNING_KEY);
    tell_answer(self, request, ANSWER(welcome, WELCOME, &welcome));
    if (session->node && session->node->order != NODE_FREE)
        tell_drain(self, session->node);
    return true;
}

bool handle_pulse(struct coordinator *self, struct request *request,
                  struct error *error)
{
    (void)error;
    Farm__Pulse pulse = FARM__PULSE__INIT;
    tell_answer(self, request, ANSWER(pulse, PULSE, &pulse));
    return true;
}

static void tell_joined(struct coordinator *self, const struct request *request,
                        const struct member *member)
{
    Farm__Joined joined = FARM__JOINED__INIT;
    joined.role = member->role;
    joined.farm = wire_text(self->farm);
    joined.name = wire_text(member->name);
    joined.signing_key = wire_bytes(self->signer.public_key, SIGNING_KEY);
    tell_answer(self, request, ANSWER(joined, JOINED, &joined));
}

static struct member *member_new(struct coordinator *self, const Farm__Join *join,
                                 const struct member *token)
{
    char *wanted = wire_string(join->name);
    struct member member = {.role = token->grants, .created = clock_unix()};
    memcpy(member.key, join->public_key.data, 32);
    members_name(&self->members, token->name[0] ? token->name : wanted, member.role,
                 member.name);
    free(wanted);
    return members_add(&self->members, &member);
}

bool handle_join(struct coordinator *self, struct request *request, struct error *error)
{
    const Farm__Join *join = request->message->envelope->join;
    struct member *token = request->member;
    if (!join_verify(&self->server, join->public_key.data, token->key, join->nonce.data,
                     join->proof.data, error))
        return false;
    struct member *member = members_find(&self->members, join->public_key.data);
    if (token->used) {
        if (memcmp(token->used_by, join->public_key.data, 32) == 0 && member) {
            tell_joined(self, request, member);
            return true;
        }
        audit_key(self, "token-used-again", token, "another key");
        return error_set_kind(error, ERROR_DENIED,
                              "this token was used by another key; ask for a new one");
    }
    if (member)
        return error_set_kind(error, ERROR_DENIED,
                              member->revoked
                                  ? "this key was revoked; join with a new key"
                                  : "this key is a member already");
    member = member_new(self, join, token);
    token->used = true;
    memcpy(token->used_by, member->key, 32);
    store_key(self, member);
    store_token(self, token);
    gate_admit(self->gate, member->key);
    depot_role(self->depot, member->key, member->role);
    audit_key(self, "joined", member, "token");
    log_info("%s joined as role %d", member->name, (int)member->role);
    tell_joined(self, request, member);
    return true;
}

/* Makes a token and the member its key is. */
static bool token_make(struct coordinator *self, Farm__Role role, const char *name,
                       int64_t ttl_s, char text[TOKEN_TEXT], struct member **into,
                       struct error *error)
{
    struct keypair pair;
    struct token token = {.expires = clock_unix() + ttl_s};
    if (!keypair_make(&pair, error))
        return false;
    memcpy(token.server_key, self->server.public_key, KEY_SIZE);
    memcpy(token.join_secret, pair.secret_key, KEY_SIZE);
    snprintf(token.farm, sizeof token.farm, "%s", self->farm);
    bool ok = addresses_list(self->settings->bind, self->settings->advertise,
                             self->port, &token, error) &&
              token_format(&token, text, error);
    if (ok) {
        struct member member = {.role = FARM__ROLE__ROLE_JOIN,
                                .grants = role,
                                .created = clock_unix(),
                                .expires = token.expires};
        memcpy(member.key, pair.public_key, KEY_SIZE);
        snprintf(member.name, sizeof member.name, "%s", name);
        *into = members_add(&self->members, &member);
        store_token(self, *into);
        gate_admit(self->gate, member.key);
    }
    keypair_wipe(&pair);
    memset(&token, 0, sizeof token);
    return ok;
}

bool handle_token_new(struct coordinator *self, struct request *request,
                      struct error *error)
{
    const Farm__TokenNew *wanted = request->message->envelope->token_new;
    int64_t ttl_s = wanted->ttl_s ? wanted->ttl_s : TTL_USUAL_S;
    if (wanted->role == FARM__ROLE__ROLE_NONE || wanted->role == FARM__ROLE__ROLE_JOIN)
        return error_set_kind(error, ERROR_INPUT,
                              "role: a token is for admin, submit, worker or observer");
    if (ttl_s > TTL_MOST_S)
        return error_set_kind(error, ERROR_INPUT,
                              "ttl: %lld s, a token lives %d days at most",
                              (long long)ttl_s, TTL_MOST_S / 86400);
    char text[TOKEN_TEXT];
    char *name = wire_string(wanted->name);
    struct member *token = NULL;
    bool ok = token_make(self, wanted->role, name, ttl_s, text, &token, error);
    free(name);
    if (!ok)
        return false;
    audit_key(self, "token", token, request->member->name);
    Farm__Token answer = FARM__TOKEN__INIT;
    answer.text = wire_text(text);
    tell_answer(self, request, ANSWER(token, TOKEN, &answer));
    return true;
}

bool admin_token_make(struct coordinator *self, struct error *error)
{
    char text[TOKEN_TEXT + 1];
    struct member *token = NULL;
    bool ok =
        token_make(self, FARM__ROLE__ROLE_ADMIN, "", ADMIN_TTL_S, text, &token, error);
    if (!ok)
        return false;
    memcpy(self->admin_token, token->key, 32);
    audit_key(self, "token", token, "first start");
    coordinator_hand_over(self, true);
    strcat(text, "\n");
    char *path = path_format("%s/%s", self->state, PLACE_ADMIN_TOKEN);
    ok = path_write(path, text, strlen(text), 0600, error);
    free(path);
    return ok;
}

bool handle_key_list(struct coordinator *self, struct request *request,
                     struct error *error)
{
    (void)error;
    size_t count = zhashx_size(self->members.by_key), k = 0;
    Farm__Key *key = calloc(count + 1, sizeof *key);
    Farm__Keys keys = FARM__KEYS__INIT;
    keys.keys = calloc(count + 1, sizeof *keys.keys);
    if (!key || !keys.keys)
        abort();
    for (struct member *m = zhashx_first(self->members.by_key); m;
         m = zhashx_next(self->members.by_key), k++) {
        farm__key__init(&key[k]);
        key[k].public_key = wire_bytes(m->key, KEY_SIZE);
        key[k].role = m->role;
        key[k].name = wire_text(m->name);
        key[k].created = m->created;
        key[k].revoked = m->revoked;
        keys.keys[k] = &key[k];
    }
    keys.n_keys = count;
    tell_answer(self, request, ANSWER(keys, KEYS, &keys));
    free(keys.keys);
    free(key);
    return true;
}

void member_leaves(struct coordinator *self, const uint8_t key[32], const char *why)
{
    gate_forget(self->gate, key);
    depot_role(self->depot, key, FARM__ROLE__ROLE_NONE);
    swarm_revoke(self, key);
    for (size_t n = 0; n < self->registry.count; n++)
        if (memcmp(self->registry.node[n]->key, key, 32) == 0)
            work_release_node(self, self->registry.node[n], false, why);
    zlistx_t *sessions = zhashx_values(self->registry.sessions);
    for (struct session *s = zlistx_first(sessions); s; s = zlistx_next(sessions))
        if (memcmp(s->key, key, 32) == 0)
            session_end(self, &s);
    zlistx_destroy(&sessions);
}

bool handle_key_revoke(struct coordinator *self, struct request *request,
                       struct error *error)
{
    char *text = wire_string(request->message->envelope->key_revoke->key);
    struct member *member = members_resolve(&self->members, text, error);
    free(text);
    if (!member)
        return false;
    if (member->role == FARM__ROLE__ROLE_ADMIN && !member->revoked &&
        members_count(&self->members, FARM__ROLE__ROLE_ADMIN, false, clock_unix()) == 1)
        return error_set_kind(error, ERROR_INPUT,
                              "%s is the only administrator; let another join first",
                              member->name);
    audit_key(self, "revoked", member, request->member->name);
    log_info("%s was revoked", member->name);
    Farm__Done done = FARM__DONE__INIT;
    if (member->role == FARM__ROLE__ROLE_JOIN) {
        token_dies(self, member);
    } else if (!member->revoked) {
        member->revoked = clock_unix();
        store_key(self, member);
        member_leaves(self, member->key, "the node's key was revoked");
    }
    tell_answer(self, request, ANSWER(done, DONE, &done));
    return true;
}

void members_sweep(struct coordinator *self)
{
    int64_t unix_now = clock_unix();
    zlistx_t *members = zhashx_values(self->members.by_key);
    for (struct member *m = zlistx_first(members); m; m = zlistx_next(members))
        if (m->role == FARM__ROLE__ROLE_JOIN && unix_now >= m->expires)
            token_dies(self, m);
    zlistx_destroy(&members);

    zlistx_t *sessions = zhashx_values(self->registry.sessions);
    for (struct session *s = zlistx_first(sessions); s; s = zlistx_next(sessions))
        if (self->now - s->heard > self->registry.suspect_ms && !is_reachable(self, s))
            session_end(self, &s);
    zlistx_destroy(&sessions);
}
