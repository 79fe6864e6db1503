/* Tasks that came back half way and are kept for the node that is to go on with them. */
#include "coordinator/queue.h"

void queue_keep(struct queue_job *job, uint64_t index, uint32_t node)
{
    for (size_t r = job->returned_count; r-- > 0;) {
        if (job->returned[r].index != index)
            continue;
        job->kept += !job->returned[r].only;
        job->returned[r].only = node;
        return;
    }
}

size_t queue_kept(const struct queue_job *job, uint32_t node)
{
    size_t count = 0;
    for (size_t r = 0; job->kept && r < job->returned_count; r++)
        count += job->returned[r].only == node;
    return count;
}

void queue_unkeep(struct queue_job *job, bool (*goes)(const void *, uint32_t node),
                  const void *context)
{
    for (size_t r = 0; job->kept && r < job->returned_count; r++) {
        if (!job->returned[r].only || goes(context, job->returned[r].only))
            continue;
        job->returned[r].only = 0;
        job->kept--;
    }
}
