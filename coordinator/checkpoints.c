#include "coordinator/checkpoints.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "coordinator/coordinator.h"
#include "coordinator/swarm.h"
#include "coordinator/table.h"

void checkpoints_init(struct checkpoints *self)
{
    *self = (struct checkpoints){.by_key = table_new(QUEUE_KEY)};
}

static void row_destroy(struct checkpoint_row *row)
{
    free((char *)(uintptr_t)row->kind);
    free(row);
}

void checkpoints_clear(struct checkpoints *self)
{
    for (void *r = zhashx_first(self->by_key); r; r = zhashx_next(self->by_key))
        row_destroy(r);
    zhashx_destroy(&self->by_key);
    free(self->dropped);
    *self = (struct checkpoints){0};
}

static void add(struct checkpoints *self, const struct checkpoint_row *row)
{
    struct checkpoint_row *own = malloc(sizeof *own);
    if (!own)
        abort();
    *own = *row;
    own->kind = path_format("%s", row->kind);
    zhashx_insert(self->by_key, own->key, own);
}

/* Its file goes at the next sweep. */
static void drop(struct coordinator *coordinator, struct checkpoint_row *row)
{
    struct checkpoints *self = &coordinator->checkpoints;
    swarm_forget(coordinator->swarm, row->blob);
    if (self->dropped_count == self->dropped_room) {
        self->dropped_room = self->dropped_room ? 2 * self->dropped_room : 16;
        self->dropped =
            realloc(self->dropped, self->dropped_room * sizeof *self->dropped);
        if (!self->dropped)
            abort();
    }
    memcpy(self->dropped[self->dropped_count++], row->blob, BLOB_ID);
    zhashx_delete(self->by_key, row->key);
    row_destroy(row);
}

void checkpoints_load(void *coordinator, const struct checkpoint_row *row)
{
    add(&((struct coordinator *)coordinator)->checkpoints, row);
}

static bool is_further(const struct coordinator *self, const struct checkpoint_row *row,
                       const struct queue_lease *than, uint32_t step)
{
    struct queue_attempt id = {row->epoch, row->counter};
    return memcmp(&id, &than->id, sizeof id) != 0 && row->step > step &&
           queue_attempt(self->queue, id);
}

static bool file_is_here(const struct coordinator *self,
                         const Farm__Checkpoint *message, struct error *error)
{
    uint64_t size;
    if (models_find(&self->models, message->blob.data))
        return error_set_kind(error, ERROR_INPUT, "checkpoint: this id is a model's");
    if (message->size > WIRE_CHECKPOINT_LIMIT)
        return error_set_kind(error, ERROR_INPUT,
                              "checkpoint: %llu bytes, at most %d are kept",
                              (unsigned long long)message->size, WIRE_CHECKPOINT_LIMIT);
    return (blob_has(self->blobs, message->blob.data, &size) &&
            size == message->size) ||
           error_set_kind(error, ERROR_INPUT,
                          "checkpoint: the farm has no such file of %llu bytes; offer "
                          "it first",
                          (unsigned long long)message->size);
}

bool checkpoints_take(struct coordinator *self, const struct queue_lease *lease,
                      const struct node *node, const Farm__Checkpoint *message,
                      struct error *error)
{
    struct checkpoint_row *before = zhashx_lookup(self->checkpoints.by_key, lease->key);
    if (!message->blob.len) {
        if (before && before->step == message->step) {
            log_warn("%s cannot go on from the checkpoint of a task after %u steps, "
                     "which begins anew",
                     node->name, before->step);
            checkpoints_end(self, lease->key);
        }
        return true;
    }
    if (!file_is_here(self, message, error))
        return false;
    if (before && is_further(self, before, lease, message->step))
        return true;
    char *kind = wire_string(node->device->kind);
    struct checkpoint_row row = {
        .job = ((const struct job *)lease->job->tag)->number,
        .size = message->size,
        .step = message->step,
        .epoch = lease->id.epoch,
        .counter = lease->id.counter,
        .kind = kind,
        .is_from = true,
        .from = node->number,
    };
    memcpy(row.key, lease->key, sizeof row.key);
    memcpy(row.blob, message->blob.data, BLOB_ID);
    if (before)
        drop(self, before);
    add(&self->checkpoints, &row);
    if (node->session) /* others get it there */
        swarm_have(self->swarm, row.blob, 1, node->session->peer, node->key,
                   node->session->serves, NULL, 0, false, NULL);
    change_checkpoint(self->change, &row);
    depot_named(self->depot, row.blob);
    free(kind);
    return true;
}

const struct checkpoint_row *checkpoints_for(const struct coordinator *self,
                                             const uint8_t key[QUEUE_KEY],
                                             const struct node *node)
{
    const struct checkpoint_row *row = zhashx_lookup(self->checkpoints.by_key, key);
    uint64_t size;
    bool fits = row && node->device &&
                wire_is(node->device->kind, row->kind, strlen(row->kind)) &&
                blob_has(self->blobs, row->blob, &size) && size == row->size;
    return fits ? row : NULL;
}

void checkpoints_end(struct coordinator *self, const uint8_t key[QUEUE_KEY])
{
    struct checkpoint_row *row = zhashx_lookup(self->checkpoints.by_key, key);
    if (!row)
        return;
    change_checkpoint_gone(self->change, key);
    drop(self, row);
}

void checkpoints_end_job(struct coordinator *self, int64_t job)
{
    zlistx_t *rows = zhashx_values(self->checkpoints.by_key);
    for (const struct checkpoint_row *row = zlistx_first(rows); row;
         row = zlistx_next(rows))
        if (row->job == job)
            checkpoints_end(self, row->key);
    zlistx_destroy(&rows);
}

void checkpoints_end_node(struct coordinator *self, uint32_t node)
{
    zlistx_t *rows = zhashx_values(self->checkpoints.by_key);
    for (const struct checkpoint_row *row = zlistx_first(rows); row;
         row = zlistx_next(rows))
        if (row->is_from && row->from == node)
            checkpoints_end(self, row->key);
    zlistx_destroy(&rows);
}

void checkpoints_sweep(struct coordinator *self)
{
    struct checkpoints *own = &self->checkpoints;
    for (size_t d = 0; d < own->dropped_count; d++)
        garbage_remove(self, own->dropped[d]);
    own->dropped_count = 0;
}

bool checkpoints_name(const struct checkpoints *self, const uint8_t id[BLOB_ID])
{
    for (const struct checkpoint_row *row = zhashx_first(self->by_key); row;
         row = zhashx_next(self->by_key))
        if (memcmp(row->blob, id, BLOB_ID) == 0)
            return true;
    return false;
}
