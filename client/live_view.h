/* What live.c knows of a job, drawn and reported. */
#ifndef FARM_LIVE_VIEW_H
#define FARM_LIVE_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "proto/farm.pb-c.h"

struct live_node {
    char *name, *device, *state;
    uint64_t images; /* of this job, since we look */
    double seconds;  /* their rendering */
    double images_per_minute;
    uint32_t leased, step, steps;
};

struct live_failure {
    uint64_t index;
    char *node, *reason;
};

struct live_view {
    char id[33];
    char *label;
    char name[33]; /* the label, cut, or the short id */
    char *folder;  /* where results go, or NULL */
    Farm__JobState state;
    uint64_t tasks, done, failed, canceled, leased;
    uint64_t taken; /* ends of tasks that were seen */
    uint64_t done_at_start;
    bool counting; /* ends that come now are new ones and count for the nodes */
    size_t pending, fetched, skipped; /* files */
    int64_t started_ms, ended_ms;
    struct live_node *node;
    size_t node_count;
    struct live_failure *failure;
    size_t failure_count;
    json_t *files;
};

void live_view_clear(struct live_view *self);

/* "out/{job}" with the label, or the short id where there is none, in place; heap. */
char *live_view_folder(const struct live_view *self, const char *folder);

/* The end of a task, and the news of a node. */
void live_view_task(struct live_view *self, const Farm__TaskRow *row);
void live_view_node(struct live_view *self, const Farm__Node *node);

void live_view_draw(const struct live_view *self);
void live_view_report(const struct live_view *self);
json_t *live_view_json(const struct live_view *self);

#endif
