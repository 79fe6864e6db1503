#include "worker/sd/lora_file.h"

#include <stdlib.h>
#include <string.h>

static int by_layer(const void *a, const void *b)
{
    const struct lora_layer *left = a, *right = b;
    if (left->key.part != right->key.part)
        return left->key.part < right->key.part ? -1 : 1;
    return strcmp(left->key.layer, right->key.layer);
}

static const char *first_name(const struct lora_layer *layer)
{
    for (size_t i = 0; i < LORA_ROLES; i++)
        if (layer->tensor[i])
            return layer->tensor[i];
    return "";
}

bool lora_refuse(const struct lora *self, size_t i, const char *what,
                 struct error *error)
{
    return error_set_kind(error, ERROR_INPUT, "%s: key %.200s: %s", self->name,
                          first_name(&self->layer[i]), what);
}

/* A layer has the factors of one kind of difference, all of them; lora_delta.c asks for those
 * that depend on each other. */
static bool check_whole(const struct lora *self, size_t i, struct error *error)
{
    const char *const *tensor = self->layer[i].tensor;
    bool loha = tensor[HADA_W1_A] || tensor[HADA_W1_B] || tensor[HADA_W2_A] ||
                tensor[HADA_W2_B];
    bool lokr =
        tensor[LOKR_W1] || tensor[LOKR_W1_A] || tensor[LOKR_W2] || tensor[LOKR_W2_A];
    bool lora = tensor[LORA_DOWN] || tensor[LORA_UP];
    if (lora + loha + lokr > 1)
        return lora_refuse(self, i, "one layer of several kinds of adapters", error);
    if (loha && !tensor[HADA_W1_A])
        return lora_refuse(self, i, "there is no hada_w1_a beside it", error);
    if (loha || lokr)
        return true;
    if (!tensor[LORA_DOWN])
        return lora_refuse(self, i, "there is no lora_down beside it", error);
    return tensor[LORA_UP] ||
           lora_refuse(self, i, "there is no lora_up beside it", error);
}

/* Joins the entries of one layer; two tensors of one role are two spellings of one key. */
static bool join(struct lora *self, struct error *error)
{
    size_t kept = 0;
    qsort(self->layer, self->count, sizeof *self->layer, by_layer);
    for (size_t i = 0; i < self->count; i++) {
        struct lora_layer *last = kept ? &self->layer[kept - 1] : NULL;
        if (!last || by_layer(last, &self->layer[i]) != 0) {
            self->layer[kept++] = self->layer[i];
            continue;
        }
        for (size_t role = 0; role < LORA_ROLES; role++) {
            const char *tensor = self->layer[i].tensor[role];
            if (tensor && last->tensor[role])
                return error_set_kind(error, ERROR_INPUT,
                                      "%s: keys %.150s and %.150s mean the same",
                                      self->name, last->tensor[role], tensor);
            if (tensor)
                last->tensor[role] = tensor;
        }
    }
    self->count = kept;
    for (size_t i = 0; i < kept; i++)
        if (!check_whole(self, i, error))
            return false;
    return true;
}

static bool read_keys(struct lora *self, struct error *error)
{
    size_t count = safetensors_count(self->file);
    self->layer = calloc(count + 1, sizeof *self->layer);
    if (!self->layer)
        return error_set_kind(error, ERROR_MEMORY, "%s: no memory for %zu keys",
                              self->name, count);
    for (size_t i = 0; i < count; i++) {
        struct lora_layer *layer = &self->layer[self->count++];
        const char *tensor = safetensors_name(self->file, i);
        if (!lora_key_read(&layer->key, tensor, error))
            return error_prefix(error, "%s", self->name);
        layer->tensor[layer->key.role] = tensor;
    }
    return join(self, error);
}

struct lora *lora_open(const char *path, const char *name, struct error *error)
{
    struct lora *self = calloc(1, sizeof *self);
    bool ok = self && (self->name = strdup(name));
    if (!ok) {
        error_set_kind(error, ERROR_MEMORY, "%s: no memory", name);
    } else {
        self->file = safetensors_open(path, error);
        ok = self->file &&
             lora_metadata_read(safetensors_file(self->file), self->settings, error);
        ok = ok ? read_keys(self, error) : error_prefix(error, "%s", name);
    }
    if (!ok)
        lora_close(&self);
    return self;
}

void lora_close(struct lora **self)
{
    if (!*self)
        return;
    lora_metadata_clear((*self)->settings);
    safetensors_close(&(*self)->file);
    free((*self)->layer);
    free((*self)->name);
    free(*self);
    *self = NULL;
}

size_t lora_count(const struct lora *self)
{
    return self->count;
}

enum lora_part lora_layer(const struct lora *self, size_t i, const char **layer)
{
    *layer = self->layer[i].key.layer;
    return self->layer[i].key.part;
}
