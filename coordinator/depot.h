/* The depot: an actor that owns the bulk socket and carries blobs in and out of the store.
 *
 * It knows keys and roles by what the loop tells it, and tells the loop what came.
 */
#ifndef FARM_DEPOT_H
#define FARM_DEPOT_H

#include "coordinator/door.h"
#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"

struct depot;

/* In bytes. */
struct depot_limits {
    uint64_t reserve; /* free ones, below which nothing is taken */
    /* files that nothing names, of one key of that role; 0: any */
    uint64_t worker_quota, submit_quota;
};

/* Binds first. The store is shared: its fields never change once it is open. */
struct depot *depot_new(const struct door_options *door, const struct keypair *server,
                        struct blob_store *blobs, const char *folder,
                        const struct depot_limits *limits, int *port,
                        struct error *error);
void depot_destroy(struct depot **self);

/* From now on the key has that role; ROLE_NONE forgets it and what it was sending. */
void depot_role(struct depot *self, const uint8_t key[32], Farm__Role role);

/* Closes the bulk socket with all its connections and opens it on the same port. */
void depot_open_anew(struct depot *self);

/* A blob whose pieces are known will be offered: it is taken piece by piece, and what came
 * stays when its sender or this process dies. */
void depot_expect(struct depot *self, const Farm__ModelFile *file);

/* A result or a complete model names the blob now, or it was removed: it counts no more as
 * what its sender has here. */
void depot_named(struct depot *self, const uint8_t id[BLOB_ID]);

/* Takes files FOLDER/<64 hexadecimal digits> into the store, verified, and removes them.
 * Answered by depot_take with that ticket. Done by an actor of its own: hashing gigabytes
 * must not delay anybody's pictures. */
void depot_import(struct depot *self, uint64_t ticket, const char *folder,
                  const uint8_t (*ids)[BLOB_ID], size_t count);

/* Readable when something is to be taken; two sockets. */
zsock_t *depot_socket(struct depot *self);
zsock_t *depot_imports(struct depot *self);

/* A blob that came and is on disk; false when there is none. Does not block. */
bool depot_stored(struct depot *self, uint8_t id[BLOB_ID]);

/* An import that ended, successful or not; false when there is none. */
bool depot_imported(struct depot *self, uint64_t *ticket);

/* Free bytes of the file system a folder lies on; UINT64_MAX when that is not known. */
uint64_t depot_free_space(const char *folder);

#endif
