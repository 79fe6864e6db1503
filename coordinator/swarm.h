/* Who has which pieces of a model, and who may ask whom for them. Pure: no I/O, no clock.
 *
 * While workers fetch a model the coordinator gives each of its pieces away about once
 * (seeds), a few at a time, and the workers spread them. A piece that somebody else has is
 * got there; only a worker to whom nobody gives anything is fed by the coordinator.
 */
#ifndef FARM_SWARM_H
#define FARM_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "coordinator/registry.h"

enum {
    SWARM_ADDRESS = 160,
    SWARM_SOURCES = 8,   /* others a worker is told of at a time */
    SWARM_GRANT_S = 600, /* how long a grant lasts */
    SWARM_ACCUSERS = 2,  /* so many say it sent a wrong piece: nobody is sent to it */
};

struct swarm_member {
    uint8_t peer[PEER_ID], key[32];
    char address[SWARM_ADDRESS]; /* "": serves nobody */
    uint8_t *have;               /* a bit a piece */
    size_t here, here_then;      /* pieces; when it last asked for more */
    bool fetching;
    int64_t asked;       /* when it last asked for more */
    int64_t lacks_since; /* what others have; 0: nothing */
    int64_t alone_until; /* nobody else gives it anything: fed by us */
    struct swarm_model *model;
    TAILQ_ENTRY(swarm_member) next;
};

struct swarm_grant {
    uint64_t id;
    uint8_t server[PEER_ID], server_key[32], client_key[32], model[32];
    bool confirmed;
    int64_t asked, expires;
    TAILQ_ENTRY(swarm_grant) next;
};

struct swarm;

struct swarm *swarm_new(void);
void swarm_destroy(struct swarm **self);

/* What a connection says it has of a model of so many pieces; `bits` NULL: all. The member
 * lives until it leaves. ERROR_INPUT when the size does not fit. */
struct swarm_member *swarm_have(struct swarm *self, const uint8_t model[32],
                                size_t pieces, const uint8_t peer[PEER_ID],
                                const uint8_t key[32], const char *address,
                                const uint8_t *bits, size_t size, bool fetching,
                                struct error *error);

/* A connection ended: what it had, and grants of which it is the server. */
void swarm_leave(struct swarm *self, const uint8_t peer[PEER_ID]);

/* The model, or what else went by that id, is no more: who had it, and grants for it. */
void swarm_forget(struct swarm *self, const uint8_t model[32]);

/* Others that serve and have something this one lacks, at most SWARM_SOURCES, in an order of
 * its own. A key is not sent to itself, nor to whom several accuse. */
size_t swarm_sources(struct swarm *self, const struct swarm_member *member,
                     struct swarm_member *sources[SWARM_SOURCES]);

/* What this one may ask the coordinator for now, a bit a piece; heap, (pieces + 7) / 8
 * bytes. `starved`: nobody of those who
 * have something gives it anything. */
uint8_t *swarm_seeds(struct swarm *self, struct swarm_member *member, bool starved,
                     int64_t now);

/* The grant by which the member may ask the source: made when there is none, or when the
 * one there is about to end; *is_new: it must be sent. */
struct swarm_grant *swarm_grant(struct swarm *self, const struct swarm_member *source,
                                const struct swarm_member *member, int64_t now,
                                bool *is_new);
struct swarm_grant *swarm_grant_find(struct swarm *self, uint64_t id,
                                     const uint8_t server[PEER_ID]);
void swarm_grant_drop(struct swarm *self, struct swarm_grant **grant);

/* The first grant that lets this key ask somebody; NULL when there is none. For its end. */
struct swarm_grant *swarm_grant_of(struct swarm *self, const uint8_t client_key[32]);

/* `accuser` says that `key` sent it a wrong piece; true when that is new. */
bool swarm_accuse(struct swarm *self, const uint8_t key[32], const uint8_t accuser[32]);

size_t swarm_pieces(const struct swarm_member *member);

#endif
