/* What the coordinator says: answers, refusals, events, and how its state looks in
 * messages. Everything goes through the outbox. */
#ifndef FARM_TELL_H
#define FARM_TELL_H

#include "coordinator/coordinator.h"

/* A message being handled. */
struct request {
    struct message *message;
    const uint8_t *peer;
    struct session *session; /* NULL for Hello and Join */
    struct member *member;
    Farm__Role role;
    bool again; /* it was put aside before (parked.h) */
};

/* Envelopes for tell_answer: ANSWER(welcome, WELCOME, &body). */
#define ANSWER(field, name, value)                                                     \
    &(Farm__Envelope)                                                                  \
    {                                                                                  \
        .base = PROTOBUF_C_MESSAGE_INIT(&farm__envelope__descriptor),                  \
        .body_case = FARM__ENVELOPE__BODY_##name, .field = value                       \
    }

/* Answers under the request's number. */
void tell_answer(struct coordinator *self, const struct request *request,
                 Farm__Envelope *envelope);
void tell_refused(struct coordinator *self, const uint8_t peer[PEER_ID],
                  uint64_t number, const struct error *error);

/* Unasked, to the node's connection, if it has one. */
void tell_node(struct coordinator *self, const struct node *node,
               Farm__Envelope *envelope);
void tell_withdraw(struct coordinator *self, const struct node *node,
                   struct queue_attempt attempt);

/* Whether it may ask for work. */
void tell_drain(struct coordinator *self, const struct node *node);

/* A result as a message shows it; borrows from the row. */
void tell_result(const struct result_row *row, Farm__Result *into);

/* Job summary with the submitter's name; borrowed. */
void tell_summary(const struct coordinator *self, const struct queue_job *job,
                  Farm__JobSummary *into);

/* Events: a job changed; a task of it changed (`result` and texts may be NULL). */
void tell_job_event(struct coordinator *self, const struct queue_job *job);
void tell_task_event(struct coordinator *self, const struct queue_job *job,
                     uint64_t index, Farm__TaskState state,
                     const struct result_row *result, const char *node,
                     const char *reason);

/* An attempt at a task of the job failed there: so its summaries say from now on, and the
 * node, to those who may see all jobs. */
void tell_trouble(const struct queue_job *job, struct node *node, const char *text);

/* How a node looks; with a job, only if it works for that one, and its progress there.
 * `context` is the coordinator. */
bool tell_show_node(void *context, const struct node *node, const uint8_t *job,
                    Farm__Node *into);
void tell_clear_node(Farm__Node *node);

/* Callbacks of events.h; `context` is the coordinator. */
void tell_event(void *context, const uint8_t peer[PEER_ID],
                const Farm__Envelope *envelope);
void tell_snapshot(void *context, const uint8_t peer[PEER_ID], uint64_t request,
                   uint64_t seq, const uint8_t *job, const uint8_t *owner);

/* Previews of what somebody watches are asked of those who render it. */
void tell_preview_asks(struct coordinator *self);

/* Nodes that changed, to watchers. */
void tell_changed_nodes(struct coordinator *self);

#endif
