#include "worker/requests.h"

#include "worker/task_request.h"

bool requests_read(struct requests *self, const struct attempt *batch, size_t count,
                   const struct inputs *inputs, struct error *error)
{
    *self = (struct requests){0};
    bool ok = brought_read(&self->brought, inputs, &batch[0].task, error);
    for (size_t i = 0; ok && i < count; i++) {
        ok = task_loras_read(&self->loras[i], &batch[i].task, inputs, error);
        task_request(&batch[i].task, &self->loras[i], &self->item[i]);
        brought_request(&self->brought, &batch[i].task, &self->item[i]);
    }
    if (!ok)
        requests_clear(self);
    return ok;
}

void requests_clear(struct requests *self)
{
    brought_clear(&self->brought);
    for (size_t i = 0; i < BATCH_MOST; i++)
        task_loras_clear(&self->loras[i]);
}
