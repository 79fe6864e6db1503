/* Jobs that keep to devices of one kind. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/work.h"

bool work_suits(const struct queue_job *job, const struct node *node)
{
    const char *kind = ((const struct job *)job->tag)->device_kind;
    return !*kind || wire_is(node->device->kind, kind, strlen(kind));
}

void work_keep_to_kind(struct coordinator *self, struct queue_job *job,
                       const struct node *node)
{
    struct job *own = job->tag;
    if (!own->specification->same_device_kind || *own->device_kind)
        return;
    free(own->device_kind);
    own->device_kind = wire_string(node->device->kind);
    change_job_kind(self->change, own->number, own->device_kind);
    own->settled_by = self->handed + 1;
}

unsigned work_nodes(const struct coordinator *self, const struct queue_job *job)
{
    unsigned count = 0;
    for (size_t n = 0; n < self->registry.count; n++) {
        const struct node *node = self->registry.node[n];
        count += node_works(node, self->now) && work_suits(job, node);
    }
    return count;
}
