/* What watchers are told: state changes in order, from a ring that all watches share.
 *
 * A watch is a position in the ring and a credit. One that falls behind further than the
 * ring reaches, or whose connection took no more, has lost what lies between: it is told
 * Lost and gets a new Snapshot when it shows credit again. So a stalled watcher costs
 * nothing but its place, and slows nobody.
 */
#ifndef FARM_EVENTS_H
#define FARM_EVENTS_H

#include "coordinator/previews.h"
#include "coordinator/registry.h"

enum { EVENTS_RING = 8192, EVENTS_PREVIEWS = 16 };

struct events;

/* Sends an envelope to a peer. */
typedef void(events_send_fn)(void *context, const uint8_t peer[PEER_ID],
                             const Farm__Envelope *envelope);

/* Sends the watch's Snapshot with that number under that request. `job` is NULL for all,
 * `owner` NULL for everybody's. */
typedef void(events_snapshot_fn)(void *context, const uint8_t peer[PEER_ID],
                                 uint64_t request, uint64_t seq, const uint8_t *job,
                                 const uint8_t *owner);

struct events *events_new(events_send_fn *send, events_snapshot_fn *snapshot,
                          void *context);
void events_destroy(struct events **self);

/* A peer watches one job, or all when `job` is NULL; with `owner`, only jobs that key
 * submitted. It replaces the peer's earlier watch; the Snapshot is sent at once. */
void events_watch(struct events *self, const uint8_t peer[PEER_ID], uint64_t request,
                  const uint8_t *job, const uint8_t *owner, uint32_t credit);
void events_unwatch(struct events *self, const uint8_t peer[PEER_ID]);
void events_credit(struct events *self, const uint8_t peer[PEER_ID], uint32_t more);
bool events_watched(const struct events *self);

/* The peer's watch gets so many more previews (0 as long as nothing is said); never more
 * than EVENTS_PREVIEWS at once. */
void events_previews(struct events *self, const uint8_t peer[PEER_ID], uint32_t more);

/* Whether a watch wants previews of that job, submitted by `owner`. */
bool events_want_previews(const struct events *self, const uint8_t job[16],
                          const uint8_t owner[32]);

/* A preview of a task: kept for a moment until newer ones come, never numbered. */
void events_preview(struct events *self, const Farm__Event *event,
                    const uint8_t owner[32], int64_t now);

/* The peer's connection took no more: what it was sent last may be lost. */
void events_stalled(struct events *self, const uint8_t peer[PEER_ID]);

/* A change of a job or its task, of the job submitted by `owner`; copied. */
void events_push(struct events *self, const Farm__Event *event, const uint8_t job[16],
                 const uint8_t owner[32]);

/* Sends what is new to everybody with credit. */
void events_deliver(struct events *self);

/* A node's progress, to everybody with credit, never kept: `show` fills the message for
 * watchers of that job (NULL: of all) and says whether it concerns them. */
typedef bool(events_node_fn)(void *context, const struct node *node, const uint8_t *job,
                             Farm__Node *into);
void events_node(struct events *self, const struct node *node, events_node_fn *show,
                 void (*clear)(Farm__Node *));

#endif
