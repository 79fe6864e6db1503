#include "worker/sd/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

enum { FRAME = 8 };

struct safetensors {
    struct tensor_file *file;
};

struct safetensors *safetensors_open(const char *path, struct error *error)
{
    struct safetensors *self = calloc(1, sizeof *self);
    if (!self)
        error_set_kind(error, ERROR_MEMORY, "%s: no memory", path);
    else if (!(self->file = tensor_file_open(path, error)))
        safetensors_close(&self);
    return self;
}

void safetensors_close(struct safetensors **self)
{
    if (!*self)
        return;
    tensor_file_close(&(*self)->file);
    free(*self);
    *self = NULL;
}

const struct tensor_file *safetensors_file(const struct safetensors *self)
{
    return self->file;
}

size_t safetensors_count(const struct safetensors *self)
{
    return tensor_file_count(self->file);
}

const char *safetensors_name(const struct safetensors *self, size_t i)
{
    return tensor_file_at(self->file, i)->name;
}

bool safetensors_get(const struct safetensors *self, const char *name,
                     struct host_tensor *into, struct error *error)
{
    static const struct {
        const char *name;
        enum host_type type;
    } types[] = {{"F32", HOST_F32}, {"F16", HOST_F16}, {"BF16", HOST_BF16}};
    const struct tensor_entry *entry = tensor_file_find(self->file, name);
    if (!entry)
        return error_set_kind(error, ERROR_INPUT, "%s: tensor %.150s is missing",
                              tensor_file_path(self->file), name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, entry->type) != 0)
            continue;
        *into = (struct host_tensor){.type = types[i].type,
                                     .dims = entry->dims,
                                     .data = tensor_file_data(self->file, entry)};
        memcpy(into->shape, entry->shape, sizeof entry->shape);
        return true;
    }
    return error_set_kind(error, ERROR_INPUT,
                          "%s: tensor %.150s: dtype %s, expected F32, F16 or BF16",
                          tensor_file_path(self->file), name, entry->type);
}

bool safetensors_write(struct buffer *into, const char *name, const float *values,
                       const size_t *shape, size_t dims, struct error *error)
{
    size_t count = 1;
    json_t *sizes = json_array();
    for (size_t i = 0; i < dims; i++) {
        count *= shape[i];
        json_array_append_new(sizes, json_integer((json_int_t)shape[i]));
    }
    json_t *header =
        json_pack("{s:{s:s, s:o, s:[I, I]}}", name, "dtype", "F32", "shape", sizes,
                  "data_offsets", (json_int_t)0, (json_int_t)(count * sizeof *values));
    char *text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(header);
    if (!text)
        return error_set(error, "tensor %.150s: its name is no UTF-8", name);
    /* Blanks behind the JSON bring the data to a multiple of 8. */
    int length = (int)((strlen(text) + 7) / 8 * 8);
    uint8_t frame[FRAME];
    for (size_t i = 0; i < FRAME; i++)
        frame[i] = (uint8_t)((uint64_t)length >> 8 * i);
    bool good = buffer_append(into, frame, sizeof frame, error) &&
                buffer_printf(into, error, "%-*s", length, text) &&
                buffer_append(into, values, count * sizeof *values, error);
    free(text);
    return good;
}
