/* Who is connected, and the nodes that are or were.
 *
 * A session is one connection that greeted. A node is a worker's device, known by the
 * worker's key and the device's index; it outlives its connections. Pure: no sockets, the
 * time is an argument (milliseconds of a clock that runs forward).
 */
#ifndef FARM_REGISTRY_H
#define FARM_REGISTRY_H

#include "base/error.h"
#include "coordinator/scheduler.h"
#include "coordinator/speeds.h"
#include "proto/farm.pb-c.h"

enum {
    PEER_ID = 5,
    INSTANCE_ID = 16,
    NODE_FAULTS = 3, /* in a row, on tasks that others finish: the node is blocked */
};

/* What an administrator, or its faults, made of a node; the database knows the numbers. */
enum node_order { NODE_FREE, NODE_DRAINING, NODE_BLOCKED };

struct node;

struct session {
    uint8_t peer[PEER_ID]; /* the ROUTER's routing id */
    uint8_t key[32];
    char *host;
    char *program;
    int64_t heard;
    char serves[160];  /* where it gives pieces to other workers; "": nowhere */
    struct node *node; /* of a worker's device, else NULL */
};

struct node {
    uint32_t number;      /* from 1; never given to another */
    uint32_t index;       /* of the device */
    uint8_t identity[32]; /* hash of key and device index, the table's key */
    uint8_t key[32];
    char *name, *host;
    Farm__Device *device; /* as it last greeted; NULL before it ever did */
    uint8_t instance[INSTANCE_ID];
    struct session *session; /* NULL while it is away */
    int64_t heard;
    int64_t suspect_ms; /* silent for so long it gets no work */
    enum node_order order;
    char *reason;                /* of its order; heap, NULL: none */
    char *trouble;               /* how an attempt last failed there; likewise */
    bool learned;                /* order and speeds were read from the database */
    bool keeps;                  /* what it was to hand on did not come: it decodes */
    bool resync;                 /* its next heartbeat tells what it still holds */
    struct scheduler_node offer; /* credit, batch and models it last named */
    int64_t asked_us;            /* when it last did; 0: there was nothing for it */
    uint64_t assigned;           /* attempts since it greeted */
    uint32_t leased;
    uint64_t memory;    /* of its device, as it last said */
    double held;        /* step-pixels of what is leased to it */
    int64_t busy_since; /* it began with the first of these */
    int64_t twins_at;   /* when it last looked for a second attempt */

    struct speeds speeds;
    uint64_t images;
    unsigned evidence; /* results kept that differ from another's for the same task */
    unsigned faults;   /* since its last image, on tasks that others finished */
    double recent_images, recent_busy_ms; /* decaying, for images per minute */
    int64_t recent_at;
    bool changed; /* watchers are to be told */
};

struct registry {
    zhashx_t *sessions; /* peer -> struct session */
    zhashx_t *nodes;    /* identity -> struct node */
    struct node **node; /* node number n at n - 1 */
    size_t count;
    int64_t suspect_ms;
};

void registry_init(struct registry *self, int64_t suspect_ms);
void registry_clear(struct registry *self);

struct session *registry_session(const struct registry *self,
                                 const uint8_t peer[PEER_ID]);

/* A connection greeted; an earlier session of the same peer is replaced. */
struct session *registry_greet(struct registry *self, const uint8_t peer[PEER_ID],
                               const uint8_t key[32], const char *host,
                               const char *program, int64_t now);

/* Forgets a session; its node, if any, is away from then on. */
void registry_part(struct registry *self, struct session **session);

/* The node of that key and device index, made when it is new. */
struct node *registry_node(struct registry *self, const uint8_t key[32], uint32_t index,
                           const char *name);
/* All devices of that key get the name. */
void registry_rename(struct registry *self, const uint8_t key[32], const char *name);

struct node *registry_node_numbered(const struct registry *self, uint32_t number);

/* Whether the node may be driven by this instance: ERROR_BUSY names the host that drives
 * it while that one was heard lately. */
bool registry_free_for(const struct node *node, const uint8_t instance[INSTANCE_ID],
                       int64_t now, struct error *error);

/* The session drives the node. The device is copied. True when it is the instance that
 * drove it before, and so may still hold what it was given. */
bool registry_attach(struct node *node, struct session *session,
                     const uint8_t instance[INSTANCE_ID], const Farm__Device *device,
                     int64_t now);

/* May it get work: connected, heard lately, proved itself, neither draining nor blocked. */
bool node_works(const struct node *node, int64_t now);

/* The node takes `credit` attempts beside the `received` ones that came to it since it
 * greeted; those still on their way are of the credit. ERROR_INPUT when more came than
 * were assigned. */
bool node_offers(struct node *node, uint32_t credit, uint64_t received,
                 struct error *error);

/* So many attempts are on their way to it. */
void node_assigned(struct node *node, uint32_t count);

/* Gives an order; the reason is copied. */
void node_set_order(struct node *node, enum node_order order, const char *reason);

/* "ok", "draining", "blocked: why", "suspect", "offline" or "unfit: why"; heap. */
char *node_state(const struct node *node, int64_t now);

/* Time passes; called before `leased` changes, and at any other moment. */
void node_account(struct node *node, int64_t now);

/* A task is leased to it, or no longer. */
void node_lease(struct node *node, uint64_t step_pixels, int64_t now);
void node_release(struct node *node, uint64_t step_pixels, int64_t now);

/* A result of it was accepted. */
void node_credit_image(struct node *node, int64_t now);

/* A task failed there that was finished elsewhere; `images` is how many it had made when
 * it failed. True when these are too many since its last image. */
bool node_blame(struct node *node, uint64_t images);
double node_images_per_minute(const struct node *node);

#endif
