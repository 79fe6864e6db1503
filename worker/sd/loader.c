#include "worker/sd/loader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_MOST = 256 };

/* PREFIX.weight or PREFIX.bias. */
static bool get(struct loader *self, const char *prefix, const char *ending,
                const size_t *shape, size_t dims, struct host_tensor *into)
{
    char name[NAME_MOST + 16];
    snprintf(name, sizeof name, "%s.%s", prefix, ending);
    self->failed = self->failed ||
                   !checkpoint_get(self->from, name, shape, dims, into, &self->error);
    return !self->failed;
}

#define PREFIX_FROM(name)                                                              \
    char prefix[NAME_MOST];                                                            \
    va_list arguments;                                                                 \
    va_start(arguments, name);                                                         \
    vsnprintf(prefix, sizeof prefix, name, arguments);                                 \
    va_end(arguments)

void load_linear(struct loader *self, struct linear *into, size_t in, size_t out,
                 enum linear_form form, const char *name, ...)
{
    PREFIX_FROM(name);
    struct host_tensor weight, bias;
    bool biased = form != LINEAR_NO_BIAS;
    if (!get(self, prefix, "weight", (size_t[]){out, in}, 2, &weight))
        return;
    if (biased && !get(self, prefix, "bias", (size_t[]){out}, 1, &bias))
        return;
    self->failed = !linear_load(into, self->gpu, self->dtype, form == LINEAR_GEGLU,
                                &weight, biased ? &bias : NULL, &self->error) ||
                   !checkpoint_note(self->from,
                                    &(struct layer_site){.name = prefix,
                                                         .weight = weight,
                                                         .bias = biased ? bias : weight,
                                                         .biased = biased,
                                                         .geglu = form == LINEAR_GEGLU,
                                                         .packed = &into->packed},
                                    &self->error);
}

static void load_conv_named(struct loader *self, struct conv *into, const size_t *shape,
                            bool biased, char *prefix)
{
    struct host_tensor weight, bias;
    if (!get(self, prefix, "weight", shape, 4, &weight) ||
        (biased && !get(self, prefix, "bias", shape, 1, &bias)))
        return;
    self->failed = !conv_load(into, self->gpu, self->dtype, &weight,
                              biased ? &bias : NULL, &self->error) ||
                   !checkpoint_note(self->from,
                                    &(struct layer_site){.name = prefix,
                                                         .weight = weight,
                                                         .bias = biased ? bias : weight,
                                                         .biased = biased,
                                                         .conv = true,
                                                         .packed = &into->packed},
                                    &self->error);
}

void load_conv(struct loader *self, struct conv *into, size_t in, size_t out,
               size_t size, const char *name, ...)
{
    PREFIX_FROM(name);
    load_conv_named(self, into, (size_t[]){out, in, size, size}, true, prefix);
}

void load_conv_plain(struct loader *self, struct conv *into, size_t in, size_t out,
                     size_t size, const char *name, ...)
{
    PREFIX_FROM(name);
    load_conv_named(self, into, (size_t[]){out, in, size, size}, false, prefix);
}

void load_norm(struct loader *self, struct norm *into, size_t c, float eps,
               const char *name, ...)
{
    PREFIX_FROM(name);
    struct host_tensor gamma, beta;
    if (!get(self, prefix, "weight", (size_t[]){c}, 1, &gamma) ||
        !get(self, prefix, "bias", (size_t[]){c}, 1, &beta))
        return;
    self->failed = !norm_load(into, self->gpu, eps, &gamma, &beta, &self->error);
}

void load_table(struct loader *self, struct tensor *into, size_t rows, size_t c,
                const char *name, ...)
{
    PREFIX_FROM(name);
    struct host_tensor weight;
    if (!get(self, prefix, "weight", (size_t[]){rows, c}, 2, &weight))
        return;
    float *values = load_array(self, rows * c, sizeof *values);
    if (!values)
        return;
    if (!gpu_only_plans(self->gpu))
        host_tensor_floats(&weight, 0, rows * c, values);
    self->failed =
        !tensor_new(into, self->gpu, self->dtype, 1, 1, rows, c, &self->error) ||
        !tensor_upload(into, self->gpu, values, &self->error);
    free(values);
}

void *load_array(struct loader *self, size_t count, size_t size)
{
    void *array = self->failed ? NULL : calloc(count, size);
    if (!array && !self->failed) {
        self->failed = true;
        error_set_kind(&self->error, ERROR_MEMORY, "no memory for %zu entries", count);
    }
    return array;
}
