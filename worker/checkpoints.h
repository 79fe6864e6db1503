/* Snapshots between this worker and the farm: those made here on their way up, and those
 * that attempts go on from on their way here, one at a time, from the worker that made it
 * where the coordinator grants that, else from the coordinator. In memory: whoever loses one
 * renders a little more. What is there stays here, too, for other workers, up to 64 MiB.
 */
#ifndef FARM_CHECKPOINT_FILES_H
#define FARM_CHECKPOINT_FILES_H

#include "proto/link.h"
#include "worker/io.h"
#include "worker/spool.h"

struct checkpoints;

/* `own`, borrowed: with which other workers are asked; NULL: only the farm is. */
struct checkpoints *checkpoints_new(const struct keypair *own);
void checkpoints_destroy(struct checkpoints **self);

/* The newest snapshot of that attempt goes up; one before it that is not there yet is left,
 * unless the farm began to take it. Takes the bytes. */
void checkpoints_offer(struct checkpoints *self, uint64_t epoch, uint64_t counter,
                       uint32_t step, struct buffer *bytes);

/* Nothing of that attempt is of use any more. */
void checkpoints_forget(struct checkpoints *self, uint64_t epoch, uint64_t counter);

/* Those that are to be offered now, 0 .. count - 1, for upload.c; borrowed until the next
 * call of another function. */
size_t checkpoints_count(const struct checkpoints *self);
struct spool_blob *checkpoints_at(struct checkpoints *self, size_t i);

/* A range of one; ERROR_NOT_FOUND when there is none of that name. Its bytes; 0. */
bool checkpoints_read(const struct checkpoints *self, const uint8_t id[BLOB_ID],
                      uint64_t offset, void *into, size_t size, struct error *error);
uint64_t checkpoints_size(const struct checkpoints *self, const uint8_t id[BLOB_ID]);

/* Wants the snapshot of that name for that attempt. */
void checkpoints_want(struct checkpoints *self, uint64_t epoch, uint64_t counter,
                      const uint8_t blob[BLOB_ID], uint64_t size);

/* What came over the bulk link: true when it was for us. */
bool checkpoints_chunk(struct checkpoints *self, const struct message *message);
void checkpoints_peers(struct checkpoints *self, const Farm__Peers *list);
bool checkpoints_refused(struct checkpoints *self, const Farm__Envelope *envelope);

/* What a poller waits for besides the link; gives their number. */
size_t checkpoints_poll(struct checkpoints *self, zmq_pollitem_t items[2]);
bool checkpoints_is_fetching(const struct checkpoints *self); /* look every 200 ms */

/* The connection is new: asks for all that is outstanding again. */
void checkpoints_restart(struct checkpoints *self);

/* Goes on as far as it can, sending Wants over `link` (NULL: none yet). True when there is
 * news: IO_HAVE, IO_CHECKPOINTED, IO_CHECKPOINT or IO_NO_CHECKPOINT; call again then. */
bool checkpoints_next(struct checkpoints *self, struct link *link, int64_t now_ms,
                      struct io_event *news);

#endif
