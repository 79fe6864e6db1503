/* What happens to tasks and attempts, in memory, in this turn's change and in events. */
#ifndef FARM_WORK_H
#define FARM_WORK_H

#include "coordinator/tell.h"

/* Key, model and group of a task of an open job; false when it cannot be expanded. */
bool work_look(struct coordinator *self, struct queue_job *job, uint64_t index,
               struct scheduler_task *view);

/* Tasks of the job that come next and whose results are known are done; stops at the
 * first that is not, or after some. */
void work_settle(struct coordinator *self, struct queue_job *job);

/* The result of this task is known already: true, and it is done. */
bool work_known(struct coordinator *self, struct queue_job *job, uint64_t index,
                const struct scheduler_task *view);

/* ready -> leased, by that node. */
struct queue_lease *work_lease(struct coordinator *self, struct node *node,
                               struct queue_job *job, uint64_t index,
                               const struct scheduler_task *view);

/* What the task of a lease that was restored costs. */
void work_cost(struct queue_lease *lease, const struct scheduler_task *view);

/* A second attempt at a leased task, by another node. */
struct queue_lease *work_twin(struct coordinator *self, struct node *node,
                              struct queue_lease *lease);

/* The attempt ends without a result and blames nobody. */
void work_release(struct coordinator *self, struct queue_lease **lease,
                  const char *why);

/* The attempt failed: with `final` the task too, else it is tried elsewhere while that
 * may help. */
void work_fail(struct coordinator *self, struct queue_lease **lease, bool final,
               const char *text);

/* A result or a model that is whole names the blob from this commit on. */
void work_name_blob(struct coordinator *self, const uint8_t id[32], uint64_t size);

/* A verified result, rendered by `node`, for a task whose key it is: the lease's tasks and
 * this one are done and its twin ends; without a lease, the one task is done. A lease that
 * asks for latents which the result lacks goes on, and the one task and what else asks for
 * none is done. The row's number, key and node are filled here. */
void work_take(struct coordinator *self, struct queue_lease **lease,
               struct queue_job *job, uint64_t index, struct node *node,
               const uint8_t key[32], struct result_row *result);

/* Drains, blocks or frees a node. What a blocked one holds is ready again. */
void work_order(struct coordinator *self, struct node *node, enum node_order order,
                const char *reason);

/* work_sign.c: the farm's word on where a result of that task comes from, appended. */
void work_sign(struct coordinator *self, struct queue_job *job, uint64_t index,
               const struct node *node, const struct result_row *result,
               struct buffer *text);

/* work_kind.c: whether the node may have tasks of the job; how many nodes work now that
 * may; and that from its first lease on, by that node, the job keeps to devices of that
 * kind, if it asked to. */
bool work_suits(const struct queue_job *job, const struct node *node);
unsigned work_nodes(const struct coordinator *self, const struct queue_job *job);
void work_keep_to_kind(struct coordinator *self, struct queue_job *job,
                       const struct node *node);

/* work_decode.c: whether the attempt is to come back undecoded; whether one that was given
 * back came so, and now waits for the node that decodes it (else it is not touched); and what
 * waits for nodes that work no more is anybody's. */
bool work_hands_on(const struct coordinator *self, const struct node *node,
                   const struct queue_lease *lease);
bool work_hand_over(struct coordinator *self, struct queue_lease **lease,
                    struct node *node);
void work_unkeep(struct coordinator *self, struct queue_job *job);

void work_cancel(struct coordinator *self, struct queue_job *job);

/* All attempts of a node end: it is gone, or began anew. With `unconfirmed` only those it
 * did not name since it greeted. */
void work_release_node(struct coordinator *self, struct node *node, bool unconfirmed,
                       const char *why);

/* The end of a turn: cursors are stored, jobs whose last task ended are closed. */
void work_close_jobs(struct coordinator *self);

/* Leases that ran out. */
void work_expire(struct coordinator *self);

#endif
