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

#endif
