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

bool ask_job(struct session *session, const char *job, uint64_t first, uint32_t limit,
             struct message *answer, struct error *error)
{
    Farm__JobShow wanted = FARM__JOB_SHOW__INIT;
    wanted.job = wire_text(job);
    wanted.first = first;
    wanted.limit = limit;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_JOB_SHOW;
    ask.job_show = &wanted;
    return session_ask(session, &ask, FARM__ENVELOPE__BODY_JOB_DETAIL, answer, error);
}

bool ask_models(struct session *session, struct message *answer, struct error *error)
{
    Farm__ModelList list = FARM__MODEL_LIST__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_MODEL_LIST;
    ask.model_list = &list;
    return session_ask(session, &ask, FARM__ENVELOPE__BODY_MODELS, answer, error);
}
