#include "worker/sd/embedding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/safetensors.h"

struct reading {
    struct embedding *into;
    const struct text_stack *text;
    const struct safetensors *file;
    const char *name;
    struct error *error;
};

/* Takes a tensor for an encoder: [vectors, c] or one vector of c. */
static bool take(struct reading *self, size_t which, const char *tensor)
{
    struct host_tensor host;
    size_t c = self->text->part[which].encoder.c;
    if (!safetensors_get(self->file, tensor, &host, self->error))
        return error_prefix(self->error, "%s", self->name);
    size_t count = host_tensor_count(&host);
    if (host.dims < 1 || host.dims > 2 || !count || host.shape[host.dims - 1] != c)
        return error_set_kind(self->error, ERROR_INPUT,
                              "%s: tensor %.100s: expected vectors as wide as the text "
                              "encoder's, %zu; is it for another family?",
                              self->name, tensor, c);
    float *values = calloc(count, sizeof *values);
    if (!values)
        return error_set_kind(self->error, ERROR_MEMORY, "%s: no memory", self->name);
    host_tensor_floats(&host, 0, count, values);
    self->into->part[which].values = values;
    self->into->part[which].vectors = count / c;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return error_set_kind(self->error, ERROR_INPUT,
                                  "%s: tensor %.100s: value %zu is not finite",
                                  self->name, tensor, i);
    return true;
}

static bool has(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < safetensors_count(file); i++)
        if (strcmp(safetensors_name(file, i), name) == 0)
            return true;
    return false;
}

/* A tensor for one encoder goes to the one it is as wide as. */
static bool take_lone(struct reading *self, const char *tensor)
{
    struct host_tensor host;
    size_t which = 0;
    if (!safetensors_get(self->file, tensor, &host, self->error))
        return error_prefix(self->error, "%s", self->name);
    size_t width = host.dims ? host.shape[host.dims - 1] : 0;
    while (which + 1 < self->text->count && self->text->part[which].encoder.c != width)
        which++;
    return take(self, which, tensor);
}

static bool take_all(struct reading *self)
{
    size_t count = safetensors_count(self->file);
    if (!self->text->count)
        return error_set_kind(self->error, ERROR_INPUT,
                              "%s: the model has no text encoder", self->name);
    if (has(self->file, "clip_l") || has(self->file, "clip_g")) {
        if (self->text->count < 2)
            return error_set_kind(self->error, ERROR_INPUT,
                                  "%s: clip_l and clip_g are for SDXL's two text "
                                  "encoders, the model has one",
                                  self->name);
        return (!has(self->file, "clip_l") || take(self, 0, "clip_l")) &&
               (!has(self->file, "clip_g") || take(self, 1, "clip_g"));
    }
    if (has(self->file, "emb_params"))
        return take_lone(self, "emb_params");
    if (count != 1)
        return error_set_kind(
            self->error, ERROR_INPUT,
            "%s: %zu tensors; expected emb_params, clip_l and clip_g, "
            "or one named by its token",
            self->name, count);
    return take_lone(self, safetensors_name(self->file, 0));
}

static bool tokenize(struct reading *self)
{
    for (size_t i = 0; i < self->text->count; i++)
        if (!tokenizer_encode(self->text->part[i].tokenizer, self->into->name,
                              &self->into->part[i].ids, &self->into->part[i].id_count,
                              self->error))
            return error_prefix(self->error, "%s", self->name);
    return true;
}

static bool load(struct embedding *self, const struct text_stack *text,
                 const struct embedding_file *from, struct error *error)
{
    const char *point = strrchr(from->name, '.');
    struct safetensors *file = safetensors_open(from->path, error);
    if (!file)
        return error_prefix(error, "%s", from->name);
    self->name =
        strndup(from->name, point ? (size_t)(point - from->name) : strlen(from->name));
    struct reading reading = {self, text, file, from->name, error};
    bool ok = self->name
                  ? take_all(&reading) && tokenize(&reading)
                  : error_set_kind(error, ERROR_MEMORY, "%s: no memory", from->name);
    safetensors_close(&file);
    return ok;
}

bool embeddings_load(struct embeddings *self, const struct text_stack *text,
                     const struct embedding_file *files, size_t count,
                     struct error *error)
{
    *self = (struct embeddings){.item = calloc(count + 1, sizeof *self->item)};
    bool ok = true;
    if (!self->item)
        return error_set_kind(error, ERROR_MEMORY, "no memory for embeddings");
    while (ok && self->count < count) {
        ok = load(&self->item[self->count], text, &files[self->count], error);
        self->count++;
    }
    if (!ok)
        embeddings_clear(self);
    return ok;
}

void embeddings_clear(struct embeddings *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->item[i].name);
        for (size_t part = 0; part < TEXT_STACK_MOST; part++) {
            free(self->item[i].part[part].values);
            free(self->item[i].part[part].ids);
        }
    }
    free(self->item);
    *self = (struct embeddings){0};
}

bool embedding_cache_load(struct embedding_cache *self, const struct text_stack *text,
                          const struct embedding_file *files, size_t count,
                          struct error *error)
{
    struct buffer key = {0};
    bool ok = buffer_printf(&key, error, "%zu\n", count);
    for (size_t i = 0; ok && i < count; i++)
        ok = buffer_printf(&key, error, "%s %s\n", files[i].path, files[i].name);
    if (ok && (!self->key || strcmp(self->key, buffer_text(&key)) != 0)) {
        uint64_t id = self->id + 1;
        embedding_cache_clear(self);
        self->id = id;
        ok = embeddings_load(&self->set, text, files, count, error);
        if (ok) {
            self->key = (char *)key.data;
            return true;
        }
    }
    buffer_clear(&key);
    return ok;
}

void embedding_cache_clear(struct embedding_cache *self)
{
    embeddings_clear(&self->set);
    free(self->key);
    self->key = NULL;
}

size_t embeddings_words(const struct embeddings *self, const struct text_stack *text,
                        size_t which, struct chunk_word *into)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++) {
        const struct embedding *item = &self->item[i];
        if (item->part[which].values)
            into[count++] = (struct chunk_word){.name = item->name,
                                                .ids = item->part[which].ids,
                                                .id_count = item->part[which].id_count,
                                                .values = item->part[which].values,
                                                .vectors = item->part[which].vectors,
                                                .c = text->part[which].encoder.c};
    }
    return count;
}

size_t embeddings_largest(const struct embeddings *self, size_t which, size_t c,
                          const float *const *vector, size_t tokens)
{
    for (size_t i = self->count; i-- > 0;)
        for (size_t v = self->item[i].part[which].vectors; v-- > 0;)
            for (size_t t = 0; t < tokens; t++)
                if (vector[t] == self->item[i].part[which].values + v * c)
                    return t;
    return tokens;
}
