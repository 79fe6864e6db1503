/* Commands about what was: retry, rm, logs, df. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/path.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/json.h"
#include "client/print.h"

static int end_with_done(const struct arguments *arguments, Farm__Envelope *ask,
                         struct error *error)
{
    struct asked asked;
    bool ok = ask_once(&asked, arguments, ask, FARM__ENVELOPE__BODY_DONE, error);
    if (ok && arguments->json)
        print_json(json_pack("{ss}", arguments->command->name, arguments->rest[0]));
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static int run_retry(const struct arguments *arguments, struct error *error)
{
    Farm__JobRetry retry = FARM__JOB_RETRY__INIT;
    retry.job = wire_text(arguments->rest[0]);
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_JOB_RETRY;
    ask.job_retry = &retry;
    return end_with_done(arguments, &ask, error);
}

static int run_rm(const struct arguments *arguments, struct error *error)
{
    Farm__JobRemove removal = FARM__JOB_REMOVE__INIT;
    removal.job = wire_text(arguments->rest[0]);
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_JOB_REMOVE;
    ask.job_remove = &removal;
    return end_with_done(arguments, &ask, error);
}

/* ---- logs */

static void add_line(struct table *table, const Farm__LogLine *line)
{
    json_t *id = json_hex(line->job);
    time_t started = (time_t)line->started;
    char when[32];
    strftime(when, sizeof when, "%F %T", localtime(&started));
    char *job = path_format("%.8s", json_string_value(id));
    char *index = path_format("%" PRIu64, line->index);
    char *node = wire_string(line->node), *text = wire_string(line->text);
    table_row(table, (const char *[]){when, job, index, node,
                                      line->fault ? "fault" : "", text});
    free(text);
    free(node);
    free(index);
    free(job);
    json_decref(id);
}

static void print_logs(const Farm__Logs *logs, bool json)
{
    struct table *table =
        json ? NULL
             : table_new((const char *[]){"STARTED", "JOB", "TASK", "NODE", "COUNTS",
                                          "ENDED", NULL});
    for (size_t l = 0; l < logs->n_lines; l++) {
        const Farm__LogLine *line = logs->lines[l];
        if (json)
            print_json_line(
                json_pack("{so sI so sI sb so}", "job", json_hex(line->job), "index",
                          (json_int_t)line->index, "node", json_text(line->node),
                          "started", (json_int_t)line->started, "fault",
                          (int)line->fault, "ended", json_text(line->text)));
        else
            add_line(table, line);
    }
    if (table)
        table_print(&table);
}

static int run_logs(const struct arguments *arguments, struct error *error)
{
    Farm__LogList list = FARM__LOG_LIST__INIT;
    list.of = wire_text(arguments->rest[0]);
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_LOG_LIST;
    ask.log_list = &list;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_LOGS, error);
    if (ok)
        print_logs(asked.answer.envelope->logs, arguments->json);
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

/* ---- df */

/* Takes an answer into the list of uses; parts of one job become one. */
static void take_uses(json_t *uses, const Farm__Disk *disk)
{
    for (size_t u = 0; u < disk->n_uses; u++) {
        const Farm__DiskUse *use = disk->uses[u];
        json_t *id = json_hex(use->id);
        json_t *last = json_array_get(uses, json_array_size(uses) - 1);
        if (last && json_equal(json_object_get(last, "id"), id)) {
            json_int_t files = json_integer_value(json_object_get(last, "files"));
            json_int_t bytes = json_integer_value(json_object_get(last, "bytes"));
            json_object_set_new(last, "files",
                                json_integer(files + (json_int_t)use->files));
            json_object_set_new(last, "bytes",
                                json_integer(bytes + (json_int_t)use->bytes));
            json_decref(id);
            continue;
        }
        json_array_append_new(
            uses, json_pack("{so so so sI sI}", "kind", json_text(use->kind), "id", id,
                            "name", json_text(use->name), "files",
                            (json_int_t)use->files, "bytes", (json_int_t)use->bytes));
    }
}

static void print_uses(const json_t *uses, double free_bytes, double reserve)
{
    struct table *table =
        table_new((const char *[]){"KIND", "ID", "NAME", "FILES", "MIB", NULL});
    size_t at;
    const json_t *use;
    json_array_foreach(uses, at, use)
    {
        char *id = path_format("%.8s", json_string_value(json_object_get(use, "id")));
        char *files = path_format(
            "%lld", (long long)json_integer_value(json_object_get(use, "files")));
        char *size = path_format(
            "%.1f",
            (double)json_integer_value(json_object_get(use, "bytes")) / 1048576);
        table_row(table,
                  (const char *[]){json_string_value(json_object_get(use, "kind")), id,
                                   json_string_value(json_object_get(use, "name")),
                                   files, size});
        free(size);
        free(files);
        free(id);
    }
    table_print(&table);
    printf("%.1f GiB are free on the coordinator's disk; below %.1f GiB nothing new is "
           "taken\n",
           free_bytes / 1073741824, reserve / 1073741824);
}

static bool read_uses(struct session *session, json_t *uses, uint64_t room[2],
                      struct error *error)
{
    Farm__DiskList list = FARM__DISK_LIST__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_DISK_LIST;
    ask.disk_list = &list;
    do {
        struct message answer = {0};
        if (!session_ask(session, &ask, FARM__ENVELOPE__BODY_DISK, &answer, error))
            return false;
        const Farm__Disk *disk = answer.envelope->disk;
        take_uses(uses, disk);
        room[0] = disk->free;
        room[1] = disk->reserve;
        list.job = disk->next_job;
        list.task = disk->next_task;
        message_clear(&answer);
    } while (list.job);
    return true;
}

static int run_df(const struct arguments *arguments, struct error *error)
{
    struct session *session = session_open(arguments, error);
    json_t *uses = json_array();
    uint64_t room[2];
    bool ok = session && read_uses(session, uses, room, error);
    if (ok && arguments->json)
        print_json(json_pack("{sO sI sI}", "uses", uses, "free", (json_int_t)room[0],
                             "reserve", (json_int_t)room[1]));
    else if (ok)
        print_uses(uses, (double)room[0], (double)room[1]);
    json_decref(uses);
    session_close(&session);
    return ok ? EXIT_DONE : command_failed(error);
}

extern const struct command cmd_retry, cmd_rm, cmd_logs, cmd_df;

const struct command cmd_retry = {
    .name = "retry",
    .usage = "JOB",
    .help = "render what failed or was canceled after all",
    .least = 1,
    .most = 1,
    .run = run_retry,
};

const struct command cmd_rm = {
    .name = "rm",
    .usage = "JOB",
    .help = "forget a job that has ended, and the results that only it has",
    .least = 1,
    .most = 1,
    .run = run_rm,
};

const struct command cmd_logs = {
    .name = "logs",
    .usage = "JOB or NODE",
    .help = "why attempts of a job ended without a result, or the faults of a node",
    .least = 1,
    .most = 1,
    .run = run_logs,
};

const struct command cmd_df = {
    .name = "df",
    .usage = "",
    .help = "what takes space on the coordinator: jobs and models",
    .run = run_df,
};
