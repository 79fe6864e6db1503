#include "client/ask.h"

bool ask_once(struct asked *self, const struct arguments *arguments,
              Farm__Envelope *ask, Farm__Envelope__BodyCase expected,
              struct error *error)
{
    *self = (struct asked){.session = session_open(arguments, error)};
    return self->session &&
           session_ask(self->session, ask, expected, &self->answer, error);
}

void asked_clear(struct asked *self)
{
    message_clear(&self->answer);
    session_close(&self->session);
}
