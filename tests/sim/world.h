/* A farm in one thread under one seed: time, chance, what will happen, the network and the
 * disk. The coordinator is the real one down to its edges (edges.c); workers and clients
 * are made up, but keep to the protocol. The same seed gives the same run to the last event.
 */
#ifndef FARM_WORLD_H
#define FARM_WORLD_H

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/coordinator.h"

#define LIE "a stranger says so"

enum { WORKERS_MOST = 512, JOBS_MOST = 32, SUBMITTERS = 2, MODELS = 2, HELD_MOST = 64 };

enum event_kind {
    EVENT_TURN, /* the coordinator's loop */
    EVENT_TO_COORDINATOR,
    EVENT_TO_PEER,
    EVENT_DISK, /* a commit ends */
    EVENT_RESTART,
    EVENT_POWER,    /* it goes while a commit is under way */
    EVENT_TICK,     /* a worker's or client's timer */
    EVENT_NEARLY,   /* a batch is past three quarters */
    EVENT_RENDERED, /* a batch ends */
    EVENT_UPLOAD,   /* a result may go up */
    EVENT_FETCH,    /* a worker looks after the model on its way */
    EVENT_WANT,     /* a range is asked for, or comes, on a link of links.c */
    EVENT_RANGE,
    EVENT_LINE, /* a line is free again */
    EVENT_MISFORTUNE,
    EVENT_CHECK,
};

struct event {
    int64_t at;
    uint64_t order;
    enum event_kind kind;
    uint32_t who;   /* worker, client or connection */
    uint64_t stamp; /* of who's life: an older one's events are void */
    uint8_t *data;  /* heap: a packed envelope */
    size_t size;
};

/* One TCP connection. Peers 0 ... are workers, WORKERS_MOST ... clients. */
struct connection {
    bool open;
    uint32_t peer;
    uint8_t key[32];
    int64_t there, back; /* when the last message of each way arrives: order is kept */
    int64_t held_until;  /* the network is cut so long */
};

/* An attempt that a worker holds, or its result in the spool. */
/* A file in the coordinator's folder. */
struct blob {
    uint8_t id[32];
    uint64_t size;
    bool durable, old; /* old: there when the commit under way began */
};

struct held {
    uint64_t epoch, counter, index, work;
    uint8_t job[16], key[32], model[32];
    bool latents, withdrawn, rendering, hand_on;
    bool uploaded;
};

struct worker {
    uint8_t key[32];
    double speed; /* step-pixels per second */
    uint32_t batch, room;
    unsigned faults_percent; /* of its renderings */
    const char *kind;        /* of its device */
    bool alive, dead, greeted, draining, nearly;
    bool vanished; /* when it died nobody heard of it */
    uint64_t life; /* counts starts */
    uint32_t connection;
    uint64_t received;
    uint32_t told; /* credit */
    struct held held[HELD_MOST], spool[HELD_MOST];
    size_t holds, spooled;
    uint64_t stored[4 * MODELS]; /* models that are here: 1 */
};

enum job_stage { JOB_PLANNED, JOB_SENT, JOB_ACCEPTED, JOB_CANCELING, JOB_CANCELED };

struct sim_job {
    uint8_t id[16];
    uint8_t *packed; /* Farm__Submit */
    size_t size;
    uint64_t tasks, acked;
    uint8_t *answered; /* of each task: how often ACCEPTED */
    int64_t at, cancel_at, ended_at, accepted_at;
    int64_t pause_at; /* for a minute */
    bool resumed;
    enum job_stage stage;
    bool latents, poisonous, same_kind, on_disk;
    const char *kind; /* of the devices that its results are of; NULL: none yet */
};

struct client {
    uint8_t key[32];
    uint32_t connection;
    bool greeted;
    uint64_t life;
};

struct plan {
    unsigned workers, jobs;
    uint64_t tasks;      /* of all jobs at most */
    double misfortune_s; /* between two on average; 0: none */
    int64_t storm_ms;    /* misfortunes end then */
    int64_t commit_ms;   /* a commit takes less, but for slow ones */
    double speed[WORKERS_MOST];
    uint32_t batch;
    bool plain;              /* one job, no overlap, equal speeds as given */
    size_t files, file_size; /* of a model that all workers want; 0: none */
    double line;             /* bytes a second of each one's line, each way */
    bool slow;               /* a file takes longer than a quick link may be silent */
    bool even;  /* jobs have as many tasks as each other, all that are planned */
    bool alike; /* jobs ask for the same pictures, and most are canceled */
};

struct world {
    uint64_t seed, random[4];
    struct plan plan;
    int64_t now, unix_offset_s;
    struct event *heap;
    size_t events, room;
    uint64_t orders, handled;
    uint64_t course; /* digest of the events so far */
    int64_t turn_at; /* of the EVENT_TURN that counts */

    struct connection *connection;
    uint32_t connections;

    struct store *store; /* what is on the disk */
    zhashx_t *blobs;     /* struct blob: files that are there */
    zlistx_t *unsynced;  /* of these, what is not durable yet */
    zlistx_t
        *stored; /* of these, what the depot synced and the loop has not heard of */
    struct change **queued;
    size_t queued_count, committing;
    uint64_t committed;
    bool disk_busy, disk_full, power_fails;
    uint64_t life; /* of the coordinator */
    zlistx_t *inbox;

    struct coordinator *coordinator; /* NULL: it is down */
    unsigned starts;                 /* of it */
    struct coordinator_settings settings;

    struct worker worker[WORKERS_MOST];
    struct client client[SUBMITTERS];
    uint8_t model[MODELS][32];
    struct sim_job job[JOBS_MOST];
    unsigned jobs_on_disk; /* that were seen there */
    zhashx_t *attempts;    /* every id ever given */
    uint64_t depot_sent;   /* bytes of that model */
    bool healed;           /* no more misfortunes */
    char *wrong;           /* the first broken promise */
};
extern struct world *world;

/* world.c: time and chance */
uint64_t chance(void);
uint64_t chance_below(uint64_t most);
double chance_real(void);
bool chance_percent(unsigned percent);
void happen(int64_t in_ms, enum event_kind kind, uint32_t who, uint64_t stamp);
void happen_with(int64_t at, enum event_kind kind, uint32_t who, uint8_t *data,
                 size_t size);
void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
void world_run(struct world *self, int64_t until);
void world_open(struct world *self, uint64_t seed, const struct plan *plan);
void world_close(struct world *self);

/* network.c */
uint32_t connect_peer(uint32_t peer, const uint8_t key[32]);
void cut(uint32_t connection);
void send_to_coordinator(uint32_t connection, Farm__Envelope *envelope);
bool send_to_peer(uint32_t connection, const void *packed, size_t size);
void deliver_to_peer(const struct event *event);

/* edges.c: the coordinator's */
void coordinator_up(void);
void coordinator_down(bool power);
void coordinator_turn_now(void);
void coordinator_take(struct event *event);
void disk_done(void);

/* files.c */
bool blob_upload(const uint8_t id[32], uint64_t size);
bool blob_is_there(const uint8_t id[32]);

/* worker.c */
void worker_start(uint32_t number);
uint32_t worker_keyed(const uint8_t key[32]);
void worker_crash(uint32_t number);
void worker_lies(uint32_t number, uint64_t epoch, uint64_t counter, uint32_t holder);
void worker_hears(uint32_t number, const Farm__Envelope *envelope);
void worker_event(const struct event *event);
void worker_says(uint32_t number, Farm__Envelope *envelope);

/* client.c */
void client_plan(void);
void client_tick(uint32_t number);
void client_hears(uint32_t number, const Farm__Envelope *envelope);

/* misfortune.c, promises.c */
void misfortune(void);
void heal(void);
void promise_assign(const void *packed, size_t size);
void promise_answer(const uint8_t worker[32], const struct held *held,
                    Farm__CommitAnswer answer);
void check_queue(void);
void check_disk(bool whole);
bool all_ended(void);

/* A job's number by its id, or JOBS_MOST. */
unsigned job_numbered(const uint8_t id[16]);

#endif
