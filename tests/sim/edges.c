/* The real coordinator between a made-up clock, network and disk. The linker puts these
 * functions in place of the ones they are named after (--wrap): all else is the program's
 * own code, from the message that comes to the row that is written.
 */
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/handlers.h"
#include "coordinator/load.h"
#include "coordinator/parked.h"
#include "coordinator/swarm.h"
#include "coordinator/table.h"
#include "tests/sim/spread.h"

enum { SLOW_COMMIT_MS = 300, RESTART_MS = 4000, UNIX_START = 1700000000 };

int64_t __wrap_clock_ms(void);
int64_t __wrap_clock_us(void);
int64_t __wrap_clock_unix(void);
bool __wrap_wire_receive(zsock_t *socket, size_t limit, struct message *into,
                         struct error *error);
bool __wrap_wire_send(zsock_t *socket, zframe_t *peer, const Farm__Envelope *envelope,
                      const void *payload, size_t size, struct error *error);
bool __wrap_wire_send_packed(zsock_t *socket, zframe_t *peer, const void *packed,
                             size_t size, struct error *error);
uint64_t __wrap_store_actor_commit(struct store_actor *self, struct change **change);
bool __wrap_store_actor_durable(struct store_actor *self, bool wait, uint64_t *number,
                                struct error *error);
uint64_t __wrap_depot_free_space(const char *folder);
bool __wrap_depot_stored(struct depot *self, uint8_t id[BLOB_ID]);
bool __wrap_depot_imported(struct depot *self, uint64_t *ticket);
void __wrap_depot_named(struct depot *self, const uint8_t id[BLOB_ID]);
void __wrap_audit_write(struct audit *self, const char *format, ...);
int __wrap_audit_take_unsynced(struct audit *self);
void __wrap_signer_sign(const struct signer *self, const char *purpose,
                        const void *data, size_t size,
                        uint8_t signature[SIGNING_SIGNATURE]);

int64_t __wrap_clock_ms(void)
{
    return world->now;
}

int64_t __wrap_clock_us(void)
{
    return world->now * 1000;
}

int64_t __wrap_clock_unix(void)
{
    return UNIX_START + world->now / 1000 + world->unix_offset_s;
}

/* ---- network */

static uint32_t number_of(const uint8_t peer[PEER_ID])
{
    uint32_t number;
    memcpy(&number, peer + 1, sizeof number);
    return number;
}

bool __wrap_wire_receive(zsock_t *socket, size_t limit, struct message *into,
                         struct error *error)
{
    (void)limit;
    *into = (struct message){0};
    if (socket)
        return links_receive(spread_server(socket), into) ||
               error_set_kind(error, ERROR_BUSY, "nothing waits");
    struct event *event = zlistx_detach(world->inbox, NULL);
    if (!event) {
        error_set_kind(error, ERROR_BUSY, "nothing waits");
        return false;
    }
    uint8_t peer[PEER_ID] = {0};
    memcpy(peer + 1, &event->who, sizeof event->who);
    into->peer = zframe_new(peer, PEER_ID);
    memcpy(into->key, world->connection[event->who].key, 32);
    into->envelope = wire_unpack(event->data, event->size, error);
    free(event->data);
    free(event);
    return into->envelope != NULL;
}

bool __wrap_wire_send_packed(zsock_t *socket, zframe_t *peer, const void *packed,
                             size_t size, struct error *error)
{
    (void)socket;
    promise_assign(packed, size);
    return send_to_peer(number_of(zframe_data(peer)), packed, size) ||
           error_set_kind(error, ERROR_UNREACHABLE, "the peer is gone");
}

bool __wrap_wire_send(zsock_t *socket, zframe_t *peer, const Farm__Envelope *envelope,
                      const void *payload, size_t size, struct error *error)
{
    if (socket)
        return links_answer(spread_server(socket), peer, envelope, payload, size,
                            error);
    size_t length;
    uint8_t *packed = wire_pack(&envelope->base, &length);
    bool sent = __wrap_wire_send_packed(socket, peer, packed, length, error);
    free(packed);
    return sent;
}

void coordinator_take(struct event *event)
{
    if (!world->coordinator || !world->connection[event->who].open)
        return;
    struct event *copy = malloc(sizeof *copy);
    if (!copy)
        abort();
    *copy = *event;
    event->data = NULL;
    zlistx_add_end(world->inbox, copy);
    if (world->turn_at >
        world->now) { /* one turn for all that comes in a millisecond */
        world->turn_at = world->now;
        happen(0, EVENT_TURN, 0, world->life);
    }
}

/* ---- disk */

uint64_t __wrap_depot_free_space(const char *folder)
{
    (void)folder;
    return world->disk_full ? 0 : UINT64_MAX / 2;
}

/* A commit takes all that queued so far, and some time. */
static void disk_start(void)
{
    if (world->disk_busy || !world->queued_count)
        return;
    world->disk_busy = true;
    world->committing = world->queued_count;
    for (struct blob *b = zlistx_first(world->unsynced); b;
         b = zlistx_next(world->unsynced))
        b->old = true;
    int64_t takes = world->plan.plain
                        ? 1
                        : 1 + (int64_t)chance_below((uint64_t)world->plan.commit_ms);
    if (!world->plan.plain && chance_percent(3))
        takes += (int64_t)chance_below(SLOW_COMMIT_MS);
    if (world->power_fails && takes > world->plan.commit_ms) {
        world->power_fails = false;
        happen(takes - 1, EVENT_POWER, 0, world->life);
    }
    happen(takes, EVENT_DISK, 0, world->life);
}

uint64_t __wrap_store_actor_commit(struct store_actor *self, struct change **change)
{
    (void)self;
    world->queued =
        realloc(world->queued, (world->queued_count + 1) * sizeof *world->queued);
    if (!world->queued)
        abort();
    world->queued[world->queued_count++] = *change;
    *change = NULL;
    disk_start();
    return world->committed + world->queued_count;
}

static void sync_blobs(void)
{
    size_t count = zlistx_size(world->unsynced);
    for (size_t i = 0; i < count; i++) {
        struct blob *blob = zlistx_detach(world->unsynced, NULL);
        blob->durable = blob->old;
        if (!blob->durable)
            zlistx_add_end(world->unsynced, blob);
    }
}

/* What is in the group is on disk. */
static void commit_group(void)
{
    struct error error = {0};
    size_t count = world->committing;
    bool blobs = false;
    for (size_t c = 0; c < count; c++)
        blobs = blobs || world->queued[c]->blobs;
    if (blobs)
        sync_blobs();
    if (!store_apply(world->store, world->queued, count, &error))
        broken("a row does not fit the tables: %s", error.text);
    for (size_t c = 0; c < count; c++)
        change_destroy(&world->queued[c]);
    world->queued_count -= count;
    memmove(world->queued, world->queued + count,
            world->queued_count * sizeof *world->queued);
    world->committed += count;
    world->committing = 0;
}

void disk_done(void)
{
    world->disk_busy = false;
    if (world->disk_full && chance_percent(30)) {
        coordinator_down(false); /* a commit failed: the process ends */
        return;
    }
    commit_group();
    disk_start();
    coordinator_turn_now();
}

bool __wrap_store_actor_durable(struct store_actor *self, bool wait, uint64_t *number,
                                struct error *error)
{
    (void)self;
    (void)error;
    while (wait && world->queued_count) {
        world->committing = world->queued_count;
        commit_group();
    }
    *number = world->committed;
    return true;
}

bool __wrap_depot_stored(struct depot *self, uint8_t id[BLOB_ID])
{
    (void)self;
    const struct blob *blob = zlistx_detach(world->stored, NULL);
    if (blob)
        memcpy(id, blob->id, BLOB_ID);
    return blob != NULL;
}

/* ---- what is not simulated */

void __wrap_depot_named(struct depot *self, const uint8_t id[BLOB_ID])
{
    (void)self;
    (void)id;
}

bool __wrap_depot_imported(struct depot *self, uint64_t *ticket)
{
    (void)self;
    (void)ticket;
    return false;
}

void __wrap_audit_write(struct audit *self, const char *format, ...)
{
    (void)self;
    (void)format;
}

int __wrap_audit_take_unsynced(struct audit *self)
{
    (void)self;
    return -1;
}

void __wrap_signer_sign(const struct signer *self, const char *purpose,
                        const void *data, size_t size,
                        uint8_t signature[SIGNING_SIGNATURE])
{
    (void)self;
    (void)purpose;
    (void)data;
    (void)size;
    memset(signature, 0, SIGNING_SIGNATURE);
}

/* ---- up and down */

static void add_key(struct change *change, const uint8_t key[32], Farm__Role role,
                    const char *name)
{
    struct key_row row = {
        .role = (int)role, .name = name, .created = 1, .greeted = true};
    memcpy(row.public_key, key, 32);
    change_key(change, &row);
}

static void add_model(struct change *change, unsigned number)
{
    uint8_t blob[32] = {(uint8_t)(1 + number)};
    ProtobufCBinaryData piece = wire_bytes(blob, 32);
    Farm__ModelFile file = FARM__MODEL_FILE__INIT, *files[] = {&file};
    file.path = wire_text("model.bin");
    file.size = 1;
    file.blob = file.sha256 = piece;
    file.pieces = &piece;
    file.n_pieces = 1;
    char name[16];
    snprintf(name, sizeof name, "model%u", number);
    Farm__Manifest manifest = FARM__MANIFEST__INIT;
    manifest.name = wire_text(name);
    manifest.kind = wire_text("diffusers");
    manifest.family = wire_text("sd1");
    manifest.files = files;
    manifest.n_files = 1;
    manifest.factor = 8;
    manifest.width = manifest.height = 64;
    struct models models;
    models_init(&models);
    memcpy(world->model[number], models_add(&models, &manifest, name, true, 1)->id, 32);
    models_clear(&models);
    uint8_t *packed = wire_pack(&manifest.base, &(size_t){0});
    struct model_row row = {.name = name,
                            .manifest = packed,
                            .manifest_size = farm__manifest__get_packed_size(&manifest),
                            .complete = true,
                            .added = 1 + (int64_t)number};
    memcpy(row.id, world->model[number], 32);
    change_model(change, &row);
    free(packed);
}

/* The disk as it is when the farm was joined by everybody and has its models. */
static void furnish(void)
{
    struct change *change = change_new();
    struct error error = {0};
    world->store = store_open(":memory:", false, &error);
    for (uint32_t w = 0; w < WORKERS_MOST; w++) {
        char name[16];
        snprintf(name, sizeof name, "worker%u", w);
        world->worker[w].key[0] = 1;
        memcpy(world->worker[w].key + 1, &w, sizeof w);
        if (w < world->plan.workers)
            add_key(change, world->worker[w].key, FARM__ROLE__ROLE_WORKER, name);
    }
    for (uint32_t c = 0; c < SUBMITTERS; c++) {
        char name[16];
        snprintf(name, sizeof name, "client%u", c);
        world->client[c].key[0] = 2;
        world->client[c].key[1] = (uint8_t)c;
        world->client[c].connection = UINT32_MAX;
        add_key(change, world->client[c].key, FARM__ROLE__ROLE_SUBMIT, name);
    }
    for (unsigned m = 0; m < MODELS; m++)
        add_model(change, m);
    if (world->plan.files)
        spread_furnish(change);
    if (!world->store || !store_apply(world->store, &change, 1, &error))
        broken("the disk cannot be furnished: %s", error.text);
    change_destroy(&change);
}

void coordinator_up(void)
{
    if (!world->store)
        furnish();
    world->settings = (struct coordinator_settings){.heartbeat_ms = 2000,
                                                    .suspect_ms = 6000,
                                                    .lease_ms = 30000,
                                                    .safety_checker = "",
                                                    .reserve_mib = 100};
    struct coordinator *self = calloc(1, sizeof *self);
    struct error error = {0};
    if (!self)
        abort();
    self->settings = &world->settings;
    self->now = world->now;
    registry_init(&self->registry, world->settings.suspect_ms);
    members_init(&self->members);
    models_init(&self->models);
    recent_init(&self->recent);
    checkpoints_init(&self->checkpoints);
    synced_init(&self->synced);
    shares_init(&self->shares);
    self->swarm = swarm_new();
    self->events = events_new(tell_event, tell_snapshot, self);
    self->outbox = outbox_new();
    self->parked = parked_new();
    self->change = change_new();
    self->store = world->store;
    world->life++;
    world->starts++;
    world->committed = 0;
    bool ok = store_begin(self->store, __wrap_clock_unix(), &self->epoch, &error);
    self->queue = queue_new(self->epoch, world->settings.lease_ms);
    if (!ok || !load_all(self, &error))
        broken("the coordinator does not come up: %s", error.text);
    world->coordinator = self;
    check_disk(false);
    world->turn_at = world->now;
    happen(0, EVENT_TURN, 0, world->life);
}

static void forget_unsynced(void)
{
    size_t count = zlistx_size(world->unsynced);
    for (size_t i = 0; i < count; i++) {
        struct blob *blob = zlistx_detach(world->unsynced, NULL);
        if (chance_percent(50)) {
            zlistx_add_end(world->unsynced, blob);
            continue;
        }
        zhashx_delete(world->blobs, blob->id);
        free(blob);
    }
}

static void destroy(struct coordinator *self)
{
    for (struct queue_job *job = zhashx_first(self->queue->jobs); job;
         job = zhashx_next(self->queue->jobs)) {
        struct job *own = job->tag;
        job_destroy(&own);
    }
    queue_destroy(&self->queue);
    registry_clear(&self->registry);
    members_clear(&self->members);
    models_clear(&self->models);
    recent_clear(&self->recent);
    checkpoints_clear(&self->checkpoints);
    synced_clear(&self->synced);
    shares_clear(&self->shares);
    swarm_destroy(&self->swarm);
    events_destroy(&self->events);
    outbox_destroy(&self->outbox);
    parked_destroy(&self->parked);
    change_destroy(&self->change);
    free(self);
}

void coordinator_down(bool power)
{
    if (!world->coordinator)
        return;
    if (world->disk_busy && chance_percent(50))
        commit_group(); /* it reached the disk, nobody heard of it */
    for (size_t c = 0; c < world->queued_count; c++)
        change_destroy(&world->queued[c]);
    world->queued_count = world->committing = 0;
    world->disk_busy = false;
    if (power)
        forget_unsynced();
    for (struct event *e = zlistx_detach(world->inbox, NULL); e;
         e = zlistx_detach(world->inbox, NULL)) {
        free(e->data);
        free(e);
    }
    zlistx_purge(world->stored);
    for (uint32_t n = 0; n < world->connections; n++)
        world->connection[n].open = false;
    links_lose_depot();
    destroy(world->coordinator);
    world->coordinator = NULL;
    world->life++;
    happen(100 + (int64_t)chance_below(RESTART_MS), EVENT_RESTART, 0, 0);
}

void coordinator_turn_now(void)
{
    coordinator_turn(world->coordinator);
    while (zlistx_size(world->inbox))
        coordinator_turn(world->coordinator);
    int64_t next = coordinator_patience(world->coordinator);
    world->turn_at = world->now + (next > 0 ? next : 1);
    happen(world->turn_at - world->now, EVENT_TURN, 0, world->life);
}
