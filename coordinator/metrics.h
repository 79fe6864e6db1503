/* What the coordinator counts, told as OpenMetrics text (`farmctl metrics`). */
#ifndef FARM_METRICS_H
#define FARM_METRICS_H

#include <stdint.h>

#include "base/buffer.h"

enum metrics_counter {
    METRICS_MESSAGES,
    METRICS_REFUSED,
    METRICS_SUBMITTED,
    METRICS_ASSIGNED,
    METRICS_DONE,
    METRICS_REUSED,
    METRICS_FAILED,
    METRICS_RELEASED,
    METRICS_ACCEPTED,
    METRICS_DUPLICATE,
    METRICS_SUPERSEDED,
    METRICS_DISCARD,
    METRICS_RETRY,
    METRICS_COUNTERS,
};

enum metrics_histogram {
    METRICS_ASSIGN_S, /* from credit read, with work there for it, to Assign sent */
    METRICS_COMMIT_S, /* from the decision to its durability */
    METRICS_TURN_S,   /* of the loop */
    METRICS_RENDER_S, /* of an image, as its worker says */
    METRICS_HISTOGRAMS,
};

enum { METRICS_BUCKETS = 20 }; /* 1, 2, 5, 10 ms ... 1000 s; the last is without end */

struct metrics {
    uint64_t counter[METRICS_COUNTERS];
    struct {
        uint64_t bucket[METRICS_BUCKETS], count;
        double sum;
    } histogram[METRICS_HISTOGRAMS];
};

/* All zeros is an empty one. */
void metrics_count(struct metrics *self, enum metrics_counter what);
void metrics_time(struct metrics *self, enum metrics_histogram what, double seconds);

/* A gauge is a number of the moment; its label may be NULL. */
struct metrics_gauge {
    const char *name, *help, *label, *value_of_label;
    double value;
};

/* Appends the whole text, "# EOF" included. Gauges of one name stand together. */
void metrics_format(const struct metrics *self, const struct metrics_gauge *gauges,
                    size_t count, struct buffer *into);

#endif
