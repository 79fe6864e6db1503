#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "proto/files/manifest.h"
#include "worker/device_private.h"

enum {
    CONTROL_HIGH_WATER = 1000,
    CONTROL_SILENCE_MS = 10000,
    PREVIEWS_MS = 60000, /* most, for one asking */
    HEARTBEAT_MS = 2000, /* where the Welcome names none */
};

bool device_connect(struct device *self, struct error *error)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    Farm__Device device = FARM__DEVICE__INIT;
    device.index = (uint32_t)self->index;
    device.name = wire_text(self->info.name);
    device.vendor = wire_text(self->info.vendor);
    device.driver = wire_text(self->info.driver);
    device.kind = wire_text(self->info.kind);
    device.is_cpu = self->info.is_cpu;
    device.memory = self->info.memory;
    device.units = self->info.units;
    device.unfit = wire_text(self->unfit.text);
    device.hands_on = self->settings->decode == WORKER_HANDS_ON;
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.host = wire_text(host);
    hello.instance = wire_bytes(self->instance, DEVICE_INSTANCE);
    hello.program = wire_text("farm-worker " FARM_VERSION);
    hello.device = &device;
    hello.peer_port = (uint32_t)io_peer_port(self->io);
    hello.peer_address = wire_text(self->settings->peer_address);
    struct link_options link = {
        .address = self->member->farm.address,
        .server_key = self->member->farm.server_key,
        .own = &self->member->own,
        .hello = &hello,
        .limit = WIRE_CONTROL_LIMIT,
        .send_high_water = CONTROL_HIGH_WATER,
        .silence_ms = CONTROL_SILENCE_MS,
    };
    self->link = link_open(&link, error);
    return self->link != NULL;
}

void device_tell_ready(struct device *self)
{
    size_t wanted = 0, held = attempts_unrendered(&self->attempts);
    if (!self->drain && !self->unfit.text[0])
        wanted = self->nearly_done ? 2 * self->batch : self->batch;
    uint32_t credit = wanted > held ? (uint32_t)(wanted - held) : 0;
    if (!self->greeted || credit == self->credit)
        return;
    if (control_ready(self->link, credit, self->received, (uint32_t)self->batch,
                      &self->models))
        self->credit = credit;
}

static void assign(struct device *self, const Farm__Attempt *from, uint32_t at_once)
{
    struct error error = {0};
    if (!attempts_add(&self->attempts, from, at_once, &error)) {
        control_refuse(self->link, from->id, &error);
        return;
    }
    struct attempt *attempt =
        attempts_find(&self->attempts, from->id->epoch, from->id->counter);
    if (attempt->state == FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED)
        device_want(self, attempt);
}

void device_return_waiting(struct device *self)
{
    struct attempt *waiting[ATTEMPTS_MOST] = {0};
    size_t count = 0;
    for (size_t i = 0; i < self->attempts.count; i++)
        if (self->attempts.item[i]->state < FARM__ATTEMPT_STATE__ATTEMPT_RENDERING ||
            self->attempts.item[i]->returns)
            waiting[count++] = self->attempts.item[i];
    if (self->greeted)
        control_returned(self->link, waiting, count);
    for (size_t i = 0; i < count; i++)
        attempts_remove(&self->attempts, waiting[i]->epoch, waiting[i]->counter);
}

static void withdraw(struct device *self, const Farm__Withdraw *message)
{
    for (size_t i = 0; i < message->n_attempts; i++) {
        const Farm__AttemptId *id = message->attempts[i];
        struct attempt *attempt =
            attempts_find(&self->attempts, id->epoch, id->counter);
        if (!attempt)
            continue;
        if (attempt->state == FARM__ATTEMPT_STATE__ATTEMPT_RENDERING)
            attempt->withdrawn = true;
        else if (attempt->failed || attempt->returns ||
                 attempt->state != FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING)
            attempts_remove(&self->attempts, id->epoch, id->counter);
    }
    bool wanted = false;
    for (size_t i = 0; i < self->attempts.count; i++)
        wanted = wanted || (!self->attempts.item[i]->withdrawn &&
                            self->attempts.item[i]->state ==
                                FARM__ATTEMPT_STATE__ATTEMPT_RENDERING);
    if (self->rendering && !wanted)
        render_stop(self->render, false);
}

static void on_preview_ask(struct device *self, const Farm__PreviewAsk *ask)
{
    struct attempt *attempt =
        attempts_find(&self->attempts, ask->attempt->epoch, ask->attempt->counter);
    int64_t lasts = ask->lasts_ms < PREVIEWS_MS ? ask->lasts_ms : PREVIEWS_MS;
    if (!attempt)
        return;
    attempt->shown_until = clock_ms() + lasts;
    render_previews(self->render, attempt->shown_until);
}

static void on_committed(struct device *self, const Farm__Committed *message)
{
    static const char *const answers[] = {"accepted", "known already", "superseded",
                                          "discarded", "to be sent again"};
    uint64_t epoch = message->attempt->epoch, counter = message->attempt->counter;
    char *text = wire_string(message->text);
    device_about(self, attempts_find(&self->attempts, epoch, counter));
    log_debug("result %llu: %s %s", (unsigned long long)counter,
              answers[message->answer], text);
    device_about(self, NULL);
    free(text);
    if (message->answer != FARM__COMMIT_ANSWER__COMMIT_RETRY)
        attempts_remove(&self->attempts, epoch, counter);
    io_committed(self->io, epoch, counter, message->answer);
}

static void on_refused(struct device *self, const Farm__Envelope *envelope)
{
    struct model *model = models_asked(&self->models, envelope->request);
    struct error error = {.kind = (enum error_kind)envelope->refused->kind};
    char *text = wire_string(envelope->refused->text);
    snprintf(error.text, sizeof error.text, "%s", text);
    free(text);
    if (model) {
        model->request = 0;
        io_no_manifest(self->io, model->id, &error);
    } else {
        log_warn("refused: %s", error.text);
    }
}

/* What a model's files must hash to is the farm's word and nobody else's. */
static void on_manifest(struct device *self, const Farm__Envelope *envelope)
{
    struct model *model = models_asked(&self->models, envelope->request);
    struct error error = {0};
    if (!model)
        return;
    model->request = 0;
    if (manifest_verify(envelope->manifest, self->signing_key, &error)) {
        io_manifest(self->io, model->id, envelope->manifest);
    } else {
        log_error("%s", error.text);
        io_no_manifest(self->io, model->id, &error);
    }
}

static void on_message(struct device *self, const Farm__Envelope *envelope)
{
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_ASSIGN:
        for (size_t i = 0; i < envelope->assign->n_attempts; i++)
            assign(self, envelope->assign->attempts[i], envelope->assign->at_once);
        self->received += envelope->assign->n_attempts;
        self->credit = UINT32_MAX; /* what was told is used up */
        if (self->drain)
            device_return_waiting(self);
        break;
    case FARM__ENVELOPE__BODY_COMMITTED:
        on_committed(self, envelope->committed);
        break;
    case FARM__ENVELOPE__BODY_WITHDRAW:
        withdraw(self, envelope->withdraw);
        break;
    case FARM__ENVELOPE__BODY_PREVIEW_ASK:
        on_preview_ask(self, envelope->preview_ask);
        break;
    case FARM__ENVELOPE__BODY_DRAIN:
        self->drain = self->leave || !envelope->drain->over;
        log_info("the coordinator says: %s", envelope->drain->over
                                                 ? "work as usual"
                                                 : "finish what is here, no more");
        break;
    case FARM__ENVELOPE__BODY_MANIFEST:
        on_manifest(self, envelope);
        break;
    case FARM__ENVELOPE__BODY_REFUSED:
        on_refused(self, envelope);
        break;
    case FARM__ENVELOPE__BODY_PEERS:
        io_peers(self->io, envelope->peers);
        break;
    case FARM__ENVELOPE__BODY_GRANT:
        io_grant(self->io, envelope->grant);
        break;
    case FARM__ENVELOPE__BODY_GRANT_END:
        io_grant_end(self->io, envelope->grant_end->key.data);
        break;
    case FARM__ENVELOPE__BODY_TUNING:
        device_on_tuning(self, envelope->tuning);
        break;
    case FARM__ENVELOPE__BODY_PULSE:
        break;
    default:
        log_warn("unexpected %s", wire_name(envelope->body_case));
    }
}

/* Whole models are told at every greeting; what is being fetched the I/O actor tells. */
static void tell_whole_models(struct device *self)
{
    for (size_t i = 0; i < self->models.count; i++) {
        struct io_event whole = {.kind = IO_HAVE};
        memcpy(whole.model, self->models.item[i]->id, BLOB_ID);
        if (self->models.item[i]->listed)
            control_have(self->link, &whole);
    }
}

/* A worker that joined before its farm signed learns the key once. */
static void learn_signing_key(struct device *self, ProtobufCBinaryData key)
{
    struct error error = {0};
    struct farm farm = self->member->farm;
    memcpy(farm.signing_key, self->signing_key, SIGNING_KEY);
    bool learned = farm_learn_key(&farm, key.data, key.len, &error);
    if (learned && !farm_save(&farm, self->settings->state, &error))
        log_warn("%s", error.text);
    else if (!learned && error.text[0])
        log_error("%s", error.text);
    memcpy(self->signing_key, farm.signing_key, SIGNING_KEY);
}

/* What was on its way to be gone on with elsewhere: whether it came there is not known. */
static void return_halfway(struct device *self)
{
    for (size_t i = self->attempts.count; i-- > 0;) {
        struct attempt *attempt = self->attempts.item[i];
        if (!attempt->returns)
            continue;
        control_returned(self->link, &attempt, 1);
        attempts_remove(&self->attempts, attempt->epoch, attempt->counter);
    }
}

/* What failed while nobody could be told. */
static void tell_failures(struct device *self)
{
    for (size_t i = self->attempts.count; i-- > 0;) {
        struct attempt *attempt = self->attempts.item[i];
        if (attempt->failed && control_failed(self->link, attempt, attempt->failed))
            attempts_remove(&self->attempts, attempt->epoch, attempt->counter);
    }
}

static void on_greeted(struct device *self, const Farm__Welcome *welcome)
{
    learn_signing_key(self, welcome->signing_key);
    char *node = wire_string(welcome->node), *farm = wire_string(welcome->farm);
    char *bulk = farm_bulk_address(&self->member->farm, welcome->bulk_port);
    snprintf(self->node, sizeof self->node, "%s", node);
    device_about(self, NULL);
    log_info("connected to farm %s as %s", farm, node);
    self->greeted = true;
    self->heartbeat_ms = welcome->heartbeat_ms ? welcome->heartbeat_ms : HEARTBEAT_MS;
    self->next_heartbeat = 0; /* at once: it says what is still held here */
    io_connect(self->io, bulk);
    tell_whole_models(self);
    for (size_t i = 0; i < self->models.count; i++)
        self->models.item[i]->request = 0; /* the I/O actor asks again */
    self->credit = UINT32_MAX;
    self->received = 0;
    tell_failures(self);
    return_halfway(self);
    device_ask_tuning(self);
    free(bulk);
    free(farm);
    free(node);
}

void device_step_link(struct device *self)
{
    struct message message = {0};
    enum link_event event;
    if (!self->link)
        return;
    while ((event = link_step(self->link, clock_ms(), &message))) {
        if (event == LINK_GREETED)
            on_greeted(self, message.envelope->welcome);
        else if (event == LINK_MESSAGE)
            on_message(self, message.envelope);
        message_clear(&message);
    }
    struct error trouble;
    self->greeted = self->greeted && link_is_up(self->link);
    if (!link_trouble(self->link, &trouble)) {
        self->trouble[0] = 0;
    } else if (strcmp(trouble.text, self->trouble) != 0) {
        log_warn("%s", trouble.text);
        snprintf(self->trouble, sizeof self->trouble, "%s", trouble.text);
    }
}
