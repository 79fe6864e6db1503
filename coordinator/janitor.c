#include "coordinator/janitor.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/path.h"
#include "proto/files/intake.h"

enum {
    FOLDERS = 256,
    SLICE = 8 << 20 /* read between two looks for the end */,
    TICK_MS = 100,
    TICK_MOST_MS = 60000
};

struct janitor {
    zactor_t *actor;
    /* the actor's from here on */
    struct janitor_options options;
    zsock_t *pipe;
    bool stop;
};

struct found {
    uint8_t id[BLOB_ID];
    bool damaged;
};

bool janitor_is_old(const char *path, int64_t grace_s)
{
    struct stat found;
    return stat(path, &found) == 0 && clock_unix() - found.st_mtime >= grace_s;
}

static void tell(struct janitor *self, const uint8_t id[BLOB_ID], bool damaged)
{
    struct found found = {.damaged = damaged};
    memcpy(found.id, id, BLOB_ID);
    zframe_t *frame = zframe_new(&found, sizeof found);
    zframe_send(&frame, self->pipe, 0);
}

/* Waits so long, or until told to end. */
static void rest(struct janitor *self, int64_t ms)
{
    zmq_pollitem_t item = {zsock_resolve(self->pipe), 0, ZMQ_POLLIN, 0};
    if (!self->stop && zmq_poll(&item, 1, (long)ms) > 0)
        self->stop = true; /* only the order to end ever comes */
}

static void look_at(struct janitor *self, const char *path, const uint8_t id[BLOB_ID],
                    bool read)
{
    if (janitor_is_old(path, self->options.grace_s))
        tell(self, id, false);
    struct file_hash *hash = read ? file_hash_open(path, NULL) : NULL;
    enum intake_state state = hash ? INTAKE_MORE : INTAKE_FAILED;
    while (state == INTAKE_MORE && !self->stop) {
        state = file_hash_step(hash, SLICE, NULL);
        rest(self, state == INTAKE_MORE ? 1 : 0);
    }
    if (state == INTAKE_DONE && memcmp(file_hash_id(hash, NULL), id, BLOB_ID) != 0)
        tell(self, id, true);
    file_hash_close(&hash);
}

static void look_into(struct janitor *self, unsigned number, bool read)
{
    char *folder = path_format("%s/blobs/%02x", self->options.state, number);
    struct dirent **list = NULL;
    int count = scandir(folder, &list, NULL, NULL);
    for (int i = 0; i < count; i++) {
        uint8_t id[BLOB_ID];
        char *path = path_format("%s/%s", folder, list[i]->d_name);
        if (!self->stop && blob_parse(list[i]->d_name, id, NULL)) {
            look_at(self, path, id, read);
            rest(self, read ? 5 : 0);
        }
        free(path);
        free(list[i]);
    }
    free(list);
    free(folder);
}

/* The folders one after the other: all within a round, and each read once in a scrub. */
static void janitor_actor(zsock_t *pipe, void *argument)
{
    struct janitor *self = argument;
    self->pipe = pipe;
    zsock_signal(pipe, 0);
    int64_t scrub_s = self->options.scrub_s, rounds = 0;
    int64_t pause = self->options.round_s * 1000 / FOLDERS;
    unsigned next = 0;
    int64_t reads = scrub_s
                        ? scrub_s / (self->options.round_s ? self->options.round_s : 1)
                        : 0; /* rounds in a scrub */
    while (!self->stop) {
        bool read = scrub_s &&
                    (reads <= 1 || (int64_t)next * reads / FOLDERS == rounds % reads);
        look_into(self, next, read);
        if (++next == FOLDERS) {
            next = 0;
            rounds++;
        }
        rest(self, pause > TICK_MOST_MS ? TICK_MOST_MS : pause > 1 ? pause : 1);
    }
}

struct janitor *janitor_new(const struct janitor_options *options)
{
    struct janitor *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->options = *options;
    self->actor = zactor_new(janitor_actor, self);
    if (!self->actor)
        abort();
    return self;
}

void janitor_destroy(struct janitor **self)
{
    if (!*self)
        return;
    zactor_destroy(&(*self)->actor);
    free(*self);
    *self = NULL;
}

zsock_t *janitor_socket(struct janitor *self)
{
    return zactor_sock(self->actor);
}

bool janitor_found(struct janitor *self, uint8_t id[BLOB_ID], bool *damaged)
{
    struct found found;
    if (!(zsock_events(janitor_socket(self)) & ZMQ_POLLIN))
        return false;
    zframe_t *frame = zframe_recv(janitor_socket(self));
    bool ok = frame && zframe_size(frame) == sizeof found;
    if (ok)
        memcpy(&found, zframe_data(frame), sizeof found);
    zframe_destroy(&frame);
    if (ok)
        memcpy(id, found.id, BLOB_ID);
    *damaged = ok && found.damaged;
    return ok;
}
