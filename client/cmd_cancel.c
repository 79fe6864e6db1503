#include <stdio.h>

#include "client/ask.h"
#include "client/command.h"
#include "client/print.h"

static int run(const struct arguments *arguments, struct error *error)
{
    Farm__JobCancel cancel = FARM__JOB_CANCEL__INIT;
    cancel.job = wire_text(arguments->rest[0]);
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_JOB_CANCEL;
    ask.job_cancel = &cancel;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_DONE, error);
    if (ok && arguments->json)
        print_json(json_pack("{ss}", "canceled", arguments->rest[0]));
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

extern const struct command cmd_cancel;
const struct command cmd_cancel = {
    .name = "cancel",
    .usage = "JOB",
    .help = "stop a job; results it has are kept",
    .least = 1,
    .most = 1,
    .run = run,
};
