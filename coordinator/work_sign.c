#include <string.h>

#include "base/clock.h"
#include "coordinator/work.h"
#include "proto/job/files.h"
#include "proto/provenance.h"

void work_sign(struct coordinator *self, struct queue_job *job, uint64_t index,
               const struct node *node, const struct result_row *result,
               struct buffer *text)
{
    struct provenance made = {.time = clock_unix()};
    memcpy(made.task, result->key, 32);
    memcpy(made.pixels, result->pixels, 32);
    memcpy(made.node, node->key, 32);
    const struct task *task = job_task(job->tag, &self->models, index);
    if (task && blob_parse(task->model, made.model[0], NULL)) {
        made.models = 1;
        uint8_t inputs[INPUTS_MOST][32];
        size_t count = 0;
        task_inputs(task, inputs, &count, NULL);
        for (size_t i = 0; i < count && made.models < PROVENANCE_MODELS; i++)
            memcpy(made.model[made.models++], inputs[i], 32);
    }
    const Farm__Job *specification = ((const struct job *)job->tag)->specification;
    made.listed = specification && specification->deny_list.len == DENY_HASH;
    if (made.listed)
        memcpy(made.deny_list, specification->deny_list.data, DENY_HASH);
    snprintf(made.engine, sizeof made.engine, "%.60s, numerics %d",
             node->session ? node->session->program : "unknown", ENGINE_NUMERICS);
    snprintf(made.variant, sizeof made.variant, "%.*s", (int)node->device->kind.len,
             (const char *)node->device->kind.data);
    provenance_sign(&made, &self->signer, text);
}
