/* What only administrators ask: other roles for keys, the audit. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/handlers.h"

enum { PART_MOST = WIRE_CONTROL_LIMIT / 2 };

static bool may_change(struct coordinator *self, const struct member *member,
                       Farm__Role role, struct error *error)
{
    if (role == FARM__ROLE__ROLE_NONE || role == FARM__ROLE__ROLE_JOIN)
        return error_set_kind(error, ERROR_INPUT,
                              "role: a key is for admin, submit, worker or observer");
    if (member->role == FARM__ROLE__ROLE_JOIN || member->revoked)
        return error_set_kind(error, ERROR_INPUT,
                              "%s is %s; only a member's role can be changed",
                              member->name, member->revoked ? "revoked" : "a token");
    if (member->role == FARM__ROLE__ROLE_ADMIN &&
        members_count(&self->members, FARM__ROLE__ROLE_ADMIN, false, clock_unix()) == 1)
        return error_set_kind(error, ERROR_INPUT,
                              "%s is the only administrator; let another join first",
                              member->name);
    return true;
}

/* The key's connections end, so that it greets as what it is now. */
bool handle_key_role(struct coordinator *self, struct request *request,
                     struct error *error)
{
    const Farm__KeyRole *wanted = request->message->envelope->key_role;
    char *text = wire_string(wanted->key);
    struct member *member = members_resolve(&self->members, text, error);
    free(text);
    if (!member || (member->role != wanted->role &&
                    !may_change(self, member, wanted->role, error)))
        return false;
    if (member->role != wanted->role) {
        member->role = wanted->role;
        store_key(self, member);
        audit_key(self, "role-changed", member, request->member->name);
        log_info("%s has role %d now", member->name, (int)member->role);
        member_leaves(self, member->key, "the node's key got another role");
        gate_admit(self->gate, member->key);
        depot_role(self->depot, member->key, member->role);
    }
    Farm__Done done = FARM__DONE__INIT;
    tell_answer(self, request, ANSWER(done, DONE, &done));
    return true;
}

bool handle_audit_get(struct coordinator *self, struct request *request,
                      struct error *error)
{
    struct buffer text = {0};
    Farm__AuditPart part = FARM__AUDIT_PART__INIT;
    if (!audit_read(self->audit, request->message->envelope->audit_get->offset,
                    PART_MOST, &text, &part.size, error))
        return false;
    /* A name may hold any character; a part must not begin or end within one. */
    while (text.size && (text.data[text.size - 1] & 0x80))
        text.size--;
    part.text = wire_bytes(text.data, text.size);
    tell_answer(self, request, ANSWER(audit_part, AUDIT_PART, &part));
    buffer_clear(&text);
    return true;
}

/* One gauge, and one a node under the same name. */
static size_t add_gauge(struct metrics_gauge *gauges, size_t count, const char *name,
                        const char *help, double value)
{
    gauges[count] = (struct metrics_gauge){.name = name, .help = help, .value = value};
    return count + 1;
}

static size_t add_queue(const struct coordinator *self, struct metrics_gauge *gauges)
{
    uint64_t jobs = 0, ready = 0, leased = 0;
    const struct queue_job *job;
    TAILQ_FOREACH(job, &self->queue->open, open)
    {
        jobs++;
        leased += job->leased;
        ready += job->tasks - job->done - job->failed - job->canceled - job->leased;
    }
    size_t count = add_gauge(gauges, 0, "jobs_open", "jobs under way", (double)jobs);
    count = add_gauge(gauges, count, "tasks_ready", "tasks nobody renders yet",
                      (double)ready);
    count =
        add_gauge(gauges, count, "tasks_leased", "tasks at a worker", (double)leased);
    count = add_gauge(gauges, count, "connections", "connections that greeted",
                      (double)zhashx_size(self->registry.sessions));
    count = add_gauge(gauges, count, "changes_waiting", "turns not on disk yet",
                      (double)(self->handed - self->durable));
    count = add_gauge(gauges, count, "memory_bytes", "resident memory",
                      (double)limits_memory());
    return add_gauge(gauges, count, "disk_free_bytes", "room in the state folder",
                     (double)depot_free_space(self->state));
}

static const struct {
    const char *name, *help;
} of_nodes[] = {
    {"node_up", "1: the node gets work"},
    {"node_images", "images accepted from it since the coordinator started"},
    {"node_step_pixels_per_second", "its measured speed"},
};

static double node_value(const struct coordinator *self, const struct node *node,
                         size_t what)
{
    const double values[] = {node_works(node, self->now), (double)node->images,
                             node->speeds.any};
    return values[what];
}

bool handle_metrics_get(struct coordinator *self, struct request *request,
                        struct error *error)
{
    (void)error;
    enum { PLAIN = 16, KINDS = sizeof of_nodes / sizeof of_nodes[0] };
    size_t nodes = self->registry.count;
    struct metrics_gauge *gauges = calloc(PLAIN + KINDS * nodes, sizeof *gauges);
    struct buffer text = {.limit = PART_MOST};
    if (!gauges)
        abort();
    size_t count = add_queue(self, gauges);
    for (size_t kind = 0; kind < KINDS; kind++)
        for (size_t n = 0; n < nodes; n++) {
            const struct node *node = self->registry.node[n];
            gauges[count++] = (struct metrics_gauge){
                .name = of_nodes[kind].name,
                .help = of_nodes[kind].help,
                .label = "node",
                .value_of_label = node->name,
                .value = node_value(self, node, kind),
            };
        }
    metrics_format(&self->metrics, gauges, count, &text);
    Farm__Metrics metrics = FARM__METRICS__INIT;
    metrics.text = wire_text(buffer_text(&text));
    tell_answer(self, request, ANSWER(metrics, METRICS, &metrics));
    buffer_clear(&text);
    free(gauges);
    return true;
}
