#include <inttypes.h>
#include <stdio.h>

#include "client/command.h"
#include "client/draft.h"
#include "client/print.h"

static void explain(const struct draft *draft, const char *job,
                    const struct arguments *arguments)
{
    const char *local = arguments->local ? "--local " : "";
    if (arguments->json)
        print_json(json_pack("{ss sI}", "job", job, "tasks", (json_int_t)draft->tasks));
    else if (arguments_has(arguments, "print-id"))
        printf("%s\n", job);
    else
        printf("job %s: %" PRIu64
               " images; farmctl watch %s%.8s, farmctl fetch %s%.8s\n",
               job, draft->tasks, local, job, local, job);
}

static int run(const struct arguments *arguments, struct error *error)
{
    struct draft draft = {0};
    struct session *session = NULL;
    char job[33];
    bool ok = draft_make(&draft, arguments, error);
    if (ok && arguments_has(arguments, "dry-run")) {
        session = session_open(arguments, NULL);
        draft_explain(&draft, session, arguments->json);
        goto out;
    }
    ok = ok && draft_confirm(&draft, arguments, error);
    session = ok ? session_open(arguments, error) : NULL;
    ok = session && draft_import(&draft, session, arguments->quiet, error) &&
         draft_submit(&draft, session, job, error);
    if (ok)
        explain(&draft, job, arguments);
out:
    session_close(&session);
    draft_clear(&draft);
    return ok ? EXIT_DONE : command_failed(error);
}

extern const struct command cmd_submit;
const struct command cmd_submit = {
    .name = "submit",
    .usage = "[OPTIONS] PROMPT...",
    .help = "submit a job and print its id",
    .flags = flags_of_jobs,
    .makes_jobs = true,
    .most = 100000,
    .run = run,
};
