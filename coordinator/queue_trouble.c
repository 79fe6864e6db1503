#include "coordinator/queue_trouble.h"

#include <stdlib.h>
#include <string.h>

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static void trouble_destroy(struct queue_trouble *trouble)
{
    for (unsigned f = 0; f < trouble->count; f++)
        free(trouble->fault[f].text);
    free(trouble);
}

void trouble_forget(struct queue_job *job, uint64_t index)
{
    struct queue_trouble *trouble = zhashx_lookup(job->troubles, &index);
    if (!trouble)
        return;
    zhashx_delete(job->troubles, &index);
    trouble_destroy(trouble);
}

void troubles_clear(struct queue_job *job)
{
    if (!job->troubles)
        return;
    for (void *t = zhashx_first(job->troubles); t; t = zhashx_next(job->troubles))
        trouble_destroy(t);
    zhashx_destroy(&job->troubles);
}

const struct queue_trouble *queue_trouble(const struct queue_job *job, uint64_t index)
{
    return job->troubles ? zhashx_lookup(job->troubles, &index) : NULL;
}

bool queue_failed_on(const struct queue_job *job, uint64_t index, uint32_t node)
{
    const struct queue_trouble *trouble = queue_trouble(job, index);
    for (unsigned f = 0; trouble && f < trouble->count; f++)
        if (trouble->fault[f].node == node)
            return true;
    return false;
}

bool queue_failed_everywhere(const struct queue_job *job, uint64_t index)
{
    const struct queue_trouble *trouble = queue_trouble(job, index);
    return trouble && trouble->count >= job->takers;
}

static struct queue_trouble *trouble_add(struct queue_job *job, uint64_t index,
                                         uint32_t node, uint64_t mark, const char *text)
{
    struct queue_trouble *trouble = zhashx_lookup(job->troubles, &index);
    if (!trouble) {
        trouble = need(calloc(1, sizeof *trouble));
        trouble->index = index;
        zhashx_insert(job->troubles, &trouble->index, trouble);
    }
    trouble->faults++;
    unsigned f = 0;
    while (f < trouble->count && trouble->fault[f].node != node)
        f++;
    if (f == QUEUE_FAULTS)
        f--;
    if (f == trouble->count)
        trouble->count++;
    free(trouble->fault[f].text);
    trouble->fault[f].node = node;
    trouble->fault[f].mark = mark;
    trouble->fault[f].text = need(strdup(text));
    return trouble;
}

bool queue_fault(struct queue_lease *lease, unsigned nodes, uint64_t mark,
                 const char *text)
{
    struct queue_trouble *trouble =
        trouble_add(lease->job, lease->index, lease->node, mark, text);
    unsigned needed = nodes < QUEUE_FAULTS ? nodes : QUEUE_FAULTS;
    return trouble->faults >= QUEUE_FAULTS && trouble->count >= needed;
}

void queue_restore_fault(struct queue_job *job, uint64_t index, uint32_t node,
                         const char *text)
{
    trouble_add(job, index, node, 0, text);
}

bool queue_next(const struct queue_job *job, uint32_t node, bool alone, int64_t now,
                uint64_t *index)
{
    for (size_t r = 0; r < job->returned_count; r++) {
        uint32_t only = job->returned[r].only;
        *index = job->returned[r].index;
        if (job->returned[r].not_before <= now && (!only || only == node) &&
            (alone || queue_failed_everywhere(job, *index) ||
             !queue_failed_on(job, *index, node)))
            return true;
    }
    *index = job->cursor;
    return job->state == QUEUE_OPEN && job->cursor < job->tasks;
}
