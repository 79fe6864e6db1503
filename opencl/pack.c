#include "opencl/pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/half.h"

enum { COLUMNS_AT_ONCE = 64 };

double pack_bytes(const struct packed *self)
{
    return (double)self->k * (double)(self->panel * self->panels) *
           (double)dtype_size(self->dtype);
}

size_t pack_panel(const struct gpu *gpu)
{
    if (!gpu_is_cpu_path(gpu))
        return 64;
    return gpu_info(gpu)->native_width >= 16 ? 32 : 16;
}

/* Columns of GEGLU in one group: the first half values, the second their gates. One work-
 * item of a kernel computes a group whole. */
static size_t geglu_group(const struct packed *self, const struct gpu *gpu)
{
    return gpu_is_cpu_path(gpu) && !self->for_clblast ? self->panel : 8;
}

/* The row of W that stands in packed column `column`; `out` or more: none, zeros. `group`:
 * geglu_group(), 0 without GEGLU. */
static size_t source_row(size_t column, size_t group, size_t out)
{
    if (!group)
        return column;
    assert(group > 1);
    size_t within = column % group, half = group / 2;
    size_t value = column / group * half + within % half;
    if (value >= out / 2)
        return out;
    return within < half ? value : out / 2 + value;
}

/* Values as they are to be stored, to packed places `at` on. */
static void store(void *packed, enum dtype dtype, size_t at, const float *values,
                  size_t count)
{
    if (dtype == DTYPE_F16)
        halves_from_floats((uint16_t *)packed + at, values, count);
    else
        memcpy((float *)packed + at, values, count * sizeof *values);
}

/* Values of k that a panel has room for. */
static size_t stored_depth(const struct packed *self)
{
    return self->paired ? (self->k + PACK_DEPTH - 1) / PACK_DEPTH * PACK_DEPTH
                        : self->k;
}

/* `width` columns of a panel, from place `at` on: each one's row of W is read once, what is
 * written lies together. Rows are held so far apart that they do not fall on each other in a
 * cache. */
static void pack_columns(const struct packed *self, const struct host_tensor *weight,
                         const float *rows, size_t width, size_t pitch, void *packed,
                         size_t at)
{
    size_t in = weight->shape[1], taps = self->k / in, group = self->paired ? 2 : 1;
    float line[2 * COLUMNS_AT_ONCE] = {0};
    for (size_t k = 0; k < stored_depth(self); k++) {
        const float *from = rows + k % in * taps + k / in;
        for (size_t column = 0; column < width; column++)
            line[column * group + k % group] = k < self->k ? from[column * pitch] : 0;
        if (k % group == group - 1) {
            store(packed, self->dtype, at, line, width * group);
            at += self->panel * group;
        }
    }
}

static bool pack_matrix(struct packed *self, struct gpu *gpu, bool geglu,
                        const struct host_tensor *weight, struct error *error)
{
    size_t panel = self->panel, out = weight->shape[0];
    size_t group = geglu ? geglu_group(self, gpu) : 0, pitch = self->k + 16;
    size_t values = stored_depth(self) * panel, width;
    size_t bytes = self->panels * values * dtype_size(self->dtype);
    float *rows = malloc(COLUMNS_AT_ONCE * pitch * sizeof *rows);
    void *packed = NULL;
    bool ok = false;
    if (!rows) {
        error_set_kind(error, ERROR_MEMORY, "no memory for rows of weights");
        goto out;
    }
    self->weights = gpu_allocate(gpu, bytes, error);
    if (self->weights && gpu_only_plans(gpu)) {
        ok = true;
        goto out;
    }
    if (!self->weights || !(packed = gpu_map(gpu, self->weights, bytes, error)))
        goto out;
    for (size_t i = 0; i < self->panels; i++)
        for (size_t first = 0; first < panel; first += width) {
            width = panel - first < COLUMNS_AT_ONCE ? panel - first : COLUMNS_AT_ONCE;
            for (size_t column = 0; column < width; column++) {
                size_t source = source_row(i * panel + first + column, group, out);
                float *row = rows + column * pitch;
                if (source < out)
                    host_tensor_floats(weight, source * self->k, self->k, row);
                else
                    memset(row, 0, self->k * sizeof *row);
            }
            pack_columns(self, weight, rows, width, pitch, packed,
                         i * values + first * (self->paired ? 2 : 1));
        }
    ok = gpu_unmap(gpu, self->weights, packed, error);
out:
    free(rows);
    return ok;
}

static bool pack_bias(struct packed *self, struct gpu *gpu, bool geglu, size_t out,
                      const struct host_tensor *bias, struct error *error)
{
    assert(host_tensor_count(bias) == out);
    size_t panel = self->panel, count = self->panels * panel;
    size_t group = geglu ? geglu_group(self, gpu) : 0;
    float *values = calloc(count, sizeof *values);
    if (!values)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a bias");
    for (size_t column = 0; column < count && !gpu_only_plans(gpu); column++) {
        size_t source = source_row(column, group, out);
        if (source < out)
            host_tensor_floats(bias, source, 1, &values[column]);
    }
    self->bias = gpu_allocate(gpu, count * sizeof *values, error);
    bool ok =
        self->bias && gpu_write(gpu, self->bias, values, count * sizeof *values, error);
    free(values);
    return ok;
}

bool pack_weights(struct packed *self, struct gpu *gpu, enum dtype dtype, bool geglu,
                  bool for_clblast, const struct host_tensor *weight,
                  const struct host_tensor *bias, struct error *error)
{
    size_t out = weight->shape[0];
    assert(weight->dims == 2 || weight->dims == 4);
    assert(!geglu || out % 2 == 0);
    *self = (struct packed){.dtype = dtype,
                            .k = host_tensor_count(weight) / out,
                            .panel = for_clblast ? (out + 7) / 8 * 8 : pack_panel(gpu),
                            .for_clblast = for_clblast,
                            .paired = dtype == DTYPE_F16 && gpu_matrix(gpu)};
    /* With GEGLU each half is padded on its own. */
    size_t columns = geglu ? out / 2 : out,
           width = geglu ? self->panel / 2 : self->panel;
    self->panels = (columns + width - 1) / width;
    if (weight->dims == 4 && weight->shape[2] == 3 &&
        !(self->u = calloc(1, sizeof *self->u)))
        return error_set_kind(error, ERROR_MEMORY, "no memory for a convolution");
    if (pack_matrix(self, gpu, geglu, weight, error) &&
        (!bias || pack_bias(self, gpu, geglu, out, bias, error)))
        return true;
    pack_clear(self, gpu);
    return false;
}

void pack_clear(struct packed *self, struct gpu *gpu)
{
    gpu_release(gpu, &self->weights);
    gpu_release(gpu, &self->bias);
    if (self->u)
        gpu_release(gpu, self->u);
    free(self->u);
    self->u = NULL;
}
