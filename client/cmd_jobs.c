#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/json.h"
#include "client/print.h"

static void print_jobs(const Farm__Jobs *jobs)
{
    struct table *table = table_new((const char *[]){"JOB", "LABEL", "STATE", "DONE",
                                                     "FAILED", "AGE", "PROMPT", NULL});
    for (size_t i = 0; i < jobs->n_jobs; i++) {
        const Farm__JobSummary *job = jobs->jobs[i];
        json_t *id = json_hex(job->job);
        char *label = wire_string(job->label), *prompt = wire_string(job->first_prompt);
        char *shown = path_format("%.8s", json_string_value(id));
        char *done = path_format("%" PRIu64 "/%" PRIu64, job->done, job->tasks);
        char *failed = path_format("%" PRIu64, job->failed);
        char *age = format_age(clock_unix() - job->created);
        char *state = job_state_text(job);
        table_row(table,
                  (const char *[]){shown, label, state, done, failed, age, prompt});
        free(state);
        free(age);
        free(failed);
        free(done);
        free(shown);
        free(prompt);
        free(label);
        json_decref(id);
    }
    table_print(&table);
}

static int run(const struct arguments *arguments, struct error *error)
{
    Farm__JobList list = FARM__JOB_LIST__INIT;
    list.open_only = arguments_has(arguments, "open");
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_JOB_LIST;
    ask.job_list = &list;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_JOBS, error);
    if (ok && arguments->json) {
        const Farm__Jobs *jobs = asked.answer.envelope->jobs;
        json_t *all = json_array();
        for (size_t i = 0; i < jobs->n_jobs; i++)
            json_array_append_new(all, json_job(jobs->jobs[i]));
        print_json(all);
    } else if (ok) {
        print_jobs(asked.answer.envelope->jobs);
    }
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static const struct flag flags[] = {
    {"open", 0, NULL, "only jobs that have not ended"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_jobs;
const struct command cmd_jobs = {
    .name = "jobs",
    .usage = "[--open]",
    .help = "list the jobs",
    .flags = flags,
    .run = run,
};
