/* Which attempts render next, and what the device is told of them. */
#include <stdlib.h>

#include "proto/files/manifest.h"
#include "proto/wire.h"
#include "worker/device_private.h"

/* The files and models that an attempt names besides its own model; false when one is no
 * longer known to be here. */
static bool gather(const struct device *self, const struct attempt *attempt,
                   struct inputs *inputs)
{
    for (size_t i = 0; i < attempt->inputs; i++) {
        const struct model *file = models_find(&self->models, attempt->input[i]);
        if (!file || !file->manifest)
            return false;
        if (manifest_is_input(file->manifest)) {
            inputs_add(inputs, file->id, file->files.file[0].name,
                       file->files.file[0].path);
            continue;
        }
        char hash[11], *name = wire_string(file->manifest->name);
        manifest_model_hash(file->manifest, hash);
        inputs_add_model(inputs, file->id, name, hash, &file->files);
        free(name);
    }
    return true;
}

/* What is next is told while the device is busy with the same model, so far as it is here and
 * was not told yet. */
static void tell_ahead(struct device *self)
{
    struct attempt *batch[BATCH_MOST];
    const struct model *model = self->models.item[0]; /* which renders */
    size_t count = 0;
    bool news = false;
    for (size_t i = 0; i < self->attempts.count; i++) {
        const struct attempt *attempt = self->attempts.item[i];
        news = news || (attempt->state == FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED &&
                        !attempt->ahead);
    }
    if (news && model->manifest)
        count = attempts_batch(&self->attempts, model->id, self->batch, batch);
    struct inputs inputs = {0};
    news = false;
    for (size_t i = 0; i < count; i++) {
        news = news || !batch[i]->ahead;
        batch[i]->ahead = true;
    }
    if (news && gather(self, batch[0], &inputs))
        render_ahead(self->render, model->id, &inputs, batch, count);
    inputs_clear(&inputs);
}

void device_start_batch(struct device *self)
{
    struct attempt *batch[BATCH_MOST];
    size_t count = 0;
    if (self->rendering && !self->leave)
        tell_ahead(self);
    if (self->rendering || self->leave || !self->link)
        return;
    struct model *model = NULL;
    for (size_t i = 0; i < self->models.count && !count; i++) {
        model = self->models.item[i];
        if (model->manifest)
            count = attempts_batch(&self->attempts, model->id, self->batch, batch);
    }
    if (!count)
        return;
    models_use(&self->models, model);
    struct inputs inputs = {0};
    if (gather(self, batch[0], &inputs)) {
        for (size_t i = 0; i < count; i++)
            batch[i]->state = FARM__ATTEMPT_STATE__ATTEMPT_RENDERING;
        render_batch(self->render, model->id, &model->files, model->manifest, &inputs,
                     batch, count);
        self->rendering = true;
        self->nearly_done = false;
    } else {
        for (size_t i = 0; i < count; i++)
            device_want(self, batch[i]);
    }
    inputs_clear(&inputs);
}
