#include "worker/sd/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/lora_metadata.h"
#include "worker/sd/safetensors.h"

struct layer {
    struct lora_key key;
    const char *tensor[LORA_ROLES]; /* names in the file, borrowed; NULL: none */
};

struct lora {
    struct safetensors *file;
    char *name;
    double alpha[LORA_PARTS]; /* where a layer has none; 0: its rank */
    size_t count;
    struct layer *layer; /* sorted by part and name */
};

static int by_layer(const void *a, const void *b)
{
    const struct layer *left = a, *right = b;
    if (left->key.part != right->key.part)
        return left->key.part < right->key.part ? -1 : 1;
    return strcmp(left->key.layer, right->key.layer);
}

static const char *first_name(const struct layer *layer)
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

/* Joins the entries of one layer; two tensors of one role are two spellings of one key. */
static bool join(struct lora *self, struct error *error)
{
    size_t kept = 0;
    qsort(self->layer, self->count, sizeof *self->layer, by_layer);
    for (size_t i = 0; i < self->count; i++) {
        struct layer *last = kept ? &self->layer[kept - 1] : NULL;
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
    for (size_t i = 0; i < kept; i++) {
        if (!self->layer[i].tensor[LORA_DOWN])
            return lora_refuse(self, i, "there is no lora_down beside it", error);
        if (!self->layer[i].tensor[LORA_UP])
            return lora_refuse(self, i, "there is no lora_up beside it", error);
    }
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
        struct layer *layer = &self->layer[self->count++];
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
             lora_metadata_read(safetensors_file(self->file), self->alpha, error);
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

/* The factors of one layer: W += scale up [out, rank] down [rank, columns]. */
struct factors {
    size_t rank, columns;
    double scale;
    float *up, *down;
};

/* The tensor's floats (heap) and dimensions, short shapes filled up with ones. */
static float *read(const struct lora *self, size_t i, enum lora_role role,
                   size_t shape[4], struct error *error)
{
    struct host_tensor tensor;
    const char *name = self->layer[i].tensor[role];
    if (!safetensors_get(self->file, name, &tensor, error)) {
        error_prefix(error, "%s", self->name);
        return NULL;
    }
    for (size_t d = 0; d < 4; d++)
        shape[d] = d < tensor.dims ? tensor.shape[d] : 1;
    size_t count = host_tensor_count(&tensor);
    float *values = calloc(count + 1, sizeof *values);
    if (!values)
        error_set_kind(error, ERROR_MEMORY, "%s: no memory for %s", self->name, name);
    else
        host_tensor_floats(&tensor, 0, count, values);
    return values;
}

static bool read_scale(const struct lora *self, size_t i, struct factors *into,
                       struct error *error)
{
    size_t shape[4];
    double said = self->alpha[self->layer[i].key.part];
    into->scale = said > 0 ? said / (double)into->rank : 1;
    if (!self->layer[i].tensor[LORA_ALPHA])
        return true;
    float *alpha = read(self, i, LORA_ALPHA, shape, error);
    if (!alpha)
        return false;
    bool ok = (shape[0] == 1 && shape[1] == 1 && isfinite(alpha[0])) ||
              lora_refuse(self, i, "its alpha is not one number", error);
    into->scale = (double)alpha[0] / (double)into->rank;
    free(alpha);
    return ok;
}

/* down [rank, in] through mid [rank, rank, size, size] becomes [rank, in, size, size]. */
static bool widen(const struct lora *self, size_t i, struct factors *into, size_t in,
                  size_t size, struct error *error)
{
    size_t shape[4], places = size * size, rank = into->rank;
    float *mid = read(self, i, LORA_MID, shape, error);
    if (!mid)
        return false;
    float *wide = calloc(rank * in * places + 1, sizeof *wide);
    if (!wide) {
        free(mid);
        return error_set_kind(error, ERROR_MEMORY, "%s: no memory", self->name);
    }
    bool ok = (shape[0] == rank && shape[1] == rank && shape[2] == size &&
               shape[3] == size) ||
              lora_refuse(self, i, "its lora_mid does not fit lora_down and the layer",
                          error);
    for (size_t a = 0; ok && a < rank; a++)
        for (size_t b = 0; b < rank; b++)
            for (size_t c = 0; c < in; c++)
                for (size_t p = 0; p < places; p++)
                    wide[(a * in + c) * places + p] +=
                        mid[(a * rank + b) * places + p] * into->down[b * in + c];
    free(mid);
    free(ok ? into->down : wide);
    into->down = ok ? wide : into->down;
    return ok;
}

static bool read_factors(const struct lora *self, size_t i, struct factors *into,
                         size_t out, size_t in, size_t size, struct error *error)
{
    size_t down[4], up[4];
    bool has_mid = self->layer[i].tensor[LORA_MID];
    size_t side = has_mid ? 1 : size;
    into->down = read(self, i, LORA_DOWN, down, error);
    into->up = into->down ? read(self, i, LORA_UP, up, error) : NULL;
    if (!into->up)
        return false;
    into->rank = down[0];
    into->columns = in * size * size;
    if (down[0] == 0 || down[1] != in || down[2] != side || down[3] != side ||
        up[0] != out || up[1] != down[0] || up[2] != 1 || up[3] != 1) {
        char what[200];
        snprintf(what, sizeof what,
                 "lora_down %zux%zux%zux%zu and lora_up %zux%zux%zux%zu do not fit a "
                 "layer of %zux%zux%zux%zu",
                 down[0], down[1], down[2], down[3], up[0], up[1], up[2], up[3], out,
                 in, size, size);
        return lora_refuse(self, i, what, error);
    }
    return read_scale(self, i, into, error) &&
           (!has_mid || widen(self, i, into, in, size, error));
}

bool lora_add(const struct lora *self, size_t i, double weight, float *values,
              size_t out, size_t in, size_t size, struct error *error)
{
    struct factors f = {0};
    bool ok = read_factors(self, i, &f, out, in, size, error);
    for (size_t row = 0; ok && row < out; row++)
        for (size_t r = 0; r < f.rank; r++) {
            float factor = (float)(weight * f.scale * (double)f.up[row * f.rank + r]);
            const float *down = f.down + r * f.columns;
            float *into = values + row * f.columns;
            for (size_t c = 0; c < f.columns; c++)
                into[c] += factor * down[c];
        }
    free(f.up);
    free(f.down);
    return ok;
}
