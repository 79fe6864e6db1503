#include "worker/models.h"

#include <stdlib.h>
#include <string.h>

#include "proto/files/manifest.h"

void model_empty(struct model *self)
{
    model_files_clear(&self->files);
    manifest_destroy(&self->manifest);
}

static void model_destroy(struct model *model)
{
    model_empty(model);
    free(model);
}

void models_clear(struct models *self)
{
    for (size_t i = 0; i < self->count; i++)
        model_destroy(self->item[i]);
    self->count = 0;
}

static bool make_room(struct models *self)
{
    for (size_t i = self->count; i-- > 0;) {
        if (self->item[i]->wanted)
            continue;
        model_destroy(self->item[i]);
        memmove(&self->item[i], &self->item[i + 1],
                (self->count - i - 1) * sizeof *self->item);
        self->count--;
        return true;
    }
    return false;
}

struct model *models_find(const struct models *self, const uint8_t id[BLOB_ID])
{
    for (size_t i = 0; i < self->count; i++)
        if (memcmp(self->item[i]->id, id, BLOB_ID) == 0)
            return self->item[i];
    return NULL;
}

struct model *models_get(struct models *self, const uint8_t id[BLOB_ID])
{
    struct model *known = models_find(self, id);
    if (known)
        return known;
    if (self->count == MODELS_MOST && !make_room(self))
        return NULL;
    struct model *model = calloc(1, sizeof *model);
    if (!model)
        abort();
    memcpy(model->id, id, BLOB_ID);
    self->item[self->count++] = model;
    return model;
}

struct model *models_asked(const struct models *self, uint64_t request)
{
    for (size_t i = 0; i < self->count; i++)
        if (request && self->item[i]->request == request)
            return self->item[i];
    return NULL;
}

void models_use(struct models *self, struct model *model)
{
    size_t i = 0;
    while (self->item[i] != model)
        i++;
    memmove(&self->item[1], &self->item[0], i * sizeof *self->item);
    self->item[0] = model;
}

void model_fill(struct model *self, struct model_files *files,
                Farm__Manifest **manifest)
{
    model_empty(self);
    self->files = *files;
    *files = (struct model_files){0};
    self->manifest = *manifest;
    *manifest = NULL;
    self->listed = !manifest_is_input(self->manifest);
    self->wanted = false;
}
