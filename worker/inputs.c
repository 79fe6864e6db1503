#include "worker/inputs.h"

#include <assert.h>
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

void inputs_clear(struct inputs *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->item[i].name);
        free(self->item[i].path);
    }
    *self = (struct inputs){0};
}

static const struct input *find(const struct inputs *self, const char *hex)
{
    uint8_t id[BLOB_ID];
    if (!blob_parse(hex, id, NULL))
        return NULL;
    for (size_t i = 0; i < self->count; i++)
        if (memcmp(self->item[i].id, id, BLOB_ID) == 0)
            return &self->item[i];
    return NULL;
}

bool inputs_of(const struct inputs *self, const struct option *option,
               const char *value, struct input_use uses[FILES_MOST], size_t *count,
               struct error *error)
{
    struct file_uses named;
    *count = 0;
    if (!file_uses_read(&named, option, value, error))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < named.count; i++) {
        const struct input *input = find(self, named.item[i].file);
        if (input)
            uses[(*count)++] =
                (struct input_use){input->name, input->path, named.item[i].weight};
        else
            ok = error_set_kind(error, ERROR_INPUT,
                                "%s: %.64s is not among the files that came with the "
                                "task",
                                option->name, named.item[i].file);
    }
    file_uses_clear(&named);
    return ok;
}
