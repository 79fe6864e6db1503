/* The farm is asked twice: Watch brings changes as they happen, JobShow pages through the
 * tasks as they are. Pages are read at the start, after every greeting (what happened while
 * the coordinator was away brought no event) and after a Lost. A task's end is taken once,
 * whichever of the two brings it. When the summary says the job ended but ends are missing,
 * pages are read again.
 */
#include "client/live.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/fetch.h"
#include "client/json.h"
#include "client/live_view.h"
#include "client/local.h"
#include "client/names.h"
#include "client/preview.h"
#include "client/print.h"
#include "proto/job/job.h"

enum {
    PAGE = 500,
    CREDIT = 512,
    PREVIEWS = 16,
    DRAW_MS = 200,
    NODES_MS = 1000,
    CANCEL_MS = 2000,
    LOCAL_MS = 300,
    AWAY_PATIENCE_MS = 3600 * 1000,
};

struct live {
    struct session *session;
    struct live_options options;
    struct live_view view;
    struct message detail; /* the JobDetail that holds the specification */
    const Farm__Job *job;
    struct fetch *fetch;
    char *previews; /* folder; NULL: none are wanted */
    uint8_t *taken; /* a task's end was taken */
    unsigned credit;
    bool pages_due, away;
    int64_t drawn_ms, nodes_ms, asked_ms;
    int64_t started; /* unix seconds */
};

static void take_summary(struct live *self, const Farm__JobSummary *summary)
{
    struct live_view *view = &self->view;
    bool changed = view->state != summary->state;
    view->state = summary->state;
    view->tasks = summary->tasks;
    view->done = summary->done;
    view->failed = summary->failed;
    view->canceled = summary->canceled;
    view->leased = summary->leased;
    if (changed && view->state != FARM__JOB_STATE__JOB_OPEN)
        self->pages_due = true;
}

struct live *live_new(struct session *session, const char *job,
                      const struct live_options *wanted, struct error *error)
{
    struct live *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->session = session;
    self->options = *wanted;
    bool ok = ask_job(session, job, 0, 0, &self->detail, error);
    if (ok) {
        const Farm__JobDetail *detail = self->detail.envelope->job_detail;
        uint64_t tasks = 0;
        self->job = detail->job;
        sodium_bin2hex(self->view.id, sizeof self->view.id, detail->summary->job.data,
                       detail->summary->job.len < 16 ? detail->summary->job.len : 16);
        self->view.label = wire_string(detail->summary->label);
        snprintf(self->view.name, sizeof self->view.name, "%.*s",
                 *self->view.label ? 32 : 8,
                 *self->view.label ? self->view.label : self->view.id);
        ok = job_check(self->job, &tasks, error) || error_prefix(error, "job %s", job);
        take_summary(self, detail->summary);
        self->view.tasks = tasks;
        self->taken = calloc(tasks ? tasks : 1, 1);
        if (!self->taken)
            ok = error_set_kind(error, ERROR_MEMORY, "job %s: out of memory", job);
    }
    if (ok && wanted->folder) {
        char *folder = live_view_folder(&self->view, wanted->folder);
        self->view.folder = folder;
        self->fetch = fetch_new(session, folder, error);
        ok = self->fetch != NULL;
    }
    if (ok && wanted->previews)
        self->previews = live_view_folder(&self->view, wanted->previews);
    self->pages_due = true;
    self->view.files = json_array();
    self->view.started_ms = clock_ms();
    self->started = clock_unix();
    self->view.done_at_start = self->view.done;
    self->view.counting = !self->view.done;
    if (!ok)
        live_destroy(&self);
    return self;
}

void live_destroy(struct live **self)
{
    if (!*self)
        return;
    fetch_destroy(&(*self)->fetch);
    message_clear(&(*self)->detail);
    live_view_clear(&(*self)->view);
    free((*self)->taken);
    free((*self)->previews);
    free(*self);
    *self = NULL;
}

const char *live_name(const struct live *self)
{
    return self->view.name;
}

uint64_t live_tasks(const struct live *self)
{
    return self->view.tasks;
}

const Farm__Job *live_specification(const struct live *self)
{
    return self->job;
}

static void want_result(struct live *self, const Farm__TaskRow *row)
{
    const Farm__Result *result = row->result;
    struct task task;
    if (!job_expand(self->job, row->index, &task, NULL)) {
        task_clear(&task);
        return;
    }
    char *name =
        names_make(self->options.template, &task, row->index, self->view.tasks > 1);
    char *png = path_format("%s.png", name);
    char *latents = path_format("%s.safetensors", name);
    char *provenance = wire_string(result->provenance);
    if (result->png.len == BLOB_ID) {
        fetch_add(self->fetch, png, result->png.data, result->png_size, provenance);
        json_array_append_new(self->view.files, json_string(png));
    }
    if (self->job->latents && !self->options.only_pictures &&
        result->latents.len == BLOB_ID) {
        fetch_add(self->fetch, latents, result->latents.data, result->latents_size, "");
        json_array_append_new(self->view.files, json_string(latents));
    }
    free(provenance);
    free(latents);
    free(png);
    free(name);
    task_clear(&task);
}

static void take_task(struct live *self, const Farm__TaskRow *row)
{
    bool done = row->state == FARM__TASK_STATE__TASK_DONE && row->result;
    bool ended = done || row->state == FARM__TASK_STATE__TASK_FAILED ||
                 row->state == FARM__TASK_STATE__TASK_CANCELED;
    if (row->index >= self->view.tasks || self->taken[row->index])
        return;
    if (self->options.stream)
        print_json_line(json_pack("{so}", "task", json_task(row)));
    if (!ended)
        return;
    self->taken[row->index] = 1;
    live_view_task(&self->view, row);
    if (done && self->fetch)
        want_result(self, row);
}

static bool read_pages(struct live *self, struct error *error)
{
    self->pages_due = false;
    for (uint64_t first = 0; first < self->view.tasks;) {
        struct message answer = {0};
        if (!ask_job(self->session, self->view.id, first, PAGE, &answer, error))
            return false;
        const Farm__JobDetail *detail = answer.envelope->job_detail;
        take_summary(self, detail->summary);
        uint64_t next = self->view.tasks;
        for (size_t i = 0; i < detail->n_tasks; i++) {
            take_task(self, detail->tasks[i]);
            next = detail->tasks[i]->index + 1;
        }
        message_clear(&answer);
        if (next <= first)
            break;
        first = next;
    }
    if (self->view.taken == self->view.tasks)
        self->pages_due = false;
    self->view.counting = true;
    return true;
}

static void watch(struct live *self)
{
    Farm__Watch wanted = FARM__WATCH__INIT;
    wanted.job = self->detail.envelope->job_detail->summary->job;
    wanted.credit = CREDIT;
    wanted.previews = self->previews ? PREVIEWS : 0;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_WATCH;
    envelope.watch = &wanted;
    session_send(self->session, &envelope);
    self->credit = CREDIT;
}

static void give_credit(struct live *self, uint32_t events, uint32_t previews)
{
    Farm__Credit more = FARM__CREDIT__INIT;
    more.more = events;
    more.previews = previews;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_CREDIT;
    envelope.credit = &more;
    session_send(self->session, &envelope);
}

static void renew_credit(struct live *self)
{
    if (--self->credit > CREDIT / 2)
        return;
    give_credit(self, CREDIT - self->credit, 0);
    self->credit = CREDIT;
}

static bool is_ours(const struct live *self, ProtobufCBinaryData job)
{
    const ProtobufCBinaryData own = self->detail.envelope->job_detail->summary->job;
    return wire_is(job, own.data, own.len);
}

/* Of a task that is not done yet, under the name that its result will have. */
static void take_preview(struct live *self, const Farm__Preview *preview)
{
    struct task task;
    struct error error = {0};
    give_credit(self, 0, 1);
    if (!self->previews || preview->index >= self->view.tasks ||
        self->taken[preview->index] ||
        !job_expand(self->job, preview->index, &task, NULL))
        return;
    char *name =
        names_make(self->options.template, &task, preview->index, self->view.tasks > 1);
    if (!preview_save(self->previews, name, preview, self->options.bar, &error))
        say("%s", error.text);
    else if (self->options.stream)
        print_json_line(json_pack(
            "{s{sI si si ss}}", "preview", "index", (json_int_t)preview->index, "step",
            (int)preview->step, "steps", (int)preview->steps, "name", name));
    free(name);
    task_clear(&task);
}

static void take_event(struct live *self, const Farm__Event *event)
{
    if (event->preview) {
        if (is_ours(self, event->job))
            take_preview(self, event->preview);
        return;
    }
    if (event->node)
        live_view_node(&self->view, event->node);
    if (event->task && is_ours(self, event->job))
        take_task(self, event->task);
    if (event->summary && is_ours(self, event->summary->job))
        take_summary(self, event->summary);
    renew_credit(self);
}

static void take_message(struct live *self, const Farm__Envelope *envelope)
{
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_EVENT:
        take_event(self, envelope->event);
        break;
    case FARM__ENVELOPE__BODY_SNAPSHOT:
        for (size_t i = 0; i < envelope->snapshot->n_nodes; i++)
            live_view_node(&self->view, envelope->snapshot->nodes[i]);
        for (size_t i = 0; i < envelope->snapshot->n_jobs; i++)
            if (is_ours(self, envelope->snapshot->jobs[i]->job))
                take_summary(self, envelope->snapshot->jobs[i]);
        break;
    case FARM__ENVELOPE__BODY_LOST:
        self->pages_due = true;
        if (self->previews) /* some may have been lost, too */
            give_credit(self, 0, PREVIEWS);
        break;
    case FARM__ENVELOPE__BODY_NODES:
        for (size_t i = 0; i < envelope->nodes->n_nodes; i++)
            live_view_node(&self->view, envelope->nodes->nodes[i]);
        break;
    default:
        break;
    }
}

static void take_messages(struct live *self)
{
    for (;;) {
        struct message message = {0};
        enum link_event event = session_next(self->session, &message);
        if (event == LINK_NOTHING)
            return;
        if (event == LINK_GREETED) {
            watch(self);
            self->pages_due = true;
        } else if (event == LINK_MESSAGE) {
            take_message(self, message.envelope);
        }
        message_clear(&message);
    }
}

static void say_when_away(struct live *self)
{
    struct error trouble = {0};
    if (session_is_up(self->session)) {
        if (self->away)
            say("the farm is back");
        self->away = false;
    } else if (!self->away && session_trouble(self->session, &trouble)) {
        say("the farm does not answer (%s); the job is safe, waiting", trouble.text);
        self->away = true;
    }
}

static void ask_nodes(struct live *self)
{
    Farm__NodeList wanted = FARM__NODE_LIST__INIT;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_NODE_LIST;
    envelope.node_list = &wanted;
    session_send(self->session, &envelope);
}

static void now_and_then(struct live *self)
{
    int64_t now = clock_ms();
    say_when_away(self);
    if (self->options.bar && now - self->drawn_ms >= DRAW_MS) {
        self->drawn_ms = now;
        self->view.pending = self->fetch ? fetch_pending(self->fetch) : 0;
        live_view_draw(&self->view);
    }
    if (self->options.bar && now - self->nodes_ms >= NODES_MS) {
        self->nodes_ms = now;
        ask_nodes(self);
    }
}

/* Waiting would be waiting for ever: the key was revoked, or the private farm cannot
 * render. */
static bool is_hopeless(struct live *self, struct error *error)
{
    int64_t now = clock_ms();
    struct error why = {0};
    if (session_trouble(self->session, &why) && why.kind == ERROR_DENIED)
        return !error_set_kind(error, ERROR_DENIED, "%s", why.text);
    if (!session_is_local(self->session) || now - self->asked_ms < LOCAL_MS)
        return false;
    self->asked_ms = now;
    if (local_renders(self->started, &why))
        return false;
    error_set(error, "%.400s; the job is kept: farmctl watch --local %.8s", why.text,
              self->view.id);
    return true;
}

static bool is_over(const struct live *self)
{
    bool ended = self->view.state != FARM__JOB_STATE__JOB_OPEN;
    return (ended || self->options.only_present) && !self->pages_due &&
           (!self->fetch || !fetch_pending(self->fetch));
}

/* The first Ctrl-C detaches unless a second follows. */
static void interrupted(struct live *self)
{
    progress_end();
    say("detached; the job goes on: farmctl watch %s%.8s (Ctrl-C again within 2 s "
        "cancels it)",
        session_is_local(self->session) ? "--local " : "", self->view.id);
    for (int64_t end = clock_ms() + CANCEL_MS; clock_ms() < end;) {
        if (interrupt_count() < 2) {
            session_wait(self->session, 50);
            take_messages(self);
            continue;
        }
        interrupt_forget();
        Farm__JobCancel cancel = FARM__JOB_CANCEL__INIT;
        cancel.job = wire_text(self->view.id);
        Farm__Envelope ask = FARM__ENVELOPE__INIT;
        ask.body_case = FARM__ENVELOPE__BODY_JOB_CANCEL;
        ask.job_cancel = &cancel;
        struct message answer = {0};
        struct error error = {0};
        session_set_patience(self->session, 5000);
        if (session_ask(self->session, &ask, FARM__ENVELOPE__BODY_DONE, &answer,
                        &error))
            say("job %.8s is canceled", self->view.id);
        else
            say("job %.8s could not be canceled: %s", self->view.id, error.text);
        message_clear(&answer);
        return;
    }
}

bool live_run(struct live *self, struct error *error)
{
    session_set_patience(self->session, AWAY_PATIENCE_MS);
    watch(self);
    bool ok = true;
    while (ok && !interrupt_count()) {
        take_messages(self);
        if (self->pages_due)
            ok = read_pages(self, error);
        ok = ok && (!self->fetch || fetch_step(self->fetch, error));
        if (!ok || is_over(self))
            break;
        if (is_hopeless(self, error)) {
            ok = false;
            break;
        }
        now_and_then(self);
        session_wait(self->session, 100);
    }
    self->view.ended_ms = clock_ms();
    if (interrupt_count()) {
        interrupted(self);
        if (error)
            error->text[0] = 0;
        return false;
    }
    progress_end();
    if (self->fetch) {
        self->view.fetched = fetch_files(self->fetch);
        self->view.skipped = fetch_skipped(self->fetch);
    }
    return ok && (!self->fetch || fetch_is_whole(self->fetch, error));
}

static int exit_of(const struct live *self)
{
    bool clean =
        self->view.state == FARM__JOB_STATE__JOB_DONE ||
        (self->options.only_present && self->view.state == FARM__JOB_STATE__JOB_OPEN);
    return clean ? EXIT_DONE : EXIT_FARM_FAILED;
}

int live_follow(struct live **self, const struct arguments *arguments,
                struct error *error)
{
    struct live *live = *self;
    int code = EXIT_INTERRUPTED;
    if (live && live_run(live, error)) {
        code = exit_of(live);
        if (live->options.stream)
            print_json_line(json_pack("{so}", "end", live_view_json(&live->view)));
        else if (arguments->json)
            print_json(live_view_json(&live->view));
        else if (!arguments->quiet || code)
            live_view_report(&live->view);
    } else if (*error->text) {
        code = command_failed(error);
    }
    live_destroy(self);
    return code;
}
