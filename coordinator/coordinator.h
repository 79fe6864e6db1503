/* The coordinator: its state, and the loop that alone changes it.
 *
 * Only main.c, and the files that are parts of the loop (load, handlers, work, assign,
 * tell), see inside.
 */
#ifndef FARM_COORDINATOR_H
#define FARM_COORDINATOR_H

#include "config/settings.h"
#include "coordinator/audit.h"
#include "coordinator/checkpoints.h"
#include "coordinator/deny.h"
#include "coordinator/depot.h"
#include "coordinator/events.h"
#include "coordinator/jobs.h"
#include "coordinator/limits.h"
#include "coordinator/members.h"
#include "coordinator/metrics.h"
#include "coordinator/models.h"
#include "coordinator/outbox.h"
#include "coordinator/recent.h"
#include "coordinator/registry.h"
#include "coordinator/store.h"
#include "coordinator/synced.h"
#include "proto/gate.h"
#include "proto/signing.h"
#include "proto/wire.h"

struct import;
struct parked;
struct swarm;
struct janitor;

struct coordinator {
    const struct coordinator_settings *settings;
    char *state;                    /* folder */
    int lock, blob_folder, signals; /* descriptors */
    char farm[64];
    struct keypair server;
    struct signer signer;
    uint64_t epoch;
    int port, bulk_port;

    struct store *store; /* reads */
    struct store_actor *scribe;
    struct gate *gate;
    struct blob_store *blobs;
    struct depot *depot;
    struct janitor *janitor;
    zsock_t *control;
    struct limits_door door;
    struct audit *audit;
    struct deny *deny; /* NULL: no list is on */

    struct queue *queue;
    struct registry registry;
    struct members members;
    struct models models;
    struct recent recent;
    struct checkpoints checkpoints;
    struct synced synced;
    struct swarm *swarm;
    struct shares shares;
    struct metrics metrics;
    struct events *events;
    struct outbox *outbox;

    struct change *change;    /* of this turn */
    struct parked *parked;    /* requests that wait for what is not on disk yet */
    uint64_t handed, durable; /* numbers of changes */
    uint64_t timed;           /* the change whose way to the disk is being measured */
    int64_t timed_us;
    int64_t last_job, last_result;
    uint8_t admin_token[32]; /* the key of STATE/admin.token, zeros without one */
    struct import *imports;  /* ModelAdds that wait for local files */
    uint64_t tickets;

    int64_t now, began_us; /* clock_ms() and clock_us() at the start of the turn */
    int64_t swept, asked, told, learned, idle_since, weighed;
    uint64_t served;   /* how often a node was looked after */
    bool twins_wait;   /* nodes are idle while others work */
    size_t twins_from; /* which of them looks next */
    size_t serve_from; /* which node is served first */
    bool match;        /* credit or work came: look whether they meet */
    bool behind;       /* the last turn's end did not get through with that */
    bool stopping;
};

/* Takes the state folder, starts everything and binds. ERROR_BUSY when another
 * coordinator has the folder or a port is taken. The settings are borrowed. */
struct coordinator *coordinator_new(const struct coordinator_settings *settings,
                                    struct error *error);
void coordinator_destroy(struct coordinator **self);

/* Until SIGTERM, SIGINT or idleness; false when a commit failed. */
bool coordinator_run(struct coordinator *self, struct error *error);

/* One turn of the loop, and how many milliseconds the next one may wait when nothing
 * comes. */
void coordinator_turn(struct coordinator *self);
long coordinator_patience(const struct coordinator *self);

/* The full check of a state folder nobody uses: database, blobs it names, audit. */
bool coordinator_check(const struct coordinator_settings *settings,
                       struct error *error);

/* What follows the messages of a turn: tasks go out, jobs end, watchers are told, and what
 * changed is handed over. */
void coordinator_end_turn(struct coordinator *self);

/* Hands this turn's change over and stamps what was sent; with `wait`, until durable. */
void coordinator_hand_over(struct coordinator *self, bool wait);

/* The control port, open for members. */
bool coordinator_open_control(struct coordinator *self, struct error *error);

/* Whether the depot said that the blob is on disk: then a row may name it as it is. */
bool coordinator_is_synced(struct coordinator *self, const uint8_t id[BLOB_ID]);

/* garbage.c: what the janitor found goes, or is set aside. */
void garbage_start(struct coordinator *self);
void garbage_take(struct coordinator *self);

/* Removes the file, unless a row of the database, one on its way there, a model or a
 * checkpoint names it. */
void garbage_remove(struct coordinator *self, const uint8_t id[BLOB_ID]);

/* A database that cannot be written is the end: nothing said since may be trusted. */
_Noreturn void coordinator_lost(const struct error *error);

#endif
