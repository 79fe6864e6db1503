/* What a batch of tasks asks of the pipeline, with the files they name. */
#ifndef FARM_REQUESTS_H
#define FARM_REQUESTS_H

#include "worker/attempts.h"
#include "worker/brought.h"
#include "worker/task_loras.h"

struct requests {
    struct image_request item[BATCH_MOST]; /* texts borrowed from batch and inputs */
    struct task_loras loras[BATCH_MOST];
    struct brought brought; /* by all tasks alike */
};

/* ERROR_INPUT where a file that a task names is not what it should be; *self is then
 * empty. */
bool requests_read(struct requests *self, const struct attempt *batch, size_t count,
                   const struct inputs *inputs, struct error *error);
void requests_clear(struct requests *self);

#endif
