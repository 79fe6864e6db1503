/* Results, and snapshots (checkpoints.h), on their way up the bulk link: offered, sent as wanted, announced, answered.
 *
 * Any of that may be lost with a connection, so all of it is repeated: from the beginning
 * after upload_restart, and what stays unanswered after 10 s. Repeating is harmless,
 * because files are named by content and commits by task.
 */
#ifndef FARM_UPLOAD_H
#define FARM_UPLOAD_H

#include "proto/link.h"
#include "worker/checkpoints.h"
#include "worker/spool.h"

struct upload;

/* Borrows both. */
struct upload *upload_new(struct spool *spool, struct checkpoints *checkpoints);
void upload_destroy(struct upload **self);

/* Nothing counts as stored or announced any more. */
void upload_restart(struct upload *self);

/* Sends what the link has room for: ranges wanted earlier, then offers. */
void upload_step(struct upload *self, struct link *link, int64_t now_ms);
bool upload_is_waiting(const struct upload *self); /* for room in the link */

/* A Stored or Want that came. */
void upload_stored(struct upload *self, const Farm__Stored *message);
void upload_want(struct upload *self, struct link *link, const Farm__Want *message);

/* A result whose files are all stored and whose Commit is to be sent now; borrowed, NULL
 * when there is none. Given once, and again when no answer comes. */
const Farm__Commit *upload_next_commit(struct upload *self, int64_t now_ms);

/* The answer to a Commit. True when it was final: the result left the spool. RETRY sends
 * it again, files too, with back-off. */
bool upload_answer(struct upload *self, uint64_t epoch, uint64_t counter,
                   Farm__CommitAnswer answer, int64_t now_ms);

#endif
