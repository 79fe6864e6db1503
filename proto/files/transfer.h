/* Carrying blobs in ranges: the state of one blob on its way in.
 *
 * The receiver asks (Want) and so decides the pace: at most TRANSFER_WINDOW frames are
 * outstanding a peer. A blob with known piece hashes is verified piece by piece and resumed
 * from the last good piece; every blob is verified whole before it gets its name. What
 * takes time, hashing, the owner may have done in slices between its polls (transfer_work).
 * Pure but for the file it writes; the owner sends the Wants and feeds the Chunks.
 */
#ifndef FARM_TRANSFER_H
#define FARM_TRANSFER_H

#include "proto/files/blob.h"

enum { TRANSFER_FRAME = 256 << 10, TRANSFER_WINDOW = 8 };

struct transfer;

/* `pieces`: count x 32 bytes, or NULL when the blob's pieces are not known (results). With
 * `resume` and pieces the partial file is kept under the blob's name in the store's new/
 * folder, so that a later start goes on from the pieces that verify: transfer_work reads
 * them, before which nothing can be asked for. ERROR_INPUT when size and pieces do not fit or pass 1 TiB; ERROR_BUSY when
 * another process fetches into the same partial file, or the disk is full. */
struct transfer *transfer_new(struct blob_store *store, const uint8_t id[BLOB_ID],
                              uint64_t size, const uint8_t (*pieces)[BLOB_ID],
                              size_t piece_count, bool resume, struct error *error);
void transfer_destroy(struct transfer **self);

/* Hashes some `most` bytes of what an earlier start left and of what came since; true while
 * more could be done at once. */
bool transfer_work(struct transfer *self, size_t most);

/* Whether it is known what an earlier start left. */
bool transfer_is_ready(const struct transfer *self);

const uint8_t *transfer_id(const struct transfer *self);
uint64_t transfer_received(const struct transfer *self);
uint64_t transfer_size(const struct transfer *self);

/* The next range to ask for; false when the window is full or everything was asked for. A
 * frame that comes unasked with an Offer is its blob's first: call this once, then take. */
bool transfer_next(struct transfer *self, uint64_t *offset, uint32_t *length);

/* The same for one piece alone (of a blob whose pieces are known), whatever the window; and
 * whether that piece is here, verified. */
bool transfer_next_of(struct transfer *self, size_t piece, uint64_t *offset,
                      uint32_t *length);
bool transfer_has_piece(const struct transfer *self, size_t piece);

/* Whether a range from that offset on was asked for and did not come. */
bool transfer_is_asked(const struct transfer *self, uint64_t offset);

/* A range within one piece that is here. */
bool transfer_read(const struct transfer *self, uint64_t offset, void *into,
                   size_t size, struct error *error);

/* A range that was asked for is to be asked for again; all of a piece; everything. */
void transfer_give_back(struct transfer *self, uint64_t offset);
void transfer_restart_piece(struct transfer *self, size_t piece);

/* Everything asked for and not received is to be asked for again (the link reopened). */
void transfer_restart(struct transfer *self);

/* A range that came. ERROR_INPUT when it was not asked for, or a piece does not hash to
 * what it must (that piece will be asked for again); ERROR_BUSY when the disk is full (the
 * range will be asked for again). */
bool transfer_take(struct transfer *self, uint64_t offset, const void *data,
                   size_t size, struct error *error);

/* Whether all is here; then transfer_finish verifies the whole, gives the blob its name
 * and leaves the syncing to the caller. It does at once what transfer_work has not done. On
 * a wrong hash the partial file is removed. */
bool transfer_is_complete(const struct transfer *self);
bool transfer_finish(struct transfer *self, struct error *error);

#endif
