/* top: the farm at a glance, again every second or once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/path.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/json.h"
#include "client/print.h"

enum { FRAME_MS = 1000, NODES_SHOWN = 40, JOBS_SHOWN = 20 };

struct frame {
    const Farm__Nodes *nodes;
    const Farm__Jobs *jobs;
    double rate; /* images a minute of all nodes that work */
    size_t working;
    uint64_t left, leased;
};

static void add_up(struct frame *self)
{
    for (size_t n = 0; n < self->nodes->n_nodes; n++) {
        const Farm__Node *node = self->nodes->nodes[n];
        if (!wire_is(node->state, "ok", 2))
            continue;
        self->working++;
        self->rate += node->images_per_minute;
    }
    for (size_t j = 0; j < self->jobs->n_jobs; j++) {
        const Farm__JobSummary *job = self->jobs->jobs[j];
        self->left += job->tasks - job->done - job->failed - job->canceled;
        self->leased += job->leased;
    }
}

/* "about 1:05" until so many are done; "" when that is not known. */
static char *time_left(const struct frame *self, uint64_t tasks)
{
    if (self->rate <= 0 || !tasks)
        return path_format("%s", "");
    char *seconds = format_seconds((double)tasks * 60 / self->rate);
    char *text = path_format("about %s", seconds);
    free(seconds);
    return text;
}

static void print_nodes(const struct frame *self)
{
    struct table *table =
        table_new((const char *[]){"NODE", "STATE", "TASKS", "STEP", "IMAGES",
                                   "IMAGES/MIN", "STEP-PIXELS/S", NULL});
    for (size_t n = 0; n < self->nodes->n_nodes && n < NODES_SHOWN; n++) {
        const Farm__Node *node = self->nodes->nodes[n];
        const Farm__Progress *step = NULL;
        for (size_t p = 0; p < node->n_progress && !step; p++)
            if (node->progress[p]->steps)
                step = node->progress[p];
        char *texts[] = {
            wire_string(node->name),
            wire_string(node->state),
            path_format("%" PRIu32, node->leased),
            step ? path_format("%" PRIu32 "/%" PRIu32, step->step, step->steps)
                 : path_format("%s", ""),
            path_format("%" PRIu64, node->images),
            path_format("%.1f", node->images_per_minute),
            path_format("%.3g", node->step_pixels_per_s),
        };
        table_row(table, (const char *const *)texts);
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
            free(texts[t]);
    }
    table_print(&table);
}

static void print_jobs(const struct frame *self)
{
    struct table *table = table_new((const char *[]){
        "JOB", "LABEL", "STATE", "DONE", "FAILED", "LEASED", "LEFT", "PROMPT", NULL});
    for (size_t j = 0; j < self->jobs->n_jobs && j < JOBS_SHOWN; j++) {
        const Farm__JobSummary *job = self->jobs->jobs[j];
        json_t *id = json_hex(job->job);
        char *texts[] = {
            path_format("%.8s", json_string_value(id)),
            wire_string(job->label),
            path_format("%s", job->paused ? "paused" : job_state_name(job->state)),
            path_format("%" PRIu64 "/%" PRIu64, job->done, job->tasks),
            path_format("%" PRIu64, job->failed),
            path_format("%" PRIu64, job->leased),
            time_left(self, job->tasks - job->done - job->failed),
            wire_string(job->first_prompt),
        };
        table_row(table, (const char *const *)texts);
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
            free(texts[t]);
        json_decref(id);
    }
    table_print(&table);
}

static json_t *frame_json(const struct frame *self)
{
    json_t *nodes = json_array(), *jobs = json_array();
    for (size_t n = 0; n < self->nodes->n_nodes; n++)
        json_array_append_new(nodes, json_node(self->nodes->nodes[n]));
    for (size_t j = 0; j < self->jobs->n_jobs; j++)
        json_array_append_new(jobs, json_job(self->jobs->jobs[j]));
    return json_pack("{so so sf sI sI}", "nodes", nodes, "jobs", jobs,
                     "images_per_minute", self->rate, "left", (json_int_t)self->left,
                     "leased", (json_int_t)self->leased);
}

static void print_frame(const struct frame *self, bool clear)
{
    char *left = time_left(self, self->left);
    if (clear)
        fputs("\x1b[H\x1b[J", stdout);
    printf("%zu of %zu nodes work, %.1f images/min; %" PRIu64 " images left, %" PRIu64
           " being rendered%s%s\n\n",
           self->working, self->nodes->n_nodes, self->rate, self->left, self->leased,
           *left ? "; " : "", left);
    free(left);
    print_nodes(self);
    if (self->jobs->n_jobs)
        printf("\n");
    print_jobs(self);
    fflush(stdout);
}

static bool show_frame(struct session *session, const struct arguments *arguments,
                       bool clear, struct error *error)
{
    Farm__NodeList nodes = FARM__NODE_LIST__INIT;
    Farm__JobList jobs = FARM__JOB_LIST__INIT;
    jobs.open_only = true;
    Farm__Envelope ask_nodes = FARM__ENVELOPE__INIT, ask_jobs = FARM__ENVELOPE__INIT;
    ask_nodes.body_case = FARM__ENVELOPE__BODY_NODE_LIST;
    ask_nodes.node_list = &nodes;
    ask_jobs.body_case = FARM__ENVELOPE__BODY_JOB_LIST;
    ask_jobs.job_list = &jobs;
    struct message told_nodes = {0}, told_jobs = {0};
    bool ok =
        session_ask(session, &ask_nodes, FARM__ENVELOPE__BODY_NODES, &told_nodes,
                    error) &&
        session_ask(session, &ask_jobs, FARM__ENVELOPE__BODY_JOBS, &told_jobs, error);
    if (ok) {
        struct frame frame = {.nodes = told_nodes.envelope->nodes,
                              .jobs = told_jobs.envelope->jobs};
        add_up(&frame);
        if (arguments->json)
            print_json_line(frame_json(&frame));
        else
            print_frame(&frame, clear);
    }
    message_clear(&told_nodes);
    message_clear(&told_jobs);
    return ok;
}

static int run(const struct arguments *arguments, struct error *error)
{
    struct session *session = session_open(arguments, error);
    bool once = arguments_has(arguments, "once");
    bool clear = !once && isatty(STDOUT_FILENO);
    bool ok = session != NULL;
    interrupt_catch();
    if (ok && clear && !arguments->json)
        fputs("\x1b[?1049h", stdout); /* the terminal's other screen */
    while (ok && !interrupt_count()) {
        ok = show_frame(session, arguments, clear, error);
        if (once)
            break;
        session_wait(session, FRAME_MS);
    }
    if (clear && session && !arguments->json)
        fputs("\x1b[?1049l", stdout);
    session_close(&session);
    return ok || interrupt_count() ? EXIT_DONE : command_failed(error);
}

static const struct flag flags[] = {
    {"once", 0, NULL, "print one frame and end"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_top;
const struct command cmd_top = {
    .name = "top",
    .usage = "[--once]",
    .help = "watch nodes and open jobs, until Ctrl-C",
    .flags = flags,
    .run = run,
};
