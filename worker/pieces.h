/* The piece cache: models' files by hash, fetched in verified pieces, shared by the host's
 * children.
 *
 * FOLDER/blobs is a blob store, FOLDER/manifests/HEX the packed manifest of each model ever
 * wanted. One process fetches at a time (FOLDER/fetch.lock); the others wait and then find
 * the files there. Belongs to the I/O actor; it sends the ranges asked for here.
 *
 * Before a fetch the models used longest ago make room, down to the limit; one that any
 * process of this host was handed lately is left alone (a shared lock on its manifest).
 */
#ifndef FARM_PIECES_H
#define FARM_PIECES_H

#include "base/buffer.h"
#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"
#include "worker/sd/pipeline.h"

/* What was handed out last stays while this is open: so many models, so many files that
 * tasks brought along. */
enum { PIECES_PINNED = 4, PIECES_INPUTS_PINNED = 256 };

struct pieces;

/* `limit`: bytes the files of all models may take; 0: any. `depot`: another blob store on this machine (a coordinator's), from which files are
 * linked instead of fetched; NULL or "": none. */
struct pieces *pieces_open(const char *folder, const char *depot, uint64_t limit,
                           struct error *error);
void pieces_close(struct pieces **self);

/* The ids of all models whose every file is here, without files of tasks; heap, the caller's. */
size_t pieces_complete(const struct pieces *self, uint8_t (**ids)[BLOB_ID]);

enum pieces_state {
    PIECES_FAILED,
    PIECES_HERE,
    PIECES_NO_MANIFEST, /* get it, pieces_manifest(), ask again */
    PIECES_FETCHING,    /* pieces_next() says what to ask for */
    PIECES_BUSY,        /* another process fetches, or this one another model */
};

/* Begins to fetch the model, or says how far it is. Call again whenever something changed,
 * and at once while pieces_works: files are hashed in slices, so that gigabytes of them keep
 * nobody waiting. FAILED sets *error. */
enum pieces_state pieces_want(struct pieces *self, const uint8_t id[BLOB_ID],
                              struct error *error);

bool pieces_works(const struct pieces *self);

/* Takes a manifest in: ERROR_INPUT when it does not pass manifest_check or has another id. */
bool pieces_manifest(struct pieces *self, const uint8_t id[BLOB_ID],
                     const Farm__Manifest *manifest, struct error *error);

/* Sources of the present fetch, numbered as gather.h does, and what they have; a source that
 * has no time now; one that is gone; ranges to ask one for; how many it has not answered, and
 * of how many bytes. Without a fetch nothing happens. ERROR_INPUT for bits that do not fit the
 * model, an error of the disk. */
bool pieces_source(struct pieces *self, size_t source, const uint8_t *bits, size_t size,
                   struct error *error);
void pieces_release(struct pieces *self, size_t source);
void pieces_drop(struct pieces *self, size_t source);
bool pieces_next(struct pieces *self, size_t source, uint8_t blob[BLOB_ID],
                 uint64_t *offset, uint32_t *length, struct error *error);
size_t pieces_outstanding(const struct pieces *self, size_t source);
size_t pieces_awaited(const struct pieces *self, size_t source);

/* A range that came from a source. What was not asked of it is dropped without a word (an
 * answer from before a restart); *piece: one is whole. ERROR_INPUT when a piece is not what
 * its hash says. */
bool pieces_take(struct pieces *self, size_t source, const uint8_t blob[BLOB_ID],
                 uint64_t offset, const void *data, size_t size, bool *piece,
                 struct error *error);

/* Asks a source again for all that is outstanding with it (the link reopened). */
void pieces_restart(struct pieces *self, size_t source);

/* Puts the model's name, and that of the file where it is known, before an error's text.
 * Returns false. */
bool pieces_name(const struct pieces *self, const uint8_t *blob, struct error *error);

/* Which pieces of the model are here, appended (gather_bits); false when it is neither whole
 * nor being fetched. */
bool pieces_bits(struct pieces *self, const uint8_t id[BLOB_ID], struct buffer *into);

/* The model's manifest where one lies here, the caller's; NULL. A range of a file, whole or
 * of a piece that was verified: ERROR_NOT_FOUND. */
Farm__Manifest *pieces_known(const struct pieces *self, const uint8_t id[BLOB_ID]);
bool pieces_read(const struct pieces *self, const uint8_t blob[BLOB_ID],
                 uint64_t offset, void *into, size_t size, struct error *error);

/* Gives the present fetch up; a later one goes on from its last good piece. */
void pieces_stop(struct pieces *self);

/* The files of a model that is HERE, and its manifest, and pins it; *files is to be cleared, the
 * manifest destroyed by the caller. */
bool pieces_files(struct pieces *self, const uint8_t id[BLOB_ID],
                  struct model_files *files, Farm__Manifest **manifest,
                  struct error *error);

#endif
