#include "coordinator/scheduler.h"

#include <string.h>

static bool has_model(const struct scheduler_node *node, const uint8_t model[32])
{
    for (size_t m = 0; m < node->models; m++)
        if (memcmp(node->model[m], model, 32) == 0)
            return true;
    return false;
}

struct queue_job *scheduler_choose(const struct queue *queue,
                                   const struct scheduler_node *node, int64_t now,
                                   scheduler_look_fn *look, void *context)
{
    struct queue_job *first = NULL, *job;
    int looks = 0;
    for (job = TAILQ_FIRST(&queue->open); job; job = TAILQ_NEXT(job, open)) {
        uint64_t index;
        struct scheduler_task task;
        if (!queue_next(job, node->node, node->alone, now, &index) ||
            !look(context, job, index, &task))
            continue;
        if (has_model(node, task.model))
            return job;
        if (!first)
            first = job;
        if (++looks == SCHEDULER_LOOKS)
            break;
    }
    return first;
}

uint32_t scheduler_batch(const struct queue_job *job, const struct scheduler_node *node,
                         uint32_t takers)
{
    uint64_t most = node->batch > 0 ? node->batch : 1;
    if (most > node->credit)
        most = node->credit;
    uint64_t ready = queue_ready(job);
    uint64_t share = takers > 1 ? (ready + takers - 1) / takers : ready;
    return (uint32_t)(share < most ? share : most);
}
