/* A conversation with one coordinator: finding it, greeting, questions and answers, and the
 * bulk link for blobs. */
#ifndef FARM_SESSION_H
#define FARM_SESSION_H

#include "client/arguments.h"
#include "client/member.h"
#include "proto/link.h"

struct session;

/* Finds the farm the arguments or the environment name (--local, --farm, CLFARM_FARM, the
 * only one joined, the coordinator of this user on this machine), connects and greets. */
struct session *session_open(const struct arguments *arguments, struct error *error);

/* With a farm and key known already; the key is copied. Waits until it is greeted, at most
 * patience_ms. A signing key that the farm names for the first time is saved in `folder`,
 * the member's; one that is another than before is ERROR_DENIED. */
struct session *session_open_farm(const struct farm *farm, const struct keypair *own,
                                  const char *folder, int patience_ms,
                                  struct error *error);
void session_close(struct session **self);

/* What the farm said when it greeted. */
const char *session_farm(const struct session *self);
Farm__Role session_role(const struct session *self);

/* With what the farm signs; NULL for one that does not. */
const uint8_t *session_signing_key(const struct session *self);

/* Whether it is the private farm of this machine. */
void session_set_local(struct session *self);
bool session_is_local(const struct session *self);

/* How long a question waits for its answer while the coordinator is away; 15 s at first. */
void session_set_patience(struct session *self, int patience_ms);

/* Sends the envelope with a request number and waits for its answer, which must be of the
 * `expected` body; *answer is the caller's to clear. Asked again after every greeting, so
 * only what may be repeated is asked. A Refused becomes the error with its kind. */
bool session_ask(struct session *self, Farm__Envelope *ask,
                 Farm__Envelope__BodyCase expected, struct message *answer,
                 struct error *error);

/* Sends what awaits no answer, or one that session_next brings (the request number is
 * returned in the envelope). Lost when the coordinator is away. */
void session_send(struct session *self, Farm__Envelope *envelope);

/* Waits until something can be read on either link, or ms passed, or Ctrl-C. */
void session_wait(struct session *self, int ms);

/* Messages session_ask was not waiting for; LINK_GREETED: watches must be set up again.
 * Call until LINK_NOTHING. */
enum link_event session_next(struct session *self, struct message *into);

/* The bulk link, opened at the first use; NULL and the error when it cannot. A coordinator
 * that restarted may have another port: the number of links opened then changes, and what
 * was asked on the old one is gone. */
struct link *session_bulk(struct session *self, struct error *error);
unsigned session_bulk_links(const struct session *self);

/* Whether the coordinator answers now, and if not, why not (see link_trouble). */
bool session_is_up(struct session *self);
bool session_trouble(struct session *self, struct error *error);

#endif
