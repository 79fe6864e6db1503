/* A checkpoint that invents whatever it is asked for: takes the place of
 * worker/sd/checkpoint.c in a bench, so that a full-size model needs no file.
 *
 * Value i of a tensor is a pure function of its name and i (splitmix64), the same as in
 * peer_torch.py. Weights are scaled by their fan-in so that every layer's output is of
 * order one; a file of lines "LAYER EXPONENT" multiplies a layer's by powers of two besides.
 * For who only plans all values are 0, at once.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/checkpoint.h"

enum { RING = 4 }; /* tensors that stay valid: a layer asks for weight, then bias */
enum { SCALES_MOST = 2048 };

struct checkpoint {
    float *values[RING];
    size_t next;
    bool zeros;
    struct {
        char layer[120];
        int exponent;
    } scale[SCALES_MOST];
    size_t scales;
};

static bool read_scales(struct checkpoint *self, const char *path, struct error *error)
{
    FILE *file = fopen(path, "r");
    while (file && self->scales < SCALES_MOST &&
           fscanf(file, "%119s %d", self->scale[self->scales].layer,
                  &self->scale[self->scales].exponent) == 2)
        self->scales++;
    bool whole = file && feof(file);
    if (file)
        fclose(file);
    return whole || error_set_kind(error, ERROR_INPUT,
                                   "%s: expected lines LAYER EXPONENT", path);
}

static float scale_of(const struct checkpoint *self, const char *tensor)
{
    size_t length = (size_t)(strrchr(tensor, '.') - tensor);
    for (size_t i = 0; i < self->scales; i++)
        if (strlen(self->scale[i].layer) == length &&
            strncmp(self->scale[i].layer, tensor, length) == 0)
            return ldexpf(1, self->scale[i].exponent);
    return 1;
}

/* path: of a file of scales; "": there is none; NULL: nor are values. */
struct checkpoint *checkpoint_open(const char *path, const char *name,
                                   struct error *error)
{
    struct checkpoint *self = calloc(1, sizeof *self);
    if (!self)
        error_set_kind(error, ERROR_MEMORY, "%s: no memory", name);
    if (self)
        self->zeros = !path;
    if (self && path && *path && !read_scales(self, path, error))
        checkpoint_close(&self);
    return self;
}

void checkpoint_close(struct checkpoint **self)
{
    for (size_t i = 0; *self && i < RING; i++)
        free((*self)->values[i]);
    free(*self);
    *self = NULL;
}

bool checkpoint_has(const struct checkpoint *self, const char *tensor)
{
    (void)self;
    (void)tensor;
    return false;
}

const struct tensor_entry *checkpoint_entry(const struct checkpoint *self,
                                            const char *tensor)
{
    (void)self;
    (void)tensor;
    return NULL;
}

bool checkpoint_all_used(const struct checkpoint *self, struct error *error)
{
    (void)self;
    (void)error;
    return true;
}

bool checkpoint_note(struct checkpoint *self, const struct layer_site *site,
                     struct error *error)
{
    (void)self;
    (void)site;
    (void)error;
    return true;
}

static uint64_t name_hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
    return hash;
}

/* -1 to 1 in steps of 2^-23 */
static float uniform(uint64_t at)
{
    at += 0x9e3779b97f4a7c15;
    at = (at ^ (at >> 30)) * 0xbf58476d1ce4e5b9;
    at = (at ^ (at >> 27)) * 0x94d049bb133111eb;
    at ^= at >> 31;
    return (float)(at >> 40) * 0x1p-23F - 1;
}

bool checkpoint_get(struct checkpoint *self, const char *tensor, const size_t *shape,
                    size_t dims, struct host_tensor *into, struct error *error)
{
    *into = (struct host_tensor){.type = HOST_F32, .dims = dims};
    memcpy(into->shape, shape, dims * sizeof *shape);
    size_t count = host_tensor_count(into), ending = strlen(tensor) - strlen(".weight");
    float **values = &self->values[self->next++ % RING];
    free(*values);
    *values = calloc(count, sizeof **values);
    if (!*values)
        return error_set_kind(error, ERROR_MEMORY, "%s: no memory", tensor);
    into->data = *values;
    if (self->zeros)
        return true;
    float scale = 0.1F, offset = 0;
    if (dims > 1)
        scale = (float)sqrt(3.0 * (double)shape[0] / (double)count);
    else if (strstr(tensor, "norm") && strcmp(tensor + ending, ".weight") == 0)
        offset = 1;
    float own = scale_of(self, tensor);
    uint64_t hash = name_hash(tensor);
    for (size_t i = 0; i < count; i++)
        (*values)[i] = (uniform(hash + i) * scale + offset) * own;
    return true;
}
