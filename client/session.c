#include "client/session.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/command.h"
#include "client/local.h"
#include "config/settings.h"
#include "proto/places.h"

enum {
    GREET_PATIENCE_MS = 5000, /* while nobody listens */
    BUSY_PATIENCE_MS = 10000, /* for somebody who does */
    ASK_PATIENCE_MS = 15000,
    SILENCE_MS = 10000
};

struct session {
    struct farm farm;
    struct keypair own;
    struct link *link, *bulk;
    uint64_t requests;
    int patience_ms;
    Farm__Role role;
    uint32_t bulk_port;
    bool greeted, local;
    unsigned bulk_links;
    char *folder;          /* the member's */
    struct error distrust; /* the farm signs with another key than before */
    struct message *stash; /* read by session_ask, for session_next */
    enum link_event *stash_event;
    size_t stash_count;
};

static void stash(struct session *self, enum link_event event, struct message *message)
{
    size_t count = self->stash_count + 1;
    struct message *messages = realloc(self->stash, count * sizeof *messages);
    if (messages)
        self->stash = messages;
    enum link_event *events = realloc(self->stash_event, count * sizeof *events);
    if (events)
        self->stash_event = events;
    if (!messages || !events)
        abort();
    messages[count - 1] = *message;
    events[count - 1] = event;
    self->stash_count = count;
    *message = (struct message){0};
}

static void take_welcome(struct session *self, const struct message *message)
{
    const Farm__Welcome *welcome = message->envelope->welcome;
    char *name = wire_string(welcome->farm);
    snprintf(self->farm.name, sizeof self->farm.name, "%s", name);
    free(name);
    ProtobufCBinaryData signing = welcome->signing_key;
    if (farm_learn_key(&self->farm, signing.data, signing.len, &self->distrust))
        farm_save(&self->farm, self->folder, NULL);
    self->role = welcome->role;
    if (self->bulk && welcome->bulk_port != self->bulk_port)
        link_close(&self->bulk); /* its owner sees a fresh link and asks again */
    self->bulk_port = welcome->bulk_port;
    self->greeted = true;
}

static enum link_event step(struct session *self, struct message *into)
{
    enum link_event event = link_step(self->link, clock_ms(), into);
    if (event == LINK_GREETED)
        take_welcome(self, into);
    return event;
}

/* A farm that is there but busy gets more time than one that is not. */
static bool is_overdue(const struct session *self, int64_t since, int patience_ms)
{
    if (!link_is_alone(self->link) && patience_ms < BUSY_PATIENCE_MS)
        patience_ms = BUSY_PATIENCE_MS;
    return clock_ms() - since >= patience_ms;
}

static bool wait_for_greeting(struct session *self, int patience_ms,
                              struct error *error)
{
    int64_t since = clock_ms();
    struct error trouble = {.kind = ERROR_UNREACHABLE};
    snprintf(trouble.text, sizeof trouble.text, "%s: no answer", self->farm.address);
    while (!self->greeted && !is_overdue(self, since, patience_ms) &&
           !interrupt_count()) {
        struct message message = {0};
        session_wait(self, 100);
        while (step(self, &message) != LINK_NOTHING)
            message_clear(&message);
        if (link_trouble(self->link, &trouble) && trouble.kind != ERROR_UNREACHABLE &&
            trouble.kind != ERROR_BUSY)
            break;
    }
    bool trusted = !self->distrust.text[0];
    if ((!self->greeted || !trusted) && error)
        *error = trusted ? trouble : self->distrust;
    return self->greeted && trusted;
}

struct session *session_open_farm(const struct farm *farm, const struct keypair *own,
                                  const char *folder, int patience_ms,
                                  struct error *error)
{
    struct session *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->farm = *farm;
    self->own = *own;
    self->folder = path_format("%s", folder);
    self->patience_ms = ASK_PATIENCE_MS;
    char host[64] = "";
    uint8_t instance[16];
    gethostname(host, sizeof host - 1);
    randombytes_buf(instance, sizeof instance);
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.host = wire_text(host);
    hello.instance = wire_bytes(instance, sizeof instance);
    hello.program = wire_text("farmctl " FARM_VERSION);
    self->link = link_open(
        &(struct link_options){
            .address = self->farm.address,
            .server_key = self->farm.server_key,
            .own = &self->own,
            .hello = &hello,
            .limit = WIRE_CONTROL_LIMIT,
            .send_high_water = 1000,
            .silence_ms = SILENCE_MS,
        },
        error);
    if (!self->link || !wait_for_greeting(self, patience_ms, error))
        session_close(&self);
    return self;
}

void session_close(struct session **self)
{
    if (!*self)
        return;
    link_close(&(*self)->bulk);
    link_close(&(*self)->link);
    for (size_t i = 0; i < (*self)->stash_count; i++)
        message_clear(&(*self)->stash[i]);
    free((*self)->stash);
    free((*self)->stash_event);
    free((*self)->folder);
    keypair_wipe(&(*self)->own);
    free(*self);
    *self = NULL;
}

const uint8_t *session_signing_key(const struct session *self)
{
    return signing_is_known(self->farm.signing_key) ? self->farm.signing_key : NULL;
}

const char *session_farm(const struct session *self)
{
    return self->farm.name;
}

Farm__Role session_role(const struct session *self)
{
    return self->role;
}

void session_set_local(struct session *self)
{
    self->local = true;
}

bool session_is_local(const struct session *self)
{
    return self->local;
}

void session_set_patience(struct session *self, int patience_ms)
{
    self->patience_ms = patience_ms;
}

void session_send(struct session *self, Farm__Envelope *envelope)
{
    envelope->request = ++self->requests;
    link_send(self->link, envelope, NULL, 0, NULL);
}

/* What a Refused says, as an error. */
static bool refused(const Farm__Refused *refused, struct error *error)
{
    char *text = wire_string(refused->text);
    error_set_kind(error, refused->kind <= ERROR_DEVICE ? refused->kind : ERROR_FAILED,
                   "%s", text);
    free(text);
    return false;
}

bool session_ask(struct session *self, Farm__Envelope *ask,
                 Farm__Envelope__BodyCase expected, struct message *answer,
                 struct error *error)
{
    int64_t end = clock_ms() + self->patience_ms;
    bool sent = false;
    ask->request = ++self->requests;
    while (clock_ms() < end && !interrupt_count()) {
        if (!sent)
            sent = link_send(self->link, ask, NULL, 0, NULL);
        struct message message = {0};
        enum link_event event = step(self, &message);
        if (event == LINK_NOTHING) {
            struct error trouble;
            if (link_trouble(self->link, &trouble) && trouble.kind == ERROR_DENIED)
                break;
            session_wait(self, 100);
            continue;
        }
        if (event == LINK_GREETED) {
            sent = false;
            stash(self, event, &message);
            continue;
        }
        if (message.envelope->request != ask->request) {
            stash(self, event, &message);
            continue;
        }
        if (message.envelope->body_case == expected) {
            *answer = message;
            return true;
        }
        if (message.envelope->body_case == FARM__ENVELOPE__BODY_REFUSED)
            refused(message.envelope->refused, error);
        else
            error_set(error, "the coordinator answered %s with %s",
                      wire_name(ask->body_case),
                      wire_name(message.envelope->body_case));
        message_clear(&message);
        return false;
    }
    if (interrupt_count())
        return error_set_kind(error, ERROR_BUSY, "interrupted");
    if (link_trouble(self->link, error))
        return false;
    return error_set_kind(error, ERROR_UNREACHABLE,
                          "%s: the coordinator did not answer within %d s",
                          self->farm.address, self->patience_ms / 1000);
}

void session_wait(struct session *self, int ms)
{
    if (self->stash_count && ms > 0)
        ms = 0;
    zmq_pollitem_t items[4];
    int count = 0;
    struct link *links[2] = {self->link, self->bulk};
    for (size_t i = 0; i < 2; i++) {
        if (!links[i])
            continue;
        zsock_t *sockets[2] = {link_socket(links[i]), link_monitor(links[i])};
        for (size_t j = 0; j < 2; j++)
            if (sockets[j])
                items[count++] = (zmq_pollitem_t){.socket = zsock_resolve(sockets[j]),
                                                  .events = ZMQ_POLLIN};
        int patience = link_patience(links[i], clock_ms());
        ms = patience >= 0 && patience < ms ? patience : ms;
    }
    zmq_poll(items, count, ms);
}

enum link_event session_next(struct session *self, struct message *into)
{
    if (!self->stash_count)
        return step(self, into);
    enum link_event event = self->stash_event[0];
    *into = self->stash[0];
    self->stash_count--;
    memmove(self->stash, self->stash + 1, self->stash_count * sizeof *self->stash);
    memmove(self->stash_event, self->stash_event + 1,
            self->stash_count * sizeof *self->stash_event);
    return event;
}

struct link *session_bulk(struct session *self, struct error *error)
{
    if (self->bulk)
        return self->bulk;
    char address[160];
    const char *colon = strrchr(self->farm.address, ':');
    int host = colon ? (int)(colon - self->farm.address) : 0;
    snprintf(address, sizeof address, "%.*s:%u", host, self->farm.address,
             self->bulk_port);
    self->bulk = link_open(
        &(struct link_options){
            .address = address,
            .server_key = self->farm.server_key,
            .own = &self->own,
            .limit = WIRE_BULK_LIMIT,
            .send_high_water = 16,
            .silence_ms = SILENCE_MS,
        },
        error);
    self->bulk_links++;
    return self->bulk;
}

unsigned session_bulk_links(const struct session *self)
{
    return self->bulk_links;
}

bool session_is_up(struct session *self)
{
    return link_is_up(self->link);
}

bool session_trouble(struct session *self, struct error *error)
{
    return link_trouble(self->link, error);
}

/* A member's folder as a session. */
static struct session *open_folder(const char *folder, struct error *error)
{
    struct farm farm;
    struct keypair own;
    char *path = path_format("%s/%s", folder, PLACE_KEY);
    struct session *self = NULL;
    if (farm_load(&farm, folder, PLACE_FARM, error) &&
        keypair_load(&own, path, error)) {
        self = session_open_farm(&farm, &own, folder, GREET_PATIENCE_MS, error);
        keypair_wipe(&own);
    }
    free(path);
    return self;
}

/* The coordinator this user runs on this machine: its first start left a token for us. */
static char *join_own_coordinator(struct error *error)
{
    char *state = path_state();
    char *coordinator = path_format("%s/coordinator", state);
    char *path = path_format("%s/%s", coordinator, PLACE_ADMIN_TOKEN), *folder = NULL;
    struct token token;
    struct farm farm;
    struct joined joined;
    if (farm_load(&farm, coordinator, PLACE_ADDRESS, NULL) &&
        token_read(path, &token, NULL)) {
        folder = member_folder(farm.name, error);
        if (folder && !member_join(folder, &token, farm.address, &joined, error)) {
            free(folder);
            folder = NULL;
        }
    } else {
        error_set_kind(
            error, ERROR_INPUT,
            "no farm was joined yet: `farmctl join TOKEN` joins one, --local "
            "uses a private one on this machine");
    }
    free(path);
    free(coordinator);
    free(state);
    return folder;
}

static char *find_folder(const char *name, struct error *error)
{
    size_t count;
    char **names = member_farms(&count), *folder = NULL;
    char *listed = path_format("%s", "");
    bool known = false;
    for (size_t i = 0; i < count; i++) {
        char *more = path_format("%s%s%s", listed, i ? ", " : "", names[i]);
        free(listed);
        listed = more;
        known = known || (name && !strcmp(names[i], name));
    }
    if (name && !known)
        error_set_kind(error, ERROR_INPUT, "no farm \"%.60s\" was joined; joined: %s",
                       name, count ? listed : "none");
    else if (name || count == 1)
        folder = member_folder(name ? name : names[0], error);
    else if (count)
        error_set_kind(error, ERROR_INPUT,
                       "several farms are joined (%s): choose one with --farm", listed);
    else
        folder = join_own_coordinator(error);
    free(listed);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return folder;
}

struct session *session_open(const struct arguments *arguments, struct error *error)
{
    if (arguments->local && arguments->farm) {
        error_set_kind(error, ERROR_INPUT, "--local and --farm exclude each other");
        return NULL;
    }
    if (arguments->local)
        return local_open(arguments->quiet || arguments->json, error);
    struct client_settings settings; /* CLFARM_FARM, farmctl.conf */
    if (config_load(&client_program, &settings, NULL, NULL, error) != CONFIG_READY)
        return NULL;
    const char *name = arguments->farm ? arguments->farm : settings.farm;
    char *folder = find_folder(*name ? name : NULL, error);
    struct session *self = folder ? open_folder(folder, error) : NULL;
    free(folder);
    config_clear(&client_program, &settings);
    return self;
}
