/* Questions of one message and one answer. */
#ifndef FARM_ASK_H
#define FARM_ASK_H

#include "client/session.h"

/* Opens the session the arguments name, asks, and keeps the answer. Both are the caller's
 * to close and clear whatever is returned. */
struct asked {
    struct session *session;
    struct message answer;
};
bool ask_once(struct asked *self, const struct arguments *arguments,
              Farm__Envelope *ask, Farm__Envelope__BodyCase expected,
              struct error *error);
void asked_clear(struct asked *self);

/* Questions that several commands ask; the answer is the caller's to clear. A page of a
 * job's tasks, as JobDetail, from the task `first` on; the job by its id, a prefix that no
 * other has, its label, or "last". All models, as Models. */
bool ask_job(struct session *session, const char *job, uint64_t first, uint32_t limit,
             struct message *answer, struct error *error);
bool ask_models(struct session *session, struct message *answer, struct error *error);

#endif
