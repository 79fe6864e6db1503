#include <stdio.h>
#include <stdlib.h>

#include "client/ask.h"
#include "client/command.h"
#include "client/print.h"

static int run(const struct arguments *arguments, struct error *error)
{
    Farm__MetricsGet get = FARM__METRICS_GET__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_METRICS_GET;
    ask.metrics_get = &get;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_METRICS, error);
    if (ok) {
        char *text = wire_string(asked.answer.envelope->metrics->text);
        if (arguments->json)
            print_json(json_pack("{ss}", "openmetrics", text));
        else
            fputs(text, stdout);
        free(text);
    }
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

extern const struct command cmd_metrics;
const struct command cmd_metrics = {
    .name = "metrics",
    .usage = "",
    .help = "print the coordinator's counters as OpenMetrics text",
    .run = run,
};
