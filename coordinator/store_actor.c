/* Group commit without a timer: while one commit waits for the disk, changes queue in the
 * pipe; the next transaction takes them all. A lone change is committed at once, a flood
 * shares its syncs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "coordinator/store_private.h"

enum { GROUP_MOST = 4096 };

struct store_actor {
    zactor_t *actor;
    uint64_t handed, durable;
};

/* What the actor's thread owns. */
struct scribe {
    struct store *store;
    int sync_folder;
    uint64_t committed;
};

/* Waits for one change, then takes what else is there; false when told to end (zactor's
 * own message, which is no pointer). */
static bool gather(zsock_t *pipe, struct change **group, size_t *count)
{
    *count = 0;
    do {
        zframe_t *frame = zframe_recv(pipe);
        if (!frame)
            continue;
        bool is_change = zframe_size(frame) == sizeof group[0];
        if (is_change)
            memcpy(&group[(*count)++], zframe_data(frame), sizeof group[0]);
        zframe_destroy(&frame);
        if (!is_change)
            return false;
    } while (*count < GROUP_MOST && (zsock_events(pipe) & ZMQ_POLLIN));
    return true;
}

static bool commit(struct scribe *self, struct change **group, size_t count,
                   struct error *error)
{
    bool blobs = false;
    int file = -1;
    for (size_t c = 0; c < count; c++) {
        blobs = blobs || group[c]->blobs;
        file = group[c]->sync >= 0 ? group[c]->sync : file;
    }
    if (file >= 0 && fdatasync(file) != 0)
        return error_set(error, "the audit cannot be synced: %s", strerror(errno));
    if (blobs && syncfs(self->sync_folder) != 0)
        return error_set(error, "the blob folder cannot be synced: %s",
                         strerror(errno));
    return count == 0 || store_apply(self->store, group, count, error);
}

/* Reports go back as (number, "") or (0, why). */
static void scribe_actor(zsock_t *pipe, void *argument)
{
    struct scribe *self = argument;
    struct change **group = calloc(GROUP_MOST, sizeof *group);
    if (!group)
        abort();
    zsock_signal(pipe, 0);
    bool go_on = true, failed = false;
    while (go_on) {
        size_t count;
        struct error error = {0};
        go_on = gather(pipe, group, &count);
        if (!failed) {
            if (count)
                fault_point("store-before-commit");
            failed = !commit(self, group, count, &error);
            if (count)
                fault_point("store-after-commit");
            self->committed += count;
            zsock_send(pipe, "8s", failed ? (uint64_t)0 : self->committed, error.text);
        }
        for (size_t c = 0; c < count; c++)
            change_destroy(&group[c]);
    }
    free(group);
    store_close(&self->store);
    free(self);
}

struct store_actor *store_actor_new(const char *path, int sync_folder,
                                    struct error *error)
{
    struct store *store = store_connect(path, error);
    if (!store)
        return NULL;
    struct store_actor *self = calloc(1, sizeof *self);
    struct scribe *scribe = calloc(1, sizeof *scribe);
    if (!self || !scribe)
        abort();
    *scribe = (struct scribe){.store = store, .sync_folder = sync_folder};
    self->actor = zactor_new(scribe_actor, scribe);
    if (!self->actor)
        abort();
    return self;
}

void store_actor_destroy(struct store_actor **self)
{
    if (!*self)
        return;
    zactor_destroy(&(*self)->actor);
    free(*self);
    *self = NULL;
}

uint64_t store_actor_commit(struct store_actor *self, struct change **change)
{
    zframe_t *frame = zframe_new(change, sizeof *change);
    if (zframe_send(&frame, self->actor, 0) != 0)
        abort();
    *change = NULL;
    return ++self->handed;
}

zsock_t *store_actor_socket(struct store_actor *self)
{
    return zactor_sock(self->actor);
}

bool store_actor_durable(struct store_actor *self, bool wait, uint64_t *number,
                         struct error *error)
{
    zsock_t *socket = zactor_sock(self->actor);
    while ((wait && self->durable < self->handed) ||
           (zsock_events(socket) & ZMQ_POLLIN)) {
        uint64_t reported = 0;
        char *why = NULL;
        if (zsock_recv(socket, "8s", &reported, &why) != 0)
            continue;
        bool failed = why[0] != 0;
        if (failed)
            error_set(error, "%s", why);
        zstr_free(&why);
        if (failed)
            return false;
        self->durable = reported;
    }
    *number = self->durable;
    return true;
}
