#include "coordinator/registry.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "coordinator/table.h"
#include "proto/wire.h"

/* Images per minute are counted over about the last two minutes with work. */
static const double RECENT_MS = 120000;

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

void registry_init(struct registry *self, int64_t suspect_ms)
{
    self->suspect_ms = suspect_ms;
    self->sessions = table_new(PEER_ID);
    self->nodes = table_new(32);
    self->node = NULL;
    self->count = 0;
}

static void device_destroy(Farm__Device **device)
{
    if (*device)
        farm__device__free_unpacked(*device, NULL);
    *device = NULL;
}

static void session_destroy(struct session *session)
{
    free(session->host);
    free(session->program);
    free(session);
}

void registry_clear(struct registry *self)
{
    for (struct session *s = zhashx_first(self->sessions); s;
         s = zhashx_next(self->sessions))
        session_destroy(s);
    zhashx_destroy(&self->sessions);
    zhashx_destroy(&self->nodes);
    for (size_t n = 0; n < self->count; n++) {
        device_destroy(&self->node[n]->device);
        speeds_clear(&self->node[n]->speeds);
        free(self->node[n]->reason);
        free(self->node[n]->trouble);
        free(self->node[n]->name);
        free(self->node[n]->host);
        free(self->node[n]);
    }
    free(self->node);
}

struct session *registry_session(const struct registry *self,
                                 const uint8_t peer[PEER_ID])
{
    return zhashx_lookup(self->sessions, peer);
}

struct session *registry_greet(struct registry *self, const uint8_t peer[PEER_ID],
                               const uint8_t key[32], const char *host,
                               const char *program, int64_t now)
{
    struct session *session = registry_session(self, peer);
    if (session)
        registry_part(self, &session);
    session = need(calloc(1, sizeof *session));
    memcpy(session->peer, peer, PEER_ID);
    memcpy(session->key, key, 32);
    session->host = path_format("%s", host);
    session->program = path_format("%s", program);
    session->heard = now;
    zhashx_insert(self->sessions, session->peer, session);
    return session;
}

void registry_part(struct registry *self, struct session **session)
{
    struct node *node = (*session)->node;
    if (node && node->session == *session) {
        node->session = NULL;
        node->offer.credit = 0;
        node->changed = true;
    }
    zhashx_delete(self->sessions, (*session)->peer);
    session_destroy(*session);
    *session = NULL;
}

static void name_node(struct node *node, const char *name)
{
    free(node->name);
    node->name =
        node->index ? path_format("%s:%u", name, node->index) : path_format("%s", name);
    node->changed = true;
}

void registry_rename(struct registry *self, const uint8_t key[32], const char *name)
{
    for (size_t n = 0; n < self->count; n++)
        if (memcmp(self->node[n]->key, key, 32) == 0)
            name_node(self->node[n], name);
}

struct node *registry_node(struct registry *self, const uint8_t key[32], uint32_t index,
                           const char *name)
{
    uint8_t identity[32];
    struct {
        uint8_t key[32];
        uint32_t index;
    } who = {.index = index};
    memcpy(who.key, key, 32);
    crypto_generichash(identity, sizeof identity, (const uint8_t *)&who, sizeof who,
                       NULL, 0);
    struct node *node = zhashx_lookup(self->nodes, identity);
    if (node)
        return node;
    node = need(calloc(1, sizeof *node));
    memcpy(node->identity, identity, 32);
    memcpy(node->key, key, 32);
    self->node = need(realloc(self->node, (self->count + 1) * sizeof *self->node));
    self->node[self->count++] = node;
    node->number = (uint32_t)self->count;
    node->offer.node = node->number;
    node->suspect_ms = self->suspect_ms;
    node->index = index;
    name_node(node, name);
    node->host = path_format("%s", "");
    zhashx_insert(self->nodes, node->identity, node);
    return node;
}

struct node *registry_node_numbered(const struct registry *self, uint32_t number)
{
    return number > 0 && number <= self->count ? self->node[number - 1] : NULL;
}

bool registry_free_for(const struct node *node, const uint8_t instance[INSTANCE_ID],
                       int64_t now, struct error *error)
{
    if (!node->session || memcmp(node->instance, instance, INSTANCE_ID) == 0 ||
        now - node->heard >= node->suspect_ms)
        return true;
    return error_set_kind(error, ERROR_BUSY,
                          "this key is in use by %s for the same device; join with a "
                          "token of its own, or stop the other worker",
                          node->host);
}

bool registry_attach(struct node *node, struct session *session,
                     const uint8_t instance[INSTANCE_ID], const Farm__Device *device,
                     int64_t now)
{
    static const uint8_t never[INSTANCE_ID];
    bool same = memcmp(node->instance, instance, INSTANCE_ID) == 0 ||
                memcmp(node->instance, never, INSTANCE_ID) == 0;
    if (node->session)
        node->session->node = NULL;
    session->node = node;
    node->session = session;
    memcpy(node->instance, instance, INSTANCE_ID);
    device_destroy(&node->device);
    node->device = wire_copy(&device->base);
    free(node->host);
    node->host = path_format("%s", session->host);
    node->heard = now;
    node->resync = true;
    node->keeps = false;
    node->offer.credit = 0;
    node->assigned = 0;
    node->changed = true;
    return same;
}

bool node_works(const struct node *node, int64_t now)
{
    return node->session && now - node->heard < node->suspect_ms &&
           node->order == NODE_FREE && node->device && node->device->unfit.len == 0;
}

bool node_offers(struct node *node, uint32_t credit, uint64_t received,
                 struct error *error)
{
    if (received > node->assigned)
        return error_set_kind(error, ERROR_INPUT,
                              "%s received %" PRIu64 " attempts, but %" PRIu64
                              " were assigned to it since it greeted",
                              node->name, received, node->assigned);
    uint64_t coming = node->assigned - received;
    node->offer.credit = coming < credit ? credit - (uint32_t)coming : 0;
    return true;
}

void node_assigned(struct node *node, uint32_t count)
{
    node->assigned += count;
    node->offer.credit -= count < node->offer.credit ? count : node->offer.credit;
}

char *node_state(const struct node *node, int64_t now)
{
    if (node->order == NODE_BLOCKED)
        return path_format("blocked: %s", node->reason);
    if (!node->session || !node->device)
        return path_format("offline");
    if (node->device->unfit.len)
        return path_format("unfit: %.*s", (int)node->device->unfit.len,
                           (const char *)node->device->unfit.data);
    if (now - node->heard >= node->suspect_ms)
        return path_format("suspect");
    return path_format(node->order == NODE_DRAINING ? "draining" : "ok");
}

void node_set_order(struct node *node, enum node_order order, const char *reason)
{
    free(node->reason);
    node->order = order;
    node->reason = path_format("%s", reason);
    node->faults = 0;
    node->changed = true;
}

void node_account(struct node *node, int64_t now)
{
    double passed = (double)(now - node->recent_at);
    node->recent_at = now;
    if (node->leased == 0 || passed <= 0)
        return;
    double kept = exp(-passed / RECENT_MS);
    node->recent_images *= kept;
    node->recent_busy_ms = node->recent_busy_ms * kept + RECENT_MS * (1 - kept);
}

void node_lease(struct node *node, uint64_t step_pixels, int64_t now)
{
    node_account(node, now);
    if (node->leased++ == 0)
        node->busy_since = now;
    node->held += (double)step_pixels;
    node->changed = true;
}

void node_release(struct node *node, uint64_t step_pixels, int64_t now)
{
    node_account(node, now);
    node->held -= (double)step_pixels;
    if (--node->leased == 0 || node->held < 0)
        node->held = 0;
    node->changed = true;
}

void node_credit_image(struct node *node, int64_t now)
{
    node_account(node, now);
    node->images++;
    node->recent_images++;
    node->busy_since = now;
    node->faults = 0;
    node->changed = true;
}

bool node_blame(struct node *node, uint64_t images)
{
    return node->images == images && ++node->faults >= NODE_FAULTS &&
           node->order != NODE_BLOCKED;
}

double node_images_per_minute(const struct node *node)
{
    return node->recent_busy_ms >= 1000
               ? node->recent_images * 60000 / node->recent_busy_ms
               : 0;
}
