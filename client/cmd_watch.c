/* watch, wait and fetch: following a job that was submitted before. */
#include "client/command.h"
#include "client/live.h"
#include "client/names.h"
#include "client/print.h"

static int follow(const struct arguments *arguments, const struct live_options *wanted,
                  struct error *error)
{
    struct session *session = session_open(arguments, error);
    struct live *live =
        session ? live_new(session, arguments->rest[0], wanted, error) : NULL;
    int code = live_follow(&live, arguments, error);
    session_close(&session);
    return code;
}

static bool wants_bar(const struct arguments *arguments)
{
    return !arguments->quiet && !arguments->json && progress_possible();
}

static int run_watch(const struct arguments *arguments, struct error *error)
{
    struct live_options wanted = {
        .template = NAMES_DEFAULT,
        .previews = arguments_has(arguments, "preview")
                        ? arguments_value(arguments, "out", "out/{job}")
                        : NULL,
        .bar = wants_bar(arguments),
        .stream = arguments->json,
    };
    return follow(arguments, &wanted, error);
}

static int run_wait(const struct arguments *arguments, struct error *error)
{
    return follow(arguments, &(struct live_options){0}, error);
}

static int run_fetch(const struct arguments *arguments, struct error *error)
{
    struct live_options wanted = {
        .folder = arguments_value(arguments, "out", "out/{job}"),
        .template = arguments_value(arguments, "name", NAMES_DEFAULT),
        .bar = wants_bar(arguments),
        .only_present = true,
    };
    if (!names_check(wanted.template, error))
        return command_failed(error);
    return follow(arguments, &wanted, error);
}

extern const struct command cmd_watch, cmd_wait, cmd_fetch;
static const struct flag watch_flags[] = {
    {"preview", 0, NULL,
     "DIR/previews/NAME.png as they denoise; the newest here, too, in kitty's "
     "terminals"},
    {"out", 'o', "DIR", "folder for previews; default out/{job}"},
    {NULL, 0, NULL, NULL},
};
const struct command cmd_watch = {
    .name = "watch",
    .usage = "JOB [--preview] [-o DIR]",
    .help = "show a job's progress until it ends",
    .flags = watch_flags,
    .least = 1,
    .most = 1,
    .run = run_watch,
};
const struct command cmd_wait = {
    .name = "wait",
    .usage = "JOB",
    .help = "block until a job ended; exit 1 when images failed",
    .least = 1,
    .most = 1,
    .run = run_wait,
};
static const struct flag fetch_flags[] = {
    {"out", 'o', "DIR", "folder for results; default out/{job}"},
    {"name", 0, "TEMPLATE", "their names; default {index:05}-{seed}"},
    {NULL, 0, NULL, NULL},
};
const struct command cmd_fetch = {
    .name = "fetch",
    .usage = "JOB [-o DIR]",
    .help = "download the results that are done; files already there are kept",
    .flags = fetch_flags,
    .least = 1,
    .most = 1,
    .run = run_fetch,
};
