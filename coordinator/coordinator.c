/* One turn of the loop
 *
 *   messages, blobs, timers  ->  queue, registry, members change in memory
 *                                rows are added to this turn's change
 *                                answers and events are staged in the outbox
 *   end of the turn          ->  the change is handed to the store actor,
 *                                what was staged waits for its number
 *   the actor reports        ->  what waited goes out
 *
 * So everything anybody is told is on disk, and the loop itself waits for no disk. Assigns
 * go out at the turn's end: nothing is lost with a lease (assign.c).
 */
#include "coordinator/coordinator.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/assign.h"
#include "coordinator/handlers.h"
#include "coordinator/learned.h"
#include "coordinator/parked.h"

enum {
    BURST = 256,     /* messages of a turn, if they take no longer than TURN_US */
    TURN_US = 5000,  /* what was decided waits for the turn's end */
    BEHIND_US = 500, /* instead, while known credit waits */
    ASK_MS = 1000,   /* between asking for previews */
    TELL_MS = 100,   /* between progress events */
    SWEEP_MS = 2000, /* between looks for connections that are gone */
    LEARN_MS = 5000, /* between notes of speeds and usage */
    PATIENCE_MS = 1000,
    WEIGH_MS = 500, /* between looks at the memory in use */
    REBIND_MS = 5000,
};

_Noreturn void coordinator_lost(const struct error *error)
{
    log_error("a commit failed, ending: %s", error->text);
    _exit(EXIT_FAILURE);
}

/* What a peer's queue has no room for is dropped: a watcher is told Lost later. */
static void send_letter(void *context, const uint8_t peer[PEER_ID],
                        const uint8_t *packed, size_t size, int64_t since_us)
{
    struct coordinator *self = context;
    struct error error = {0};
    zframe_t *frame = zframe_new(peer, PEER_ID);
    bool sent = wire_send_packed(self->control, frame, packed, size, &error);
    zframe_destroy(&frame);
    if (sent && since_us)
        metrics_time(&self->metrics, METRICS_ASSIGN_S,
                     (double)(clock_us() - since_us) * 1e-6);
    if (sent)
        return;
    struct session *session = registry_session(&self->registry, peer);
    if (error.kind == ERROR_UNREACHABLE && session)
        session_end(self, &session);
    else
        events_stalled(self->events, peer);
}

static void take_reports(struct coordinator *self, bool wait)
{
    struct error error = {0};
    if (!store_actor_durable(self->scribe, wait, &self->durable, &error))
        coordinator_lost(&error);
    if (self->timed_us && self->durable >= self->timed) {
        metrics_time(&self->metrics, METRICS_COMMIT_S,
                     (double)(clock_us() - self->timed_us) * 1e-6);
        self->timed_us = 0;
    }
    recent_durable(&self->recent, self->durable);
    outbox_release(self->outbox, self->durable, send_letter, self);
}

void coordinator_hand_over(struct coordinator *self, bool wait)
{
    if (!change_is_empty(self->change)) {
        self->change->sync = audit_take_unsynced(self->audit);
        self->handed = store_actor_commit(self->scribe, &self->change);
        if (self->timed <= self->durable) { /* one at a time is measured */
            self->timed = self->handed;
            self->timed_us = clock_us();
        }
        self->change = change_new();
    }
    outbox_stamp(self->outbox, self->handed);
    take_reports(self, wait);
}

static void receive(struct coordinator *self)
{
    int64_t until = clock_us() + (self->behind ? BEHIND_US : TURN_US);
    for (int m = 0; m < BURST && clock_us() <= until; m++) {
        struct message message;
        struct error error = {0};
        bool ok = wire_receive(self->control, WIRE_CONTROL_LIMIT, &message, &error);
        if (ok || error.kind == ERROR_INPUT)
            handlers_take(self, &message, &error);
        else
            m = BURST;
        message_clear(&message);
    }
}

static void take_blobs(struct coordinator *self)
{
    uint8_t id[BLOB_ID];
    uint64_t ticket;
    while (depot_stored(self->depot, id)) {
        synced_add(&self->synced, id);
        models_blob_came(self, id);
    }
    while (depot_imported(self->depot, &ticket))
        models_imported(self, ticket);
}

bool coordinator_is_synced(struct coordinator *self, const uint8_t id[BLOB_ID])
{
    if (!synced_has(&self->synced, id))
        take_blobs(self); /* it may have come during this turn */
    return synced_has(&self->synced, id);
}

/* Half a message of endless parts is libzmq's and ours to see only as memory: it goes with
 * the socket. All members connect again; what they were not answered they ask again. */
static void open_anew(struct coordinator *self)
{
    struct error error = {0};
    log_error("%llu MiB of memory are in use, %lld are allowed: all connections are "
              "closed once",
              (unsigned long long)(limits_memory() >> 20),
              (long long)self->settings->memory_mib);
    zlistx_t *sessions = zhashx_values(self->registry.sessions);
    for (struct session *s = zlistx_first(sessions); s; s = zlistx_next(sessions))
        session_end(self, &s);
    zlistx_destroy(&sessions);
    limits_door_clear(&self->door);
    zsock_destroy(&self->control);
    depot_open_anew(self->depot);
    for (int64_t until = clock_ms() + REBIND_MS; !self->control;) {
        if (!coordinator_open_control(self, &error) && clock_ms() > until)
            coordinator_lost(&error);
        if (!self->control)
            zclock_sleep(20); /* libzmq gives the port back some moments later */
    }
    malloc_trim(0);
}

static void mind_limits(struct coordinator *self)
{
    uint64_t most = (uint64_t)self->settings->memory_mib << 20;
    if (!self->control) /* played by a test */
        return;
    limits_mind(&self->door, self->control, self->now);
    if (!most || self->now - self->weighed < WEIGH_MS)
        return;
    self->weighed = self->now;
    if (limits_memory() > most)
        open_anew(self);
}

static bool is_in_use(struct coordinator *self)
{
    if (!TAILQ_EMPTY(&self->queue->open))
        return true;
    for (struct session *s = zhashx_first(self->registry.sessions); s;
         s = zhashx_next(self->registry.sessions)) {
        const struct member *member = members_find(&self->members, s->key);
        if (member && member->role != FARM__ROLE__ROLE_WORKER)
            return true;
    }
    return false;
}

static void now_and_then(struct coordinator *self)
{
    work_expire(self);
    mind_limits(self);
    garbage_take(self);
    if (self->now - self->told >= TELL_MS) {
        self->told = self->now;
        tell_changed_nodes(self);
    }
    if (self->now - self->asked >= ASK_MS) {
        self->asked = self->now;
        tell_preview_asks(self);
    }
    if (self->now - self->swept >= SWEEP_MS) {
        self->swept = self->now;
        members_sweep(self);
        checkpoints_sweep(self);
        if (is_in_use(self))
            self->idle_since = self->now;
    }
    if (self->now - self->learned >= LEARN_MS) {
        self->learned = self->now;
        learned_store(self);
    }
    int64_t idle_s = self->settings->exit_when_idle_s;
    if (idle_s && self->now - self->idle_since >= idle_s * 1000 && !is_in_use(self)) {
        log_info("nobody was here for %lld s: ending", (long long)idle_s);
        self->stopping = true;
    }
}

static bool nodes_changed(const struct coordinator *self)
{
    for (size_t n = 0; n < self->registry.count; n++)
        if (self->registry.node[n]->changed)
            return true;
    return false;
}

long coordinator_patience(const struct coordinator *self)
{
    int64_t left = parked_is_due(self) ? 0 : PATIENCE_MS, now = clock_ms();
    int64_t expiry = queue_next_expiry(self->queue);
    if (expiry != INT64_MAX && expiry - now < left)
        left = expiry - now;
    int look = assign_patience(self);
    if (look >= 0 && look < left)
        left = look;
    if (left > TELL_MS && nodes_changed(self))
        left = TELL_MS;
    return left < 0 ? 0 : (long)left;
}

void coordinator_end_turn(struct coordinator *self)
{
    assign_all(self);
    work_close_jobs(self);
    events_deliver(self->events);
    coordinator_hand_over(self, false);
}

void coordinator_turn(struct coordinator *self)
{
    self->began_us = clock_us();
    self->now = clock_ms();
    take_reports(self, false);
    take_blobs(self);
    while (parked_take(self))
        ;
    receive(self);
    now_and_then(self);
    coordinator_end_turn(self);
    metrics_time(&self->metrics, METRICS_TURN_S,
                 (double)(clock_us() - self->began_us) * 1e-6);
}

bool coordinator_run(struct coordinator *self, struct error *error)
{
    zmq_pollitem_t items[] = {
        {zsock_resolve(self->control), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(store_actor_socket(self->scribe)), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(depot_socket(self->depot)), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(depot_imports(self->depot)), 0, ZMQ_POLLIN, 0},
        {NULL, self->signals, ZMQ_POLLIN, 0},
    };
    self->idle_since = clock_ms();
    while (!self->stopping) {
        items[0].socket = zsock_resolve(self->control);
        if (zmq_poll(items, 5, coordinator_patience(self)) < 0 && errno != EINTR)
            return error_set(error, "polling: %s", zmq_strerror(errno));
        if (items[4].revents & ZMQ_POLLIN) {
            log_info("asked to stop");
            self->stopping = true;
        }
        coordinator_turn(self);
    }
    learned_store(self);
    coordinator_hand_over(self, true);
    return true;
}
