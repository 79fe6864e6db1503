#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/json.h"
#include "client/print.h"

enum { PAGE = 500 };

static void add_row(struct table *table, const Farm__TaskRow *row)
{
    char *index = path_format("%" PRIu64, row->index);
    char *attempts = path_format("%" PRIu32, row->attempts);
    char *seconds =
        row->result ? path_format("%.2f", row->result->seconds) : path_format("%s", "");
    char *node = wire_string(row->node), *reason = wire_string(row->reason);
    table_row(table, (const char *[]){index, task_state_name(row->state), node,
                                      attempts, seconds, reason});
    for (size_t i = 0; i < row->n_history; i++) {
        char *where = wire_string(row->history[i]->node);
        char *ended = wire_string(row->history[i]->ended);
        if (*ended && strcmp(ended, "done"))
            table_row(table, (const char *[]){"", "  attempt", where, "", "", ended});
        free(ended);
        free(where);
    }
    free(reason);
    free(node);
    free(seconds);
    free(attempts);
    free(index);
}

static void print_head(const Farm__JobDetail *detail)
{
    json_t *summary = json_job(detail->summary), *job = json_specification(detail->job);
    char *text = json_dumps(job, JSON_COMPACT),
         *state = job_state_text(detail->summary);
    const char *label = json_string_value(json_object_get(summary, "label"));
    label = label ? label : "";
    const char *kind = json_string_value(json_object_get(summary, "device_kind"));
    kind = kind ? kind : "";
    printf("job %s%s%s: %s, %" PRIu64 " of %" PRIu64 " done, %" PRIu64
           " failed, %" PRIu64 " being rendered%s%s\n%s\n\n",
           json_string_value(json_object_get(summary, "job")), *label ? " " : "", label,
           state, detail->summary->done, detail->summary->tasks,
           detail->summary->failed, detail->summary->leased,
           *kind ? ", by devices of kind " : "", kind, text);
    free(state);
    free(text);
    json_decref(job);
    json_decref(summary);
}

/* Takes page after page into the table or, when it is there, the array. */
static bool read_tasks(struct session *session, const char *job, struct table *table,
                       json_t *all, struct error *error)
{
    for (uint64_t first = 0;;) {
        struct message answer = {0};
        if (!ask_job(session, job, first, PAGE, &answer, error))
            return false;
        const Farm__JobDetail *detail = answer.envelope->job_detail;
        uint64_t next = first;
        for (size_t i = 0; i < detail->n_tasks; i++) {
            if (all)
                json_array_append_new(all, json_task(detail->tasks[i]));
            else
                add_row(table, detail->tasks[i]);
            next = detail->tasks[i]->index + 1;
        }
        message_clear(&answer);
        if (next <= first)
            return true;
        first = next;
    }
}

static int run(const struct arguments *arguments, struct error *error)
{
    struct session *session = session_open(arguments, error);
    struct message answer = {0};
    const char *job = arguments->rest[0];
    bool ok = session && ask_job(session, job, 0, PAGE, &answer, error);
    const Farm__JobDetail *detail = ok ? answer.envelope->job_detail : NULL;
    if (ok && arguments->json) {
        json_t *whole = json_job(detail->summary), *tasks = json_array();
        json_object_set_new(whole, "specification", json_specification(detail->job));
        json_object_set_new(whole, "task", tasks);
        ok = read_tasks(session, job, NULL, tasks, error);
        if (ok)
            print_json(whole);
        else
            json_decref(whole);
    } else if (ok) {
        struct table *table = table_new((const char *[]){
            "TASK", "STATE", "NODE", "ATTEMPTS", "SECONDS", "REASON", NULL});
        print_head(detail);
        ok = read_tasks(session, job, table, NULL, error);
        table_print(&table);
    }
    message_clear(&answer);
    session_close(&session);
    return ok ? EXIT_DONE : command_failed(error);
}

extern const struct command cmd_show;
const struct command cmd_show = {
    .name = "show",
    .usage = "JOB",
    .help = "one job with its tasks, attempts, nodes and errors",
    .least = 1,
    .most = 1,
    .run = run,
};
