#include "coordinator/swarm.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/table.h"

enum {
    SEEDS_LONE = 8,    /* pieces on their way to the only one who fetches */
    SEEDS_ALL = 4,     /* to all of several together */
    SEEDS_EACH = 2,    /* of these to each */
    SEED_MS = 120000,  /* after which a piece given away, or the next, did not arrive */
    STARVED_MS = 5000, /* others have something for so long */
    ALONE_MS = 60000,
    FETCHING_MS = 10000, /* without a question: it gave up */
    GRANT_RETRY_MS = 3000,
    ACCUSED_MOST = 1024,
};

struct seed {
    uint8_t peer[PEER_ID];
    int64_t until; /* 0: not given away */
};

struct swarm_model {
    uint8_t id[32];
    size_t pieces;
    struct seed *seed;
    uint32_t *copies;
    TAILQ_HEAD(swarm_members, swarm_member) members;
};

struct accused {
    uint8_t key[32], accuser[32];
};

struct swarm {
    zhashx_t *models; /* owns struct swarm_model */
    TAILQ_HEAD(swarm_grants, swarm_grant) grants;
    uint64_t ids;
    struct accused accused[ACCUSED_MOST];
    size_t accusations;
};

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static bool bit_of(const uint8_t *bits, size_t piece)
{
    return bits[piece / 8] >> piece % 8 & 1;
}

struct swarm *swarm_new(void)
{
    struct swarm *self = need(calloc(1, sizeof *self));
    self->models = table_new(32);
    TAILQ_INIT(&self->grants);
    return self;
}

static void member_leaves(struct swarm_member *member)
{
    struct swarm_model *model = member->model;
    for (size_t p = 0; p < model->pieces; p++) {
        model->copies[p] -= bit_of(member->have, p);
        if (model->seed[p].until && !memcmp(model->seed[p].peer, member->peer, PEER_ID))
            model->seed[p].until = 0;
    }
    TAILQ_REMOVE(&model->members, member, next);
    free(member->have);
    free(member);
}

void swarm_grant_drop(struct swarm *self, struct swarm_grant **grant)
{
    TAILQ_REMOVE(&self->grants, *grant, next);
    free(*grant);
    *grant = NULL;
}

void swarm_destroy(struct swarm **self)
{
    if (!*self)
        return;
    struct swarm_grant *grant;
    while ((grant = TAILQ_FIRST(&(*self)->grants)))
        swarm_grant_drop(*self, &grant);
    for (struct swarm_model *m = zhashx_first((*self)->models); m;
         m = zhashx_next((*self)->models)) {
        struct swarm_member *member;
        while ((member = TAILQ_FIRST(&m->members)))
            member_leaves(member);
        free(m->seed);
        free(m->copies);
        free(m);
    }
    zhashx_destroy(&(*self)->models);
    free(*self);
    *self = NULL;
}

static struct swarm_model *model_of(struct swarm *self, const uint8_t id[32],
                                    size_t pieces)
{
    struct swarm_model *model = zhashx_lookup(self->models, id);
    if (model)
        return model;
    model = need(calloc(1, sizeof *model));
    memcpy(model->id, id, 32);
    model->pieces = pieces;
    model->seed = need(calloc(pieces + 1, sizeof *model->seed));
    model->copies = need(calloc(pieces + 1, sizeof *model->copies));
    TAILQ_INIT(&model->members);
    zhashx_insert(self->models, model->id, model);
    return model;
}

static struct swarm_member *member_of(struct swarm_model *model,
                                      const uint8_t peer[PEER_ID])
{
    struct swarm_member *member;
    TAILQ_FOREACH(member, &model->members, next)
    {
        if (memcmp(member->peer, peer, PEER_ID) == 0)
            return member;
    }
    member = need(calloc(1, sizeof *member));
    memcpy(member->peer, peer, PEER_ID);
    member->have = need(calloc((model->pieces + 7) / 8 + 1, 1));
    member->model = model;
    TAILQ_INSERT_TAIL(&model->members, member, next);
    return member;
}

/* Counts what changed, and takes pieces that arrived off those given away. */
static void take_bits(struct swarm_member *member, const uint8_t *bits)
{
    struct swarm_model *model = member->model;
    member->here = 0;
    for (size_t p = 0; p < model->pieces; p++) {
        bool before = bit_of(member->have, p), now = !bits || bit_of(bits, p);
        struct seed *seed = &model->seed[p];
        member->here += now;
        model->copies[p] = model->copies[p] + now - before;
        if (now && seed->until && !memcmp(seed->peer, member->peer, PEER_ID))
            seed->until = 0;
        uint8_t mask = (uint8_t)(1u << p % 8);
        member->have[p / 8] =
            (uint8_t)(now ? member->have[p / 8] | mask : member->have[p / 8] & ~mask);
    }
}

struct swarm_member *swarm_have(struct swarm *self, const uint8_t id[32], size_t pieces,
                                const uint8_t peer[PEER_ID], const uint8_t key[32],
                                const char *address, const uint8_t *bits, size_t size,
                                bool fetching, struct error *error)
{
    if (bits && size != (pieces + 7) / 8) {
        error_set_kind(error, ERROR_INPUT, "%zu bytes for %zu pieces, expected %zu",
                       size, pieces, (pieces + 7) / 8);
        return NULL;
    }
    struct swarm_member *member = member_of(model_of(self, id, pieces), peer);
    memcpy(member->key, key, 32);
    snprintf(member->address, sizeof member->address, "%s", address);
    member->fetching = fetching;
    take_bits(member, bits);
    return member;
}

void swarm_leave(struct swarm *self, const uint8_t peer[PEER_ID])
{
    for (struct swarm_model *m = zhashx_first(self->models); m;
         m = zhashx_next(self->models)) {
        struct swarm_member *member, *next;
        for (member = TAILQ_FIRST(&m->members); member; member = next) {
            next = TAILQ_NEXT(member, next);
            if (memcmp(member->peer, peer, PEER_ID) == 0)
                member_leaves(member);
        }
    }
    struct swarm_grant *grant, *next;
    for (grant = TAILQ_FIRST(&self->grants); grant; grant = next) {
        next = TAILQ_NEXT(grant, next);
        if (memcmp(grant->server, peer, PEER_ID) == 0)
            swarm_grant_drop(self, &grant);
    }
}

static void model_destroy(struct swarm_model *model)
{
    struct swarm_member *member, *next;
    for (member = TAILQ_FIRST(&model->members); member; member = next) {
        next = TAILQ_NEXT(member, next);
        member_leaves(member);
    }
    free(model->seed);
    free(model->copies);
    free(model);
}

void swarm_forget(struct swarm *self, const uint8_t id[32])
{
    struct swarm_model *model = zhashx_lookup(self->models, id);
    struct swarm_grant *grant, *next;
    for (grant = TAILQ_FIRST(&self->grants); grant; grant = next) {
        next = TAILQ_NEXT(grant, next);
        if (memcmp(grant->model, id, 32) == 0)
            swarm_grant_drop(self, &grant);
    }
    if (!model)
        return;
    zhashx_delete(self->models, id);
    model_destroy(model);
}

size_t swarm_pieces(const struct swarm_member *member)
{
    return member->model->pieces;
}

static size_t accusers(const struct swarm *self, const uint8_t key[32])
{
    size_t count = 0;
    for (size_t a = 0; a < self->accusations; a++)
        count += memcmp(self->accused[a].key, key, 32) == 0;
    return count;
}

bool swarm_accuse(struct swarm *self, const uint8_t key[32], const uint8_t accuser[32])
{
    for (size_t a = 0; a < self->accusations; a++)
        if (memcmp(self->accused[a].key, key, 32) == 0 &&
            memcmp(self->accused[a].accuser, accuser, 32) == 0)
            return false;
    if (self->accusations == ACCUSED_MOST)
        return false;
    struct accused *accused = &self->accused[self->accusations++];
    memcpy(accused->key, key, 32);
    memcpy(accused->accuser, accuser, 32);
    return true;
}

/* How many pieces of the source the member lacks. */
static size_t offers(const struct swarm_member *source,
                     const struct swarm_member *member)
{
    size_t count = 0;
    for (size_t b = 0; b < (member->model->pieces + 7) / 8; b++)
        count += (size_t)__builtin_popcount(source->have[b] & ~member->have[b] & 0xff);
    return count;
}

/* An order of the others that is each member's own, and stays: nobody is everybody's first,
 * and links last. */
static uint64_t rank(const struct swarm_member *member,
                     const struct swarm_member *other)
{
    uint64_t a, b;
    memcpy(&a, member->key, sizeof a);
    memcpy(&b, other->key, sizeof b);
    return (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
}

size_t swarm_sources(struct swarm *self, const struct swarm_member *member,
                     struct swarm_member *sources[SWARM_SOURCES])
{
    size_t count = 0;
    struct swarm_member *other;
    TAILQ_FOREACH(other, &member->model->members, next)
    {
        if (!other->address[0] || memcmp(other->key, member->key, 32) == 0 ||
            accusers(self, other->key) >= SWARM_ACCUSERS || !offers(other, member))
            continue;
        size_t at = count;
        while (at && rank(member, sources[at - 1]) > rank(member, other))
            at--;
        if (at == SWARM_SOURCES)
            continue;
        count += count < SWARM_SOURCES;
        memmove(&sources[at + 1], &sources[at], (count - 1 - at) * sizeof *sources);
        sources[at] = other;
    }
    return count;
}

struct supply {
    size_t fetching, given, own;
};

static struct supply supply_of(struct swarm_model *model,
                               const struct swarm_member *member, int64_t now)
{
    struct supply supply = {0};
    struct swarm_member *other;
    TAILQ_FOREACH(other, &model->members, next)
    {
        supply.fetching += other->fetching && now - other->asked < FETCHING_MS;
    }
    for (size_t p = 0; p < model->pieces; p++) {
        struct seed *seed = &model->seed[p];
        if (seed->until && seed->until <= now)
            seed->until = 0;
        supply.given += seed->until != 0;
        supply.own += seed->until && !memcmp(seed->peer, member->peer, PEER_ID);
    }
    return supply;
}

/* A piece this one lacks, that was not given away and, unless it is alone, that nobody has;
 * the first from a random one on. SIZE_MAX: none. */
static size_t choose(const struct swarm_model *model, const struct swarm_member *member,
                     bool alone)
{
    size_t start = model->pieces ? randombytes_uniform((uint32_t)model->pieces) : 0;
    for (size_t i = 0; i < model->pieces; i++) {
        size_t p = (start + i) % model->pieces;
        if (!bit_of(member->have, p) && !model->seed[p].until &&
            (alone || !model->copies[p]))
            return p;
    }
    return SIZE_MAX;
}

/* Others have something and do not give it: they are accused, out of reach, or serve nobody.
 * Where nobody has anything yet it only waits. */
static bool lacks_what_others_have(const struct swarm_member *member)
{
    const struct swarm_model *model = member->model;
    size_t p = 0;
    while (p < model->pieces && (bit_of(member->have, p) || !model->copies[p]))
        p++;
    return p < model->pieces;
}

/* One to whom pieces come, if slowly, gets those it was given too. */
static void keep_seeds(struct swarm_member *member, int64_t now)
{
    struct swarm_model *model = member->model;
    for (size_t p = 0; member->here > member->here_then && p < model->pieces; p++) {
        struct seed *seed = &model->seed[p];
        if (seed->until && !memcmp(seed->peer, member->peer, PEER_ID))
            seed->until = now + SEED_MS;
    }
    member->here_then = member->here;
}

/* Who waited for what nobody had yet is not starved at once when somebody has it. */
static bool is_starved(struct swarm_member *member, bool starved, int64_t now)
{
    if (!lacks_what_others_have(member))
        member->lacks_since = 0;
    else if (!member->lacks_since)
        member->lacks_since = now;
    return starved && member->lacks_since && now - member->lacks_since >= STARVED_MS;
}

uint8_t *swarm_seeds(struct swarm *self, struct swarm_member *member, bool starved,
                     int64_t now)
{
    (void)self;
    struct swarm_model *model = member->model;
    member->asked = now;
    uint8_t *bits = need(calloc((model->pieces + 7) / 8 + 1, 1));
    keep_seeds(member, now);
    struct supply supply = supply_of(model, member, now);
    if (is_starved(member, starved, now))
        member->alone_until = now + ALONE_MS;
    bool alone = member->alone_until > now || supply.fetching <= 1;
    size_t each = alone ? SEEDS_LONE : SEEDS_EACH;
    size_t chosen;
    while (supply.own < each && (alone || supply.given < SEEDS_ALL) &&
           (chosen = choose(model, member, member->alone_until > now)) != SIZE_MAX) {
        memcpy(model->seed[chosen].peer, member->peer, PEER_ID);
        model->seed[chosen].until = now + SEED_MS;
        supply.own++;
        supply.given++;
    }
    for (size_t p = 0; p < model->pieces; p++)
        if (model->seed[p].until && !memcmp(model->seed[p].peer, member->peer, PEER_ID))
            bits[p / 8] |= (uint8_t)(1u << p % 8);
    return bits;
}

struct swarm_grant *swarm_grant(struct swarm *self, const struct swarm_member *source,
                                const struct swarm_member *member, int64_t now,
                                bool *is_new)
{
    struct swarm_grant *grant;
    TAILQ_FOREACH(grant, &self->grants, next)
    {
        if (memcmp(grant->server, source->peer, PEER_ID) == 0 &&
            memcmp(grant->client_key, member->key, 32) == 0 &&
            memcmp(grant->model, member->model->id, 32) == 0)
            break;
    }
    *is_new = !grant || (!grant->confirmed && now - grant->asked > GRANT_RETRY_MS) ||
              grant->expires - now < (int64_t)SWARM_GRANT_S * 1000 / 2;
    if (!grant) {
        grant = need(calloc(1, sizeof *grant));
        grant->id = ++self->ids;
        memcpy(grant->server, source->peer, PEER_ID);
        memcpy(grant->server_key, source->key, 32);
        memcpy(grant->client_key, member->key, 32);
        memcpy(grant->model, member->model->id, 32);
        TAILQ_INSERT_TAIL(&self->grants, grant, next);
    }
    if (*is_new) {
        grant->asked = now;
        grant->expires = now + (int64_t)SWARM_GRANT_S * 1000;
    }
    return grant;
}

struct swarm_grant *swarm_grant_find(struct swarm *self, uint64_t id,
                                     const uint8_t server[PEER_ID])
{
    struct swarm_grant *grant;
    TAILQ_FOREACH(grant, &self->grants, next)
    {
        if (grant->id == id && memcmp(grant->server, server, PEER_ID) == 0)
            return grant;
    }
    return NULL;
}

struct swarm_grant *swarm_grant_of(struct swarm *self, const uint8_t client_key[32])
{
    struct swarm_grant *grant;
    TAILQ_FOREACH(grant, &self->grants, next)
    {
        if (memcmp(grant->client_key, client_key, 32) == 0)
            return grant;
    }
    return NULL;
}
