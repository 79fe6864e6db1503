/* Messages on the control port: who may send what, and what it does. */
#ifndef FARM_HANDLERS_H
#define FARM_HANDLERS_H

#include "coordinator/tell.h"

/* Deals with one message that was read (or refused by the wire: envelope NULL, `broken`
 * says why). */
void handlers_take(struct coordinator *self, struct message *message,
                   const struct error *broken);

/* The same for one that was put aside: its rate was looked at when it came. */
void handlers_take_again(struct coordinator *self, struct message *message);

/* A handler does what the message asks and answers it; or returns false, and the error is
 * the answer. */
typedef bool(handler_fn)(struct coordinator *self, struct request *request,
                         struct error *error);

/* handlers_member.c: greeting, joining, keys */
handler_fn handle_hello, handle_pulse, handle_join;
handler_fn handle_token_new, handle_key_list, handle_key_revoke;

/* handlers_admin.c: what only administrators ask */
handler_fn handle_key_role, handle_audit_get, handle_metrics_get;

/* handlers_work.c: workers */
handler_fn handle_ready, handle_heartbeat, handle_failed, handle_returned;
handler_fn handle_checkpoint, handle_preview;
handler_fn handle_commit;

/* handlers_swarm.c: pieces between workers; all grants of a key end */
handler_fn handle_have, handle_granted;
void swarm_revoke(struct coordinator *self, const uint8_t key[32]);

/* handlers_tuning.c: what devices found of their kernels; all of it answers NodeList.tuning */
handler_fn handle_tuning;
bool tuning_list(struct coordinator *self, const struct request *request,
                 struct error *error);

/* handlers_node.c */
handler_fn handle_node_list, handle_node_steer;

/* The job a request names, of those it may see. */
struct queue_job *job_named(struct coordinator *self, const struct request *request,
                            ProtobufCBinaryData name, struct error *error);

/* handlers_past.c: what was */
handler_fn handle_job_retry, handle_job_remove, handle_disk_list, handle_log_list;

/* handlers_job.c: jobs, watching */
handler_fn handle_submit, handle_job_list, handle_job_show, handle_job_cancel;
handler_fn handle_job_steer, handle_watch, handle_unwatch, handle_credit;

/* handlers_model.c */
handler_fn handle_model_add, handle_model_list, handle_model_get;

/* The audit's line about a key; and how it is stored. */
void audit_key(struct coordinator *self, const char *what, const struct member *member,
               const char *by);
void store_key(struct coordinator *self, const struct member *member);

/* Ends everything a key has going; it may greet again if it still is a member. */
void member_leaves(struct coordinator *self, const uint8_t key[32], const char *why);

/* A connection is over: its watch, its waiting messages; its node is away. */
void session_end(struct coordinator *self, struct session **session);

/* Connections that are gone, tokens that expired. */
void members_sweep(struct coordinator *self);

/* Makes STATE/admin.token while nobody could administer the farm. */
bool admin_token_make(struct coordinator *self, struct error *error);

/* A blob came to the depot: models may be complete. An import ended. */
void models_blob_came(struct coordinator *self, const uint8_t id[BLOB_ID]);
void models_expect(struct coordinator *self, const struct model *model);
void models_imported(struct coordinator *self, uint64_t ticket);
void models_imports_clear(struct coordinator *self);

/* The key whose jobs the requester is limited to; NULL: no limit. */
const uint8_t *owner_of(const struct request *request);

#endif
