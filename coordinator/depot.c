/* Two actors
 *
 *   loop --role--> carrier --stored--> loop      bulk socket, uploads, ranges out
 *   loop --files-> importer --ticket-> loop      local files of a private farm
 *
 * The carrier's side is depot_carrier.c; this file is the loop's side and the importer.
 */
#include "coordinator/depot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "coordinator/depot_carrier.h"

struct depot {
    zactor_t *carrier, *importer;
};

static void import_one(struct blob_store *blobs, const char *folder,
                       const uint8_t id[BLOB_ID])
{
    struct error error = {0};
    char name[BLOB_TEXT];
    blob_format(id, name);
    char *path = path_format("%s/%s", folder, name);
    if (access(path, F_OK) == 0 && !blob_has(blobs, id, NULL) &&
        !blob_import(blobs, path, id, &error))
        log_warn("import: %s", error.text);
    unlink(path);
    free(path);
}

static void importer_actor(zsock_t *pipe, void *argument)
{
    struct blob_store *blobs = argument;
    zsock_signal(pipe, 0);
    for (;;) {
        uint64_t ticket = 0;
        char *folder = NULL;
        byte *ids = NULL;
        size_t size = 0;
        zmsg_t *message = zmsg_recv(pipe);
        if (!message)
            continue;
        zframe_t *first = zmsg_pop(message);
        bool is_order = zmsg_size(message) == 2 && zframe_size(first) == sizeof ticket;
        if (is_order) {
            memcpy(&ticket, zframe_data(first), sizeof ticket);
            folder = zmsg_popstr(message);
            zframe_t *list = zmsg_first(message);
            ids = zframe_data(list);
            size = zframe_size(list);
            for (size_t at = 0; at + BLOB_ID <= size; at += BLOB_ID)
                import_one(blobs, folder, ids + at);
            zstr_free(&folder);
            zmsg_t *answer = zmsg_new();
            zmsg_addmem(answer, &ticket, sizeof ticket);
            zmsg_send(&answer, pipe);
        }
        zframe_destroy(&first);
        zmsg_destroy(&message);
        if (!is_order)
            return;
    }
}

struct depot *depot_new(const struct door_options *door, const struct keypair *server,
                        struct blob_store *blobs, const char *folder,
                        const struct depot_limits *limits, int *port,
                        struct error *error)
{
    zsock_t *bulk = door_open(door, server, port, error);
    if (!bulk)
        return NULL;
    struct depot *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->carrier = zactor_new(
        carrier_actor, carrier_new(&bulk, door, server, *port, blobs, folder, limits));
    self->importer = zactor_new(importer_actor, blobs);
    if (!self->carrier || !self->importer)
        abort();
    return self;
}

void depot_destroy(struct depot **self)
{
    if (!*self)
        return;
    zactor_destroy(&(*self)->carrier);
    zactor_destroy(&(*self)->importer);
    free(*self);
    *self = NULL;
}

void depot_role(struct depot *self, const uint8_t key[32], Farm__Role role)
{
    struct carrier_order order = {.role = role};
    memcpy(order.key, key, sizeof order.key);
    zframe_t *frame = zframe_new(&order, sizeof order);
    zframe_send(&frame, self->carrier, 0);
}

void depot_open_anew(struct depot *self)
{
    zframe_t *frame = zframe_new("!", 1);
    zframe_send(&frame, self->carrier, 0);
}

void depot_expect(struct depot *self, const Farm__ModelFile *file)
{
    size_t size = sizeof(struct carrier_expected) + file->n_pieces * BLOB_ID;
    struct carrier_expected *expected = malloc(size);
    if (!expected)
        abort();
    memcpy(expected->blob, file->blob.data, BLOB_ID);
    expected->size = file->size;
    expected->pieces = file->n_pieces;
    for (size_t p = 0; p < file->n_pieces; p++)
        memcpy(expected->piece[p], file->pieces[p].data, BLOB_ID);
    zframe_t *frame = zframe_new(expected, size);
    zframe_send(&frame, self->carrier, 0);
    free(expected);
}

void depot_named(struct depot *self, const uint8_t id[BLOB_ID])
{
    zframe_t *frame = zframe_new(id, BLOB_ID);
    zframe_send(&frame, self->carrier, 0);
}

void depot_import(struct depot *self, uint64_t ticket, const char *folder,
                  const uint8_t (*ids)[BLOB_ID], size_t count)
{
    zmsg_t *order = zmsg_new();
    zmsg_addmem(order, &ticket, sizeof ticket);
    zmsg_addstr(order, folder);
    zmsg_addmem(order, ids, count * BLOB_ID);
    zmsg_send(&order, self->importer);
}

zsock_t *depot_socket(struct depot *self)
{
    return zactor_sock(self->carrier);
}

zsock_t *depot_imports(struct depot *self)
{
    return zactor_sock(self->importer);
}

/* One frame of exactly `size` bytes from an actor. */
static bool take(zsock_t *socket, void *into, size_t size)
{
    if (!(zsock_events(socket) & ZMQ_POLLIN))
        return false;
    zframe_t *frame = zframe_recv(socket);
    bool ok = frame && zframe_size(frame) == size;
    if (ok)
        memcpy(into, zframe_data(frame), size);
    zframe_destroy(&frame);
    return ok;
}

bool depot_stored(struct depot *self, uint8_t id[BLOB_ID])
{
    return take(depot_socket(self), id, BLOB_ID);
}

bool depot_imported(struct depot *self, uint64_t *ticket)
{
    return take(depot_imports(self), ticket, sizeof *ticket);
}

uint64_t depot_free_space(const char *folder)
{
    struct statvfs found;
    if (statvfs(folder, &found) != 0)
        return UINT64_MAX;
    return (uint64_t)found.f_bavail * found.f_frsize;
}
