/* A model on its way here from several sources at once: which piece is asked of whom.
 *
 * Pieces (4 MiB at most, proto/files/manifest.h) are numbered over all files of the
 * manifest in its order. A source is asked for the pieces it has that fewest others have,
 * one whole piece of it at a time, so that a piece that is not what its hash says names the
 * one who sent it. Pure but for the files it writes.
 */
#ifndef FARM_GATHER_H
#define FARM_GATHER_H

#include "proto/farm.pb-c.h"
#include "proto/files/transfer.h"

enum {
    GATHER_COORDINATOR, /* the first source; what it may be asked for it says itself */
    GATHER_SOURCES = 9,
};

struct gather;

/* Files that are here already need nothing; of partial ones the pieces that verify are
 * here, once gather_work has looked at them. The manifest is borrowed. */
struct gather *gather_new(struct blob_store *store, const Farm__Manifest *manifest,
                          struct error *error);
void gather_destroy(struct gather **self);

size_t gather_pieces(const struct gather *self);
size_t gather_missing(const struct gather *self);

/* Does a slice of some `most` bytes of the hashing that is due: of what an earlier fetch left,
 * before which nothing is asked for, and of files on their way, which get their names.
 * *more: call it again soon. An error as gather_take gives it. */
bool gather_work(struct gather *self, size_t most, bool *more, struct error *error);

/* Every file has its name. */
bool gather_is_done(const struct gather *self);

/* Which pieces are here: a bit each, lowest first; (pieces + 7) / 8 bytes. */
void gather_bits(const struct gather *self, uint8_t *bits);

/* What a source has, in that form (copied), or NULL for all. A wrong size is ERROR_INPUT. */
bool gather_source(struct gather *self, size_t source, const uint8_t *bits, size_t size,
                   struct error *error);

/* What the source was asked for is asked of others; it may be asked again. */
void gather_release(struct gather *self, size_t source);

/* The source is gone, too. */
void gather_drop(struct gather *self, size_t source);

/* All that is outstanding with the source is asked for again, of it. */
void gather_restart(struct gather *self, size_t source);

/* The next range to ask that source for; false when none is to be asked for now. */
bool gather_next(struct gather *self, size_t source, uint8_t blob[BLOB_ID],
                 uint64_t *offset, uint32_t *length, struct error *error);

/* Ranges asked of the source and not answered, and their bytes. */
size_t gather_outstanding(const struct gather *self, size_t source);
size_t gather_awaited(const struct gather *self, size_t source);

/* A range that came from a source. What was not asked of it is dropped without a word.
 * *piece: a piece became whole. ERROR_INPUT: it is not what its hash says, and nothing of it
 * is kept; ERROR_BUSY: the disk is full. */
bool gather_take(struct gather *self, size_t source, const uint8_t blob[BLOB_ID],
                 uint64_t offset, const void *data, size_t size, bool *piece,
                 struct error *error);

/* The name of the file a blob is, for messages; NULL when it is none of the model's. */
const Farm__ModelFile *gather_file(const struct gather *self,
                                   const uint8_t blob[BLOB_ID]);

/* A range of a file that is not whole yet: ERROR_NOT_FOUND unless its piece is here. */
bool gather_read(const struct gather *self, const uint8_t blob[BLOB_ID],
                 uint64_t offset, void *into, size_t size, struct error *error);

#endif
