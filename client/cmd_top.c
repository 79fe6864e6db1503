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

enum {
    FRAME_MS = 1000,
    FRAME_LINES = 11, /* headings, blank lines, "and more", and the last, left empty */
};

struct frame {
    const Farm__Nodes *nodes;
    const Farm__Jobs *jobs;
    double rate; /* images a minute of all nodes that work */
    size_t working;
    uint64_t left, leased;
    size_t errors;                             /* jobs and nodes that tell of one */
    size_t node_lines, job_lines, error_lines; /* shown */
};

static void add_up(struct frame *self)
{
    for (size_t n = 0; n < self->nodes->n_nodes; n++) {
        const Farm__Node *node = self->nodes->nodes[n];
        self->errors += node->trouble.len > 0;
        if (!wire_is(node->state, "ok", 2))
            continue;
        self->working++;
        self->rate += node->images_per_minute;
    }
    for (size_t j = 0; j < self->jobs->n_jobs; j++) {
        const Farm__JobSummary *job = self->jobs->jobs[j];
        self->left += job->tasks - job->done - job->failed - job->canceled;
        self->leased += job->leased;
        self->errors += job->trouble.len > 0;
    }
}

/* "1:05" until so many are done; "" when that is not known. */
static char *time_left(const struct frame *self, uint64_t tasks)
{
    return self->rate > 0 && tasks ? format_seconds((double)tasks * 60 / self->rate)
                                   : path_format("%s", "");
}

/* How many lines each part gets of a terminal; without one, all there are. */
static void plan(struct frame *self, size_t rows)
{
    size_t nodes = self->nodes->n_nodes, jobs = self->jobs->n_jobs;
    self->node_lines = nodes;
    self->job_lines = jobs;
    self->error_lines = self->errors;
    if (!rows)
        return;
    size_t room = rows > FRAME_LINES ? rows - FRAME_LINES : 0;
    size_t errors = room / 4 < self->errors ? room / 4 : self->errors;
    room -= errors;
    size_t half = room / 2;
    self->error_lines = errors;
    self->job_lines = jobs <= half ? jobs : nodes <= half ? room - nodes : half;
    self->job_lines = self->job_lines < jobs ? self->job_lines : jobs;
    self->node_lines = room - self->job_lines;
    self->node_lines = self->node_lines < nodes ? self->node_lines : nodes;
}

/* What a part left out, as its last line. */
static void print_more(size_t count, size_t shown, const char *what)
{
    if (shown < count)
        printf("  and %zu more %s\n", count - shown, what);
}

static void print_nodes(const struct frame *self)
{
    struct table *table =
        table_new((const char *[]){"NODE", "STATE", "TASKS", "STEP", "IMAGES",
                                   "IMAGES/MIN", "STEP-PIXELS/S", NULL});
    table_cut(table, 0);
    table_cut(table, 1);
    for (size_t n = 0; n < self->node_lines; n++) {
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
    print_more(self->nodes->n_nodes, self->node_lines, "nodes");
}

static void print_jobs(const struct frame *self)
{
    struct table *table = table_new((const char *[]){
        "JOB", "LABEL", "STATE", "DONE", "FAILED", "LEASED", "ETA", "PROMPT", NULL});
    table_cut(table, 7);
    for (size_t j = 0; j < self->job_lines; j++) {
        const Farm__JobSummary *job = self->jobs->jobs[j];
        json_t *id = json_hex(job->job);
        char *texts[] = {
            path_format("%.8s", json_string_value(id)),
            wire_string(job->label),
            job_state_text(job),
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
    print_more(self->jobs->n_jobs, self->job_lines, "jobs");
}

/* How attempts last failed: of jobs, then at nodes. */
static void print_errors(const struct frame *self)
{
    size_t jobs = self->jobs->n_jobs, nodes = self->nodes->n_nodes, shown = 0;
    if (self->error_lines)
        printf("\nLAST ERRORS\n");
    for (size_t e = 0; e < jobs + nodes && shown < self->error_lines; e++) {
        const Farm__JobSummary *job = e < jobs ? self->jobs->jobs[e] : NULL;
        const Farm__Node *node = job ? NULL : self->nodes->nodes[e - jobs];
        ProtobufCBinaryData trouble = job ? job->trouble : node->trouble;
        if (!trouble.len)
            continue;
        json_t *id = job ? json_hex(job->job) : NULL;
        char *why = wire_string(trouble), *name = node ? wire_string(node->name) : NULL;
        char *line = id ? path_format("%.8s  %s", json_string_value(id), why)
                        : path_format("%s  %s", name, why);
        print_line(line);
        shown++;
        free(line);
        free(name);
        free(why);
        json_decref(id);
    }
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

static void print_frame(struct frame *self, bool clear)
{
    char *left = time_left(self, self->left);
    char *line = path_format("%zu of %zu nodes work, %.1f images/min; %" PRIu64
                             " images wait, %" PRIu64 " are being rendered%s%s",
                             self->working, self->nodes->n_nodes, self->rate,
                             self->left > self->leased ? self->left - self->leased : 0,
                             self->leased, *left ? "; ETA " : "", left);
    plan(self, clear ? print_rows() : 0);
    if (clear)
        fputs("\x1b[H\x1b[J", stdout);
    print_line(line);
    printf("\n");
    print_nodes(self);
    if (self->jobs->n_jobs) {
        printf("\n");
        print_jobs(self);
    }
    print_errors(self);
    fflush(stdout);
    free(line);
    free(left);
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
