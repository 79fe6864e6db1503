#include "coordinator/learned.h"

#include <string.h>

#include "base/log.h"

static void take_usage(void *context, const struct usage_row *row)
{
    struct coordinator *self = context;
    struct share *share = shares_of(&self->shares, row->submitter);
    share->used = row->step_pixels;
    share->at = row->at;
}

bool learned_start(struct coordinator *self, struct error *error)
{
    return store_usages(self->store, take_usage, self, error);
}

static void take_order(void *context, const struct node_row *row)
{
    struct node *node = context;
    if (row->state >= NODE_FREE && row->state <= NODE_BLOCKED)
        node_set_order(node, (enum node_order)row->state, row->reason);
}

static void take_speed(void *context, const struct speed_row *row)
{
    struct node *node = context;
    struct speed speed = {.size_class = row->size_class,
                          .batch = row->batch,
                          .value = row->step_pixels_per_s,
                          .images = row->images};
    memcpy(speed.model, row->model, sizeof speed.model);
    speeds_restore(&node->speeds, &speed);
}

void learned_load(struct coordinator *self, struct node *node)
{
    struct error error = {0};
    if (node->learned)
        return;
    node->learned = true;
    if (!store_node(self->store, node->key, node->index, take_order, node, &error) ||
        !store_speeds(self->store, node->key, node->index, take_speed, node, &error))
        log_error("%s", error.text);
}

void learned_measure(struct node *node, const uint8_t model[32], uint32_t size_class,
                     uint32_t images_at_once, double seconds, uint64_t step_pixels)
{
    if (seconds > 0)
        speeds_measure(&node->speeds, model, size_class, images_at_once,
                       (double)step_pixels / seconds);
}

static void store_speed(struct coordinator *self, const struct node *node,
                        struct speed *speed)
{
    struct speed_row row = {.device = node->index,
                            .size_class = speed->size_class,
                            .batch = speed->batch,
                            .step_pixels_per_s = speed->value,
                            .images = speed->images};
    memcpy(row.worker, node->key, sizeof row.worker);
    memcpy(row.model, speed->model, sizeof row.model);
    change_speed(self->change, &row);
    speed->changed = false;
}

void learned_store(struct coordinator *self)
{
    for (size_t n = 0; n < self->registry.count; n++) {
        struct speeds *speeds = &self->registry.node[n]->speeds;
        for (size_t e = 0; e < speeds->count; e++)
            if (speeds->entry[e].changed)
                store_speed(self, self->registry.node[n], &speeds->entry[e]);
    }
    struct share *share;
    for (share = zhashx_first(self->shares.by_submitter); share;
         share = zhashx_next(self->shares.by_submitter)) {
        if (!share->changed)
            continue;
        struct usage_row row = {.step_pixels = share->used, .at = share->at};
        memcpy(row.submitter, share->submitter, sizeof row.submitter);
        change_usage(self->change, &row);
        share->changed = false;
    }
}
