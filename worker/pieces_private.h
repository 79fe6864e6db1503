/* The inside of the piece cache, for pieces.c (fetching) and pieces_room.c (what is known
 * here, and what goes to make room). */
#ifndef FARM_PIECES_PRIVATE_H
#define FARM_PIECES_PRIVATE_H

#include "proto/files/intake.h"
#include "worker/gather.h"
#include "worker/pieces.h"

struct pieces {
    char *folder, *depot;
    uint64_t limit;
    struct blob_store *blobs;
    /* manifests with a shared lock, last first; -1: none */
    int pin[PIECES_PINNED], input_pin[PIECES_INPUTS_PINNED];
    /* the present fetch; manifest NULL: none */
    uint8_t id[BLOB_ID];
    Farm__Manifest *manifest;
    struct gather *gather;
    size_t near; /* files before this one were looked for on this machine */
    struct intake *intake;
    bool more; /* a slice of work is due */
    int lock;
};

char *pieces_manifest_path(const struct pieces *self, const uint8_t id[BLOB_ID]);

/* NULL when it is not here or no longer what its name says. */
Farm__Manifest *pieces_read_manifest(const struct pieces *self,
                                     const uint8_t id[BLOB_ID]);
bool pieces_file_here(const struct pieces *self, const Farm__ModelFile *file);
bool pieces_all_here(const struct pieces *self, const Farm__Manifest *manifest);

/* Called with the fetch lock held, before a model comes. */
void pieces_make_room(struct pieces *self, const uint8_t id[BLOB_ID],
                      const Farm__Manifest *coming);

#endif
