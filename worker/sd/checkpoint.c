#include "worker/sd/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

struct checkpoint {
    struct safetensors *file;
    char *name;
    size_t count;
    const char **tensor; /* sorted names, borrowed from file */
    bool *used;
};

/* Buffers that older programs saved along with the weights: counted, not read. */
static const char *const harmless[] = {"embeddings.position_ids"};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct checkpoint *checkpoint_open(const char *path, const char *name,
                                   struct error *error)
{
    struct checkpoint *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "%s: no memory", name);
        return NULL;
    }
    self->file = safetensors_open(path, error);
    if (!self->file) {
        error_prefix(error, "%s", name);
        goto fail;
    }
    self->name = path_format("%s", name);
    self->count = safetensors_count(self->file);
    self->tensor = calloc(self->count + 1, sizeof *self->tensor);
    self->used = calloc(self->count + 1, sizeof *self->used);
    if (!self->tensor || !self->used) {
        error_set_kind(error, ERROR_MEMORY, "%s: no memory for %zu names", name,
                       self->count);
        goto fail;
    }
    for (size_t i = 0; i < self->count; i++)
        self->tensor[i] = safetensors_name(self->file, i);
    qsort(self->tensor, self->count, sizeof *self->tensor, by_name);
    return self;
fail:
    checkpoint_close(&self);
    return NULL;
}

void checkpoint_close(struct checkpoint **self)
{
    if (!*self)
        return;
    safetensors_close(&(*self)->file);
    free((*self)->name);
    free((*self)->tensor);
    free((*self)->used);
    free(*self);
    *self = NULL;
}

/* The name's place among the sorted ones; count when it is not there. */
static size_t find(const struct checkpoint *self, const char *tensor)
{
    const char **at =
        bsearch(&tensor, self->tensor, self->count, sizeof *self->tensor, by_name);
    return at ? (size_t)(at - self->tensor) : self->count;
}

bool checkpoint_has(const struct checkpoint *self, const char *tensor)
{
    return find(self, tensor) < self->count;
}

static const char *shape_text(char *text, size_t size, const size_t *shape, size_t dims)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < dims && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%zu", i ? "x" : "", shape[i]);
    return dims ? text : "a single number";
}

static bool same_shape(const struct host_tensor *tensor, const size_t *shape,
                       size_t dims)
{
    bool pointwise = dims == 2 && tensor->dims == 4 && tensor->shape[2] == 1 &&
                     tensor->shape[3] == 1;
    if (tensor->dims != dims && !pointwise)
        return false;
    return memcmp(tensor->shape, shape, dims * sizeof *shape) == 0;
}

bool checkpoint_get(struct checkpoint *self, const char *tensor, const size_t *shape,
                    size_t dims, struct host_tensor *into, struct error *error)
{
    size_t i = find(self, tensor);
    if (i == self->count)
        return error_set_kind(error, ERROR_INPUT, "%s: tensor %s: missing", self->name,
                              tensor);
    if (!safetensors_get(self->file, tensor, into, error))
        return false;
    if (!same_shape(into, shape, dims)) {
        char found[100], expected[100];
        return error_set_kind(
            error, ERROR_INPUT, "%s: tensor %s: shape %s, expected %s", self->name,
            tensor, shape_text(found, sizeof found, into->shape, into->dims),
            shape_text(expected, sizeof expected, shape, dims));
    }
    self->used[i] = true;
    return true;
}

static bool is_harmless(const char *tensor)
{
    size_t length = strlen(tensor);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        size_t tail = strlen(harmless[i]);
        if (length >= tail && strcmp(tensor + length - tail, harmless[i]) == 0)
            return true;
    }
    return false;
}

bool checkpoint_all_used(const struct checkpoint *self, struct error *error)
{
    for (size_t i = 0; i < self->count; i++)
        if (!self->used[i] && !is_harmless(self->tensor[i]))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: tensor %s: the configuration has no place for "
                                  "it; is config.json another model's?",
                                  self->name, self->tensor[i]);
    return true;
}
