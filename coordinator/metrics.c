#include "coordinator/metrics.h"

#include <inttypes.h>
#include <string.h>

static const struct {
    const char *name, *help;
} counters[METRICS_COUNTERS] = {
    [METRICS_MESSAGES] = {"messages", "messages taken on the control port"},
    [METRICS_REFUSED] = {"refused", "messages that were refused"},
    [METRICS_SUBMITTED] = {"jobs_submitted", "jobs taken"},
    [METRICS_ASSIGNED] = {"tasks_assigned", "attempts given to workers"},
    [METRICS_DONE] = {"tasks_done", "tasks that got a result"},
    [METRICS_REUSED] = {"tasks_reused", "of these, by a result known before"},
    [METRICS_FAILED] = {"attempts_failed", "attempts that failed"},
    [METRICS_RELEASED] = {"attempts_released", "attempts that ended and blame nobody"},
    [METRICS_ACCEPTED] = {"commits_accepted", "results taken"},
    [METRICS_DUPLICATE] = {"commits_duplicate", "results with the pixels known before"},
    [METRICS_SUPERSEDED] = {"commits_superseded", "results with other pixels, kept"},
    [METRICS_DISCARD] = {"commits_discarded", "results nobody wants any more"},
    [METRICS_RETRY] = {"commits_retried", "results whose files were not all here"},
};

static const struct {
    const char *name, *help;
} histograms[METRICS_HISTOGRAMS] = {
    [METRICS_ASSIGN_S] = {"assign_seconds",
                          "from a worker's credit, read, until tasks for it are sent"},
    [METRICS_COMMIT_S] = {"commit_seconds", "from a decision until it is on disk"},
    [METRICS_TURN_S] = {"turn_seconds", "a turn of the loop"},
    [METRICS_RENDER_S] = {"render_seconds", "an image, as its worker measured it"},
};

void metrics_count(struct metrics *self, enum metrics_counter what)
{
    self->counter[what]++;
}

/* Where a bucket ends, in seconds. */
static double bucket_end(size_t bucket)
{
    static const double steps[] = {1, 2, 5};
    double end = 0.001 * steps[bucket % 3];
    for (size_t decade = 0; decade < bucket / 3; decade++)
        end *= 10;
    return end;
}

void metrics_time(struct metrics *self, enum metrics_histogram what, double seconds)
{
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS - 1 && seconds > bucket_end(bucket))
        bucket++;
    self->histogram[what].bucket[bucket]++;
    self->histogram[what].count++;
    self->histogram[what].sum += seconds;
}

static void add_head(struct buffer *into, const char *name, const char *type,
                     const char *help)
{
    buffer_printf(into, NULL, "# TYPE clfarm_%s %s\n# HELP clfarm_%s %s\n", name, type,
                  name, help);
}

static void add_histogram(const struct metrics *self, enum metrics_histogram what,
                          struct buffer *into)
{
    const char *name = histograms[what].name;
    uint64_t sum = 0;
    add_head(into, name, "histogram", histograms[what].help);
    for (size_t b = 0; b < METRICS_BUCKETS; b++) {
        sum += self->histogram[what].bucket[b];
        if (b < METRICS_BUCKETS - 1)
            buffer_printf(into, NULL, "clfarm_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
                          bucket_end(b), sum);
    }
    buffer_printf(into, NULL,
                  "clfarm_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n"
                  "clfarm_%s_sum %.9g\nclfarm_%s_count %" PRIu64 "\n",
                  name, sum, name, self->histogram[what].sum, name,
                  self->histogram[what].count);
}

/* A label's value: what would end the quotes is escaped. */
static void add_label(struct buffer *into, const char *label, const char *value)
{
    buffer_printf(into, NULL, "{%s=\"", label);
    for (; *value; value++)
        buffer_printf(into, NULL, *value == '"' || *value == '\\' ? "\\%c" : "%c",
                      *value);
    buffer_printf(into, NULL, "\"}");
}

void metrics_format(const struct metrics *self, const struct metrics_gauge *gauges,
                    size_t count, struct buffer *into)
{
    for (size_t c = 0; c < METRICS_COUNTERS; c++) {
        add_head(into, counters[c].name, "counter", counters[c].help);
        buffer_printf(into, NULL, "clfarm_%s_total %" PRIu64 "\n", counters[c].name,
                      self->counter[c]);
    }
    for (size_t h = 0; h < METRICS_HISTOGRAMS; h++)
        add_histogram(self, (enum metrics_histogram)h, into);
    for (size_t g = 0; g < count; g++) {
        if (!g || strcmp(gauges[g].name, gauges[g - 1].name) != 0)
            add_head(into, gauges[g].name, "gauge", gauges[g].help);
        buffer_printf(into, NULL, "clfarm_%s", gauges[g].name);
        if (gauges[g].label)
            add_label(into, gauges[g].label, gauges[g].value_of_label);
        buffer_printf(into, NULL, " %.9g\n", gauges[g].value);
    }
    buffer_printf(into, NULL, "# EOF\n");
}
