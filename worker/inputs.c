#include "worker/inputs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void inputs_add(struct inputs *self, const uint8_t id[BLOB_ID], const char *name,
                const char *path)
{
    assert(self->count < INPUTS_MOST);
    struct input *input = &self->item[self->count++];
    memcpy(input->id, id, BLOB_ID);
    input->name = strdup(name);
    input->path = strdup(path);
    if (!input->name || !input->path)
        abort();
}

void inputs_add_model(struct inputs *self, const uint8_t id[BLOB_ID], const char *name,
                      const char *hash, const struct model_files *files)
{
    inputs_add(self, id, name, "");
    struct input *input = &self->item[self->count - 1];
    free(input->path);
    input->path = NULL;
    model_files_copy(&input->files, files);
    snprintf(input->hash, sizeof input->hash, "%s", hash);
}

void inputs_copy(struct inputs *self, const struct inputs *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct input *input = &from->item[i];
        if (input->path)
            inputs_add(self, input->id, input->name, input->path);
        else
            inputs_add_model(self, input->id, input->name, input->hash, &input->files);
    }
}

void inputs_clear(struct inputs *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->item[i].name);
        free(self->item[i].path);
        model_files_clear(&self->item[i].files);
    }
    *self = (struct inputs){0};
}

static const struct input *find(const struct inputs *self, const char *hex, bool model)
{
    uint8_t id[BLOB_ID];
    if (!blob_parse(hex, id, NULL))
        return NULL;
    for (size_t i = 0; i < self->count; i++)
        if (memcmp(self->item[i].id, id, BLOB_ID) == 0 && model == !self->item[i].path)
            return &self->item[i];
    return NULL;
}

bool inputs_of(const struct inputs *self, const struct option *option,
               const char *value, struct input_use uses[FILES_MOST], size_t *count,
               struct error *error)
{
    struct file_uses named;
    bool model = strcmp(option->choices, "model") == 0;
    *count = 0;
    if (!file_uses_read(&named, option, value, error))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < named.count; i++) {
        const struct input *input = find(self, named.item[i].file, model);
        if (input)
            uses[(*count)++] = (struct input_use){.name = input->name,
                                                  .path = input->path,
                                                  .model = model ? &input->files : NULL,
                                                  .hash = model ? input->hash : NULL,
                                                  .weight = named.item[i].weight};
        else
            ok = error_set_kind(error, ERROR_INPUT,
                                "%s: %.64s is not among the files that came with the "
                                "task",
                                option->name, named.item[i].file);
    }
    file_uses_clear(&named);
    return ok;
}
