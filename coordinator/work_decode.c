/* Nodes that leave decoding to others: after its last step an attempt comes back with a
 * checkpoint, and the task is kept for another node of the same kind, so that the pixels are
 * those one node alone would make. Without such a node it decodes itself.
 */
#include <stdlib.h>

#include "base/path.h"
#include "coordinator/work.h"

static bool decodes_for(const struct coordinator *self, const struct node *node,
                        const struct queue_job *job, const struct node *other)
{
    return other != node && node_works(other, self->now) && !other->device->hands_on &&
           wire_is(other->device->kind, (const char *)node->device->kind.data,
                   node->device->kind.len) &&
           work_suits(job, other);
}

static size_t kept_for(const struct coordinator *self, const struct node *node)
{
    const struct queue_job *job;
    size_t count = node->leased;
    for (job = TAILQ_FIRST(&self->queue->open); job; job = TAILQ_NEXT(job, open))
        count += queue_kept(job, node->number);
    return count;
}

/* The one that has least to do; NULL: none. */
static const struct node *decoder(const struct coordinator *self,
                                  const struct node *node, const struct queue_job *job,
                                  uint64_t index)
{
    const struct node *best = NULL;
    size_t least = 0;
    for (size_t n = 0; n < self->registry.count; n++) {
        const struct node *other = self->registry.node[n];
        if (!decodes_for(self, node, job, other) ||
            queue_failed_on(job, index, other->number))
            continue;
        size_t kept = kept_for(self, other);
        if (best && kept >= least)
            continue;
        best = other;
        least = kept;
    }
    return best;
}

bool work_hands_on(const struct coordinator *self, const struct node *node,
                   const struct queue_lease *lease)
{
    return node->device && node->device->hands_on && !node->keeps && !lease->goes_on &&
           !lease->twin && decoder(self, node, lease->job, lease->index);
}

bool work_hand_over(struct coordinator *self, struct queue_lease **lease,
                    struct node *node)
{
    const struct checkpoint_row *row = checkpoints_for(self, (*lease)->key, node);
    bool came =
        row && row->epoch == (*lease)->id.epoch && row->counter == (*lease)->id.counter;
    if (!(*lease)->hand_on || (*lease)->twin) /* who goes on with that one decodes it */
        return false;
    node->keeps = node->keeps || !came;
    const struct node *other =
        came ? decoder(self, node, (*lease)->job, (*lease)->index) : NULL;
    if (!other)
        return false;
    struct queue_job *job = (*lease)->job;
    uint64_t index = (*lease)->index;
    char *why = path_format("handed on, to be decoded by %s", other->name);
    work_release(self, lease, why);
    queue_keep(job, index, other->number);
    free(why);
    return true;
}

static bool goes(const void *context, uint32_t number)
{
    const struct coordinator *self = context;
    const struct node *node = registry_node_numbered(&self->registry, number);
    return node && node_works(node, self->now);
}

void work_unkeep(struct coordinator *self, struct queue_job *job)
{
    queue_unkeep(job, goes, self);
}
