#include "client/live_view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/json.h"
#include "client/print.h"
#include "proto/wire.h"

enum { BAR = 24, NODES_SHOWN = 16, FAILURES_SHOWN = 20 };

void live_view_clear(struct live_view *self)
{
    for (size_t i = 0; i < self->node_count; i++) {
        free(self->node[i].name);
        free(self->node[i].device);
        free(self->node[i].state);
    }
    for (size_t i = 0; i < self->failure_count; i++) {
        free(self->failure[i].node);
        free(self->failure[i].reason);
    }
    free(self->node);
    free(self->failure);
    free(self->label);
    free(self->folder);
    json_decref(self->files);
    *self = (struct live_view){0};
}

/* Labels come from the farm: only plain ones become a folder's name. */
static bool is_plain(const char *label)
{
    return *label && *label != '.' && strlen(label) <= 100 &&
           !label[strspn(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789._-")];
}

char *live_view_folder(const struct live_view *self, const char *folder)
{
    const char *at = strstr(folder, "{job}");
    if (!at)
        return path_format("%s", folder);
    char name[104];
    snprintf(name, sizeof name, is_plain(self->label) ? "%s" : "%.8s",
             is_plain(self->label) ? self->label : self->id);
    return path_format("%.*s%s%s", (int)(at - folder), folder, name, at + 5);
}

static struct live_node *node_named(struct live_view *self, ProtobufCBinaryData name)
{
    for (size_t i = 0; i < self->node_count; i++)
        if (wire_is(name, self->node[i].name, strlen(self->node[i].name)))
            return &self->node[i];
    struct live_node *grown =
        realloc(self->node, (self->node_count + 1) * sizeof *grown);
    if (!grown)
        abort();
    self->node = grown;
    struct live_node *node = &grown[self->node_count++];
    *node = (struct live_node){.name = wire_string(name)};
    return node;
}

void live_view_task(struct live_view *self, const Farm__TaskRow *row)
{
    self->taken++;
    if (row->state == FARM__TASK_STATE__TASK_DONE && self->counting) {
        struct live_node *node = node_named(self, row->node);
        node->images++;
        node->seconds += row->result->seconds;
    }
    if (row->state != FARM__TASK_STATE__TASK_FAILED)
        return;
    struct live_failure *grown =
        realloc(self->failure, (self->failure_count + 1) * sizeof *grown);
    if (!grown)
        abort();
    self->failure = grown;
    grown[self->failure_count++] = (struct live_failure){
        row->index, wire_string(row->node), wire_string(row->reason)};
}

static void replace(char **text, char *by)
{
    free(*text);
    *text = by;
}

void live_view_node(struct live_view *self, const Farm__Node *news)
{
    struct live_node *node = node_named(self, news->name);
    if (news->device)
        replace(&node->device, wire_string(news->device->name));
    replace(&node->state, wire_string(news->state));
    node->images_per_minute = news->images_per_minute;
    node->leased = news->leased;
    node->step = node->steps = 0;
    for (size_t i = 0; i < news->n_progress; i++)
        if (news->progress[i]->state == FARM__ATTEMPT_STATE__ATTEMPT_RENDERING) {
            node->step = news->progress[i]->step;
            node->steps = news->progress[i]->steps;
        }
}

static double elapsed(const struct live_view *self)
{
    int64_t now = self->ended_ms ? self->ended_ms : clock_ms();
    return (double)(now - self->started_ms) / 1000.0;
}

static char *draw_bar(const struct live_view *self)
{
    uint64_t ended = self->done + self->failed + self->canceled;
    double share = self->tasks ? (double)ended / (double)self->tasks : 0;
    int full = (int)(share * BAR);
    char bar[BAR + 1];
    memset(bar, '.', BAR);
    memset(bar, '#', full > BAR ? BAR : (size_t)full);
    bar[BAR] = 0;
    double rate = 0; /* images a second */
    for (size_t i = 0; i < self->node_count; i++)
        rate += self->node[i].leased ? self->node[i].images_per_minute / 60 : 0;
    if (!(rate > 0) && self->done > self->done_at_start)
        rate = (double)(self->done - self->done_at_start) / elapsed(self);
    char *left = rate > 0 ? format_seconds((double)(self->tasks - ended) / rate)
                          : path_format("-:--");
    char *failed = self->failed ? path_format("  %" PRIu64 " failed", self->failed)
                                : path_format("%s", "");
    char *line = path_format(
        "%s [%s] %" PRIu64 "/%" PRIu64 " %3.0f %%  %.1f images/min  ETA %s%s",
        self->name, bar, ended, self->tasks, share * 100, rate * 60, left, failed);
    free(failed);
    free(left);
    return line;
}

void live_view_draw(const struct live_view *self)
{
    char *lines[NODES_SHOWN + 1];
    size_t count = 0;
    lines[count++] = draw_bar(self);
    for (size_t i = 0; i < self->node_count && count <= NODES_SHOWN; i++) {
        const struct live_node *node = &self->node[i];
        if (!node->leased && !node->images)
            continue;
        char *step = node->steps ? path_format("  step %" PRIu32 "/%" PRIu32,
                                               node->step, node->steps)
                                 : path_format("%s", "");
        lines[count++] = path_format(
            "  %-16.40s %5.1f images/min  %" PRIu64 " done, %" PRIu32 " here%s  %.40s",
            node->name, node->images_per_minute, node->images, node->leased, step,
            node->device ? node->device : "");
        free(step);
    }
    progress_draw(lines, count);
    while (count)
        free(lines[--count]);
}

static double node_rate(const struct live_view *self, const struct live_node *node)
{
    double seconds = elapsed(self);
    return seconds > 0 ? (double)node->images * 60 / seconds : 0;
}

void live_view_report(const struct live_view *self)
{
    uint64_t new = self->done - self->done_at_start;
    char *time = format_seconds(elapsed(self));
    char *took =
        new ? path_format(", %" PRIu64 " in %s", new, time) : path_format("%s", "");
    say("job %.8s %s: %" PRIu64 " of %" PRIu64 " images done%s%s%s", self->id,
        job_state_name(self->state), self->done, self->tasks,
        self->folder ? ", in " : "", self->folder ? self->folder : "", took);
    free(took);
    free(time);
    for (size_t i = 0; new &&i < self->node_count; i++)
        if (self->node[i].images)
            say("  %s: %" PRIu64 " images, %.1f images/min (%.50s)", self->node[i].name,
                self->node[i].images, node_rate(self, &self->node[i]),
                self->node[i].device ? self->node[i].device : "device not known");
    for (size_t i = 0; i < self->failure_count && i < FAILURES_SHOWN; i++)
        say("  task %" PRIu64 " failed: %s", self->failure[i].index,
            self->failure[i].reason); /* it names the nodes */
    if (self->failure_count > FAILURES_SHOWN)
        say("  and %zu more: farmctl show %.8s", self->failure_count - FAILURES_SHOWN,
            self->id);
}

json_t *live_view_json(const struct live_view *self)
{
    json_t *nodes = json_array(), *failures = json_array();
    for (size_t i = 0; i < self->node_count; i++)
        if (self->node[i].images)
            json_array_append_new(
                nodes,
                json_pack("{ss ss sI sf sf}", "name", self->node[i].name, "device",
                          self->node[i].device ? self->node[i].device : "", "images",
                          (json_int_t)self->node[i].images, "images_per_minute",
                          node_rate(self, &self->node[i]), "seconds",
                          self->node[i].seconds));
    for (size_t i = 0; i < self->failure_count; i++)
        json_array_append_new(failures, json_pack("{sI ss ss}", "index",
                                                  (json_int_t)self->failure[i].index,
                                                  "node", self->failure[i].node,
                                                  "reason", self->failure[i].reason));
    return json_pack("{ss ss ss sI sI sI sI sf ss sO sI sI so so}", "job", self->id,
                     "label", self->label, "state", job_state_name(self->state),
                     "tasks", (json_int_t)self->tasks, "done", (json_int_t)self->done,
                     "failed", (json_int_t)self->failed, "canceled",
                     (json_int_t)self->canceled, "elapsed", elapsed(self), "folder",
                     self->folder ? self->folder : "", "files", self->files, "fetched",
                     (json_int_t)self->fetched, "already_there",
                     (json_int_t)self->skipped, "nodes", nodes, "failures", failures);
}
