/* Pictures half way: the newest of each task that has not ended, for its next attempt.
 *
 * A row of each is in the database; the file is a blob that only that row names. Nothing
 * here must survive: what is lost is rendered again from the beginning. So the file is not
 * synced, backed up or checked; a row whose file is gone is given to nobody.
 */
#ifndef FARM_CHECKPOINTS_H
#define FARM_CHECKPOINTS_H

#include <czmq.h>

#include "coordinator/change.h"
#include "coordinator/queue.h"
#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"

struct coordinator;
struct node;

struct checkpoints {
    zhashx_t *by_key; /* task key -> struct checkpoint_row, kind owned */
    uint8_t (*dropped)[BLOB_ID];
    size_t dropped_count, dropped_room;
};

void checkpoints_init(struct checkpoints *self);
void checkpoints_clear(struct checkpoints *self);

/* One that was stored; context is the coordinator. */
void checkpoints_load(void *coordinator, const struct checkpoint_row *row);

/* What the node sent about its live attempt. It takes the place of the one before, unless
 * that is another live attempt's and further on. ERROR_INPUT when its file is not here with
 * that size. Without a blob: the one of that step, which the attempt was given, is dropped. */
bool checkpoints_take(struct coordinator *self, const struct queue_lease *lease,
                      const struct node *node, const Farm__Checkpoint *message,
                      struct error *error);

/* The one for an attempt of that task by that node, whose device is of the same kind;
 * borrowed, NULL when there is none. */
const struct checkpoint_row *checkpoints_for(const struct coordinator *self,
                                             const uint8_t key[QUEUE_KEY],
                                             const struct node *node);

/* The task, all tasks of a job, ended. */
void checkpoints_end(struct coordinator *self, const uint8_t key[QUEUE_KEY]);
void checkpoints_end_job(struct coordinator *self, int64_t job);

/* What a node sent is of no use any more. */
void checkpoints_end_node(struct coordinator *self, uint32_t node);

/* Removes the files of those dropped, where nothing else names them. */
void checkpoints_sweep(struct coordinator *self);

/* Whether one of those kept lies in that file. */
bool checkpoints_name(const struct checkpoints *self, const uint8_t id[BLOB_ID]);

#endif
