/* A worker as the coordinator knows workers: it greets, asks for what it has room for,
 * renders batch by batch, keeps results until they are acknowledged, and may die at any
 * moment, after which only its spool is left. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/table.h"
#include "tests/sim/spread.h"

enum {
    HEARTBEAT_MS = 2000,
    BACK_MS = 1500,
    UPLOAD_MS = 60,
    RETRY_MS = 3000,
    PNG = 100,
    WORK = 20 * 64 * 64, /* step-pixels of any task */
    READ_ONE_OF = 16
};

#define SEND(worker, field, name, body)                                                \
    do {                                                                               \
        Farm__Envelope envelope_ = FARM__ENVELOPE__INIT;                               \
        envelope_.request = 1;                                                         \
        envelope_.body_case = FARM__ENVELOPE__BODY_##name;                             \
        envelope_.field = body;                                                        \
        send_to_coordinator((worker)->connection, &envelope_);                         \
    } while (0)

static uint32_t number_of(const struct worker *worker)
{
    return (uint32_t)(worker - world->worker);
}

uint32_t worker_keyed(const uint8_t key[32])
{
    uint32_t number;
    memcpy(&number, key + 1, sizeof number);
    return number;
}

static bool is_connected(const struct worker *self)
{
    return self->alive && self->connection < world->connections &&
           world->connection[self->connection].open;
}

/* One of four leaves decoding to others. */
static bool hands_on(const struct worker *self)
{
    return !world->plan.plain && number_of(self) % 4 == 3;
}

static void greet(struct worker *self)
{
    uint8_t instance[16] = {1};
    memcpy(instance + 1, &self->life, sizeof self->life);
    Farm__Device device = FARM__DEVICE__INIT;
    device.name = wire_text("simulated");
    device.kind = wire_text(self->kind);
    device.hands_on = hands_on(self);
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.host = wire_text("host");
    hello.instance = wire_bytes(instance, sizeof instance);
    hello.program = wire_text("sim");
    hello.device = &device;
    hello.peer_address = wire_text("tcp://sim");
    hello.peer_port = world->plan.files ? SPREAD_PORT + number_of(self) : 0;
    self->greeted = false;
    self->connection = connect_peer(number_of(self), self->key);
    SEND(self, hello, HELLO, &hello);
}

static void heartbeat(struct worker *self)
{
    Farm__AttemptId id[2 * HELD_MOST];
    Farm__Progress progress[2 * HELD_MOST], *list[2 * HELD_MOST];
    size_t count = 0;
    for (size_t i = 0; i < self->holds + self->spooled; i++, count++) {
        const struct held *held =
            i < self->holds ? &self->held[i] : &self->spool[i - self->holds];
        farm__attempt_id__init(&id[count]);
        id[count].epoch = held->epoch;
        id[count].counter = held->counter;
        farm__progress__init(&progress[count]);
        progress[count].attempt = &id[count];
        progress[count].state =
            i >= self->holds  ? FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING
            : held->rendering ? FARM__ATTEMPT_STATE__ATTEMPT_RENDERING
                              : FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED;
        list[count] = &progress[count];
    }
    Farm__Heartbeat body = FARM__HEARTBEAT__INIT;
    body.progress = list;
    body.n_progress = count;
    SEND(self, heartbeat, HEARTBEAT, &body);
}

static void tell_ready(struct worker *self)
{
    uint32_t wanted = self->draining ? 0 : self->nearly ? 2 * self->batch : self->batch;
    uint32_t credit = wanted > self->holds ? wanted - (uint32_t)self->holds : 0;
    if (!self->greeted || credit == self->told)
        return;
    ProtobufCBinaryData models[MODELS];
    Farm__Ready ready = FARM__READY__INIT;
    ready.credit = self->told = credit;
    ready.received = self->received;
    ready.batch = self->batch;
    ready.models = models;
    for (unsigned m = 0; m < MODELS; m++)
        if (self->stored[m])
            models[ready.n_models++] = wire_bytes(world->model[m], 32);
    SEND(self, ready, READY, &ready);
}

static void start_batch(struct worker *self)
{
    size_t count = 0;
    double work = 0;
    for (size_t i = 0; i < self->holds; i++)
        if (self->held[i].rendering)
            return;
    for (size_t i = 0; i < self->holds && count < self->batch; i++)
        if (!count || memcmp(self->held[i].model, self->held[0].model, 32) == 0) {
            self->held[i].rendering = true;
            work += (double)self->held[i].work;
            count++;
        }
    if (!count)
        return;
    for (unsigned m = 0; m < MODELS; m++)
        if (memcmp(world->model[m], self->held[0].model, 32) == 0)
            self->stored[m] = 1;
    int64_t takes = (int64_t)(work / self->speed * 1000) + 1;
    self->nearly = false;
    happen(takes * 3 / 4, EVENT_NEARLY, number_of(self), self->life);
    happen(takes, EVENT_RENDERED, number_of(self), self->life);
}

static void drop(struct held *list, size_t *count, size_t at)
{
    memmove(&list[at], &list[at + 1], (--*count - at) * sizeof *list);
}

static void tell_failed(struct worker *self, const struct held *held,
                        enum error_kind kind)
{
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = held->epoch;
    id.counter = held->counter;
    Farm__Failed failed = FARM__FAILED__INIT;
    failed.attempt = &id;
    failed.kind = kind;
    failed.text = wire_text("it did not work");
    if (is_connected(self) && self->greeted)
        SEND(self, failed, FAILED, &failed);
}

void worker_lies(uint32_t number, uint64_t epoch, uint64_t counter, uint32_t holder)
{
    struct worker *self = &world->worker[number];
    const struct node *node =
        registry_node_numbered(&world->coordinator->registry, holder);
    if (!is_connected(self) || !self->greeted || memcmp(node->key, self->key, 32) == 0)
        return;
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = epoch;
    id.counter = counter;
    Farm__Failed failed = FARM__FAILED__INIT;
    failed.attempt = &id;
    failed.kind = ERROR_INPUT;
    failed.text = wire_text(LIE);
    SEND(self, failed, FAILED, &failed);
}

static void file_of(const struct held *held, uint8_t kind, uint8_t id[32])
{
    memcpy(id, held->key, 32);
    id[0] = kind;
}

static void commit(struct worker *self, const struct held *held)
{
    uint8_t png[32], latents[32];
    file_of(held, 1, png);
    file_of(held, 2, latents);
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = held->epoch;
    id.counter = held->counter;
    Farm__Result result = FARM__RESULT__INIT;
    result.png = wire_bytes(png, 32);
    result.png_size = PNG;
    if (held->latents) {
        result.latents = wire_bytes(latents, 32);
        result.latents_size = PNG;
    }
    result.pixels = wire_bytes(held->key, 32);
    result.seconds = (double)held->work / self->speed;
    result.step_pixels = held->work;
    result.at_once = self->batch;
    Farm__Commit body = FARM__COMMIT__INIT;
    body.attempt = &id;
    body.job = wire_bytes(held->job, 16);
    body.index = held->index;
    body.key = wire_bytes(held->key, 32);
    body.result = &result;
    SEND(self, commit, COMMIT, &body);
}

/* Uploads what is not up and commits; what cannot be now is tried again. */
static void upload(struct worker *self)
{
    if (!is_connected(self) || !self->greeted)
        return;
    bool all = true;
    for (size_t s = 0; s < self->spooled; s++) {
        struct held *held = &self->spool[s];
        uint8_t id[32];
        file_of(held, 1, id);
        bool ok = blob_upload(id, PNG);
        file_of(held, 2, id);
        ok = ok && (!held->latents || blob_upload(id, PNG));
        all = all && ok;
        if (ok && !held->uploaded)
            commit(self, held);
        held->uploaded = held->uploaded || ok;
    }
    if (!all)
        happen(RETRY_MS, EVENT_UPLOAD, number_of(self), self->life);
}

/* What another is to go on with is told, unless its file is not there; then it goes back. */
static void hand_on(struct worker *self, const struct held *held)
{
    uint8_t blob[32];
    file_of(held, held->latents ? 2 : 3, blob); /* all steps are done: the latents */
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT, *ids[] = {&id};
    id.epoch = held->epoch;
    id.counter = held->counter;
    Farm__Checkpoint checkpoint = FARM__CHECKPOINT__INIT;
    checkpoint.attempt = &id;
    checkpoint.step = 20;
    checkpoint.blob = wire_bytes(blob, 32);
    checkpoint.size = PNG;
    Farm__Returned returned = FARM__RETURNED__INIT;
    returned.attempts = ids;
    returned.n_attempts = 1;
    if (!is_connected(self) || !self->greeted)
        return;
    if (held->index % 10 != 7 && blob_upload(blob, PNG))
        SEND(self, checkpoint, CHECKPOINT, &checkpoint);
    SEND(self, returned, RETURNED, &returned);
}

static bool is_poisonous(const struct held *held)
{
    unsigned job = job_numbered(held->job);
    return job < JOBS_MOST && world->job[job].poisonous && held->index % 7 == 3;
}

static void rendered(struct worker *self)
{
    for (size_t i = 0; i < self->holds;) {
        struct held held = self->held[i];
        if (!held.rendering) {
            i++;
            continue;
        }
        drop(self->held, &self->holds, i);
        if (held.withdrawn)
            continue;
        if (is_poisonous(&held))
            tell_failed(self, &held, ERROR_INPUT);
        else if (chance_percent(world->healed ? 0 : self->faults_percent))
            tell_failed(self, &held, ERROR_DEVICE);
        else if (held.hand_on)
            hand_on(self, &held);
        else if (self->spooled < HELD_MOST)
            self->spool[self->spooled++] = held;
    }
    self->nearly = false;
    happen(world->plan.plain ? 1 : 1 + (int64_t)chance_below(UPLOAD_MS), EVENT_UPLOAD,
           number_of(self), self->life);
    start_batch(self);
    self->told = UINT32_MAX;
    tell_ready(self);
}

static void take_id(const Farm__AttemptId *id)
{
    uint64_t *key = malloc(16);
    if (!key)
        abort();
    key[0] = id->epoch;
    key[1] = id->counter;
    if (zhashx_insert(world->attempts, key, key) != 0) {
        broken("the attempt id %llu.%llu was given twice", (unsigned long long)key[0],
               (unsigned long long)key[1]);
        free(key);
    }
}

/* Of one in some: reading them costs as much as all else that an attempt takes. */
static void check_settings(const Farm__Attempt *attempt)
{
    struct task task;
    if (attempt->id->counter % READ_ONE_OF != 1)
        return;
    if (!task_unpack(&task, attempt->settings, attempt->n_settings, NULL) ||
        task.steps * task.width * task.height != WORK)
        broken("an attempt's settings are wrong");
    task_clear(&task);
}

static void take(struct worker *self, const Farm__Attempt *attempt)
{
    if (self->holds >= 2 * self->batch || self->holds == HELD_MOST) {
        broken("worker %u was given more than it has room for", number_of(self));
        return;
    }
    check_settings(attempt);
    struct held *held = &self->held[self->holds++];
    *held = (struct held){.epoch = attempt->id->epoch,
                          .counter = attempt->id->counter,
                          .index = attempt->index,
                          .work = WORK,
                          .latents = attempt->latents,
                          .hand_on = attempt->hand_on};
    memcpy(held->job, attempt->job.data, 16);
    memcpy(held->key, attempt->key.data, 32);
    memcpy(held->model, attempt->model.data, 32);
}

static void assigned(struct worker *self, const Farm__Assign *assign)
{
    for (size_t a = 0; a < assign->n_attempts; a++) {
        take_id(assign->attempts[a]->id);
        take(self, assign->attempts[a]);
    }
    self->received += assign->n_attempts;
    self->told = UINT32_MAX;
    start_batch(self);
    tell_ready(self);
}

static void withdrawn(struct worker *self, const Farm__Withdraw *withdraw)
{
    for (size_t a = 0; a < withdraw->n_attempts; a++)
        for (size_t i = 0; i < self->holds; i++) {
            struct held *held = &self->held[i];
            if (held->epoch != withdraw->attempts[a]->epoch ||
                held->counter != withdraw->attempts[a]->counter)
                continue;
            held->withdrawn = true;
            if (!held->rendering)
                drop(self->held, &self->holds, i--);
        }
    tell_ready(self);
}

static void committed(struct worker *self, const Farm__Committed *committed)
{
    for (size_t s = 0; s < self->spooled; s++) {
        struct held *held = &self->spool[s];
        if (held->epoch != committed->attempt->epoch ||
            held->counter != committed->attempt->counter)
            continue;
        promise_answer(self->key, held, committed->answer);
        if (committed->answer == FARM__COMMIT_ANSWER__COMMIT_RETRY) {
            held->uploaded = false;
            happen(RETRY_MS, EVENT_UPLOAD, number_of(self), self->life);
        } else {
            drop(self->spool, &self->spooled, s);
        }
        return;
    }
}

void worker_hears(uint32_t number, const Farm__Envelope *envelope)
{
    struct worker *self = &world->worker[number];
    if (spread_hears(number, envelope))
        return;
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_WELCOME:
        self->greeted = true;
        self->draining = false;
        self->received = 0;
        self->told = UINT32_MAX;
        for (size_t s = 0; s < self->spooled; s++)
            self->spool[s].uploaded = false;
        heartbeat(self);
        tell_ready(self);
        upload(self);
        spread_greeted(number);
        break;
    case FARM__ENVELOPE__BODY_ASSIGN:
        assigned(self, envelope->assign);
        break;
    case FARM__ENVELOPE__BODY_COMMITTED:
        committed(self, envelope->committed);
        break;
    case FARM__ENVELOPE__BODY_WITHDRAW:
        withdrawn(self, envelope->withdraw);
        break;
    case FARM__ENVELOPE__BODY_DRAIN:
        self->draining = !envelope->drain->over;
        tell_ready(self);
        break;
    case FARM__ENVELOPE__BODY_REFUSED:
        if (!self->greeted)
            cut(self->connection);
        break;
    default:
        break;
    }
}

void worker_says(uint32_t number, Farm__Envelope *envelope)
{
    const struct worker *self = &world->worker[number];
    if (is_connected(self) && self->greeted)
        send_to_coordinator(self->connection, envelope);
}

void worker_start(uint32_t number)
{
    struct worker *self = &world->worker[number];
    const struct plan *plan = &world->plan;
    self->alive = true;
    self->life++;
    self->holds = 0;
    self->connection = UINT32_MAX;
    if (self->speed <= 0) {
        self->speed = plan->speed[number];
        self->batch = plan->batch;
        self->kind = !plan->plain && chance_percent(30) ? "other" : "usual";
        for (unsigned m = 0; m < MODELS; m++)
            self->stored[m] = plan->plain || chance_percent(50);
        self->faults_percent = !plan->plain && chance_percent(15) ? 30 : 0;
    }
    if (plan->files)
        spread_start(number);
    happen(1 + (int64_t)chance_below(plan->plain ? 1 : BACK_MS), EVENT_TICK, number,
           self->life);
}

void worker_crash(uint32_t number)
{
    struct worker *self = &world->worker[number];
    cut(self->connection);
    spread_stop(number);
    self->alive = self->greeted = false;
    self->vanished = chance_percent(50);
    self->life++;
    self->holds = 0;
}

static void tick(struct worker *self)
{
    if (!is_connected(self) && world->coordinator)
        greet(self);
    else if (is_connected(self) && self->greeted)
        heartbeat(self);
    happen(HEARTBEAT_MS, EVENT_TICK, number_of(self), self->life);
}

void worker_event(const struct event *event)
{
    struct worker *self = &world->worker[event->who];
    if (!self->alive || event->stamp != self->life)
        return;
    if (event->kind == EVENT_TICK) {
        tick(self);
    } else if (event->kind == EVENT_NEARLY) {
        self->nearly = true;
        tell_ready(self);
    } else if (event->kind == EVENT_RENDERED) {
        rendered(self);
    } else {
        upload(self);
    }
}
