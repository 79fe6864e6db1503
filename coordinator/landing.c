/* While one sync runs, what comes waits for the next one, which covers all of it: the same
 * group commit without a timer as the store actor's. A sync that fails is the end of the
 * process, as a failed commit is: the kernel may have dropped what it could not write, and
 * would say nothing the next time. */
#include "coordinator/landing.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

struct batch {
    struct landed *blob; /* heap */
    size_t count, room, taken;
};

struct landing {
    zactor_t *actor;
    struct batch coming, syncing, durable;
    bool busy;
};

static void sync_actor(zsock_t *pipe, void *argument)
{
    struct blob_store *blobs = argument;
    zsock_signal(pipe, 0);
    for (;;) {
        struct error error = {0};
        zframe_t *order = zframe_recv(pipe);
        if (!order)
            continue;
        bool is_order = zframe_size(order) == 1;
        zframe_destroy(&order);
        if (!is_order) /* zactor's own: the end */
            return;
        if (!blob_store_sync(blobs, &error)) {
            log_error("the blob folder cannot be synced, ending: %s", error.text);
            _exit(EXIT_FAILURE);
        }
        zsock_signal(pipe, 0);
    }
}

struct landing *landing_new(struct blob_store *blobs)
{
    struct landing *self = calloc(1, sizeof *self);
    if (!self || !(self->actor = zactor_new(sync_actor, blobs)))
        abort();
    return self;
}

void landing_destroy(struct landing **self)
{
    if (!*self)
        return;
    zactor_destroy(&(*self)->actor);
    free((*self)->coming.blob);
    free((*self)->syncing.blob);
    free((*self)->durable.blob);
    free(*self);
    *self = NULL;
}

zsock_t *landing_socket(const struct landing *self)
{
    return zactor_sock(self->actor);
}

/* The group that came is synced, if nothing is. */
static void start(struct landing *self)
{
    if (self->busy || !self->coming.count)
        return;
    struct batch empty = self->syncing;
    self->syncing = self->coming;
    self->coming = empty;
    self->coming.count = 0;
    self->busy = true;
    zframe_t *order = zframe_new("s", 1);
    zframe_send(&order, self->actor, 0);
}

void landing_add(struct landing *self, const uint8_t peer[PEER_ID], uint64_t request,
                 const uint8_t id[BLOB_ID])
{
    struct batch *batch = &self->coming;
    if (batch->count == batch->room) {
        batch->room = batch->room ? 2 * batch->room : 64;
        batch->blob = realloc(batch->blob, batch->room * sizeof *batch->blob);
        if (!batch->blob)
            abort();
    }
    struct landed *landed = &batch->blob[batch->count++];
    memcpy(landed->peer, peer, PEER_ID);
    landed->request = request;
    memcpy(landed->id, id, BLOB_ID);
    start(self);
}

bool landing_take(struct landing *self, struct landed *blob)
{
    struct batch *batch = &self->durable;
    if (batch->taken == batch->count && self->busy &&
        (zsock_events(landing_socket(self)) & ZMQ_POLLIN)) {
        zsock_wait(landing_socket(self));
        struct batch empty = self->durable;
        self->durable = self->syncing;
        self->syncing = empty;
        self->durable.taken = self->syncing.count = 0;
        self->busy = false;
        start(self);
    }
    if (batch->taken == batch->count)
        return false;
    *blob = batch->blob[batch->taken++];
    return true;
}
