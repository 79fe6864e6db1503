#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/draft.h"
#include "client/live.h"
#include "client/names.h"
#include "client/print.h"

/* Follows the job, fetching, and says at the end how it went. */
static int follow(struct session *session, const char *job,
                  const struct arguments *arguments, struct error *error)
{
    struct live_options wanted = {
        .folder = arguments_value(arguments, "out", "out/{job}"),
        .template = arguments_value(arguments, "name", NAMES_DEFAULT),
        .previews = arguments_has(arguments, "preview")
                        ? arguments_value(arguments, "out", "out/{job}")
                        : NULL,
        .bar = !arguments->quiet && !arguments->json && progress_possible(),
    };
    struct live *live = live_new(session, job, &wanted, error);
    return live_follow(&live, arguments, error);
}

static int run(const struct arguments *arguments, struct error *error)
{
    struct draft draft = {0};
    struct session *session = NULL;
    char job[33];
    int code = EXIT_DONE;
    bool dry = arguments_has(arguments, "dry-run");
    bool ok = names_check(arguments_value(arguments, "name", NAMES_DEFAULT), error) &&
              draft_make(&draft, arguments, error) &&
              (dry || draft_confirm(&draft, arguments, error));
    if (ok && dry) {
        session = session_open(arguments, NULL);
        draft_explain(&draft, session, arguments->json);
        goto out;
    }
    session = ok ? session_open(arguments, error) : NULL;
    ok = session && draft_import(&draft, session, arguments->quiet, error) &&
         draft_submit(&draft, session, job, error);
    code = ok ? follow(session, job, arguments, error) : command_failed(error);
out:
    session_close(&session);
    draft_clear(&draft);
    return code;
}

extern const struct command cmd_render;
const struct command cmd_render = {
    .name = "render",
    .usage = "[OPTIONS] PROMPT...",
    .help = "submit a job, show its progress and fetch its images as they land",
    .flags = flags_of_jobs,
    .makes_jobs = true,
    .most = 100000,
    .run = run,
};
