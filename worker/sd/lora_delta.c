/* A layer's difference, from whichever factors the file has of it:
 *
 *     LoRA, LoCon   up down, or with a core up mid down
 *     LoHa          (w1_a w1_b) * (w2_a w2_b), element by element
 *     LoKr          the Kronecker product of w1 and w2, each whole or of two factors
 *
 * For convolutions columns are (in, y, x); a core of LoHa or LoKr stands between its factors
 * as LoCon's does, but those are transposed. Formulas: LyCORIS, Yeh et al. 2023.
 *
 * With a magnitude m (DoRA, Liu et al. 2024) the layer becomes m (W + D) / |W + D|, norms
 * being those of the outputs' rows, or of the inputs' columns where m lies so; as in PEFT
 * the weight of its use is in D, and several files add up over the same W.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/lora_file.h"

/* A tensor's floats, short shapes filled up with ones. */
struct factor {
    size_t shape[4], count;
    float *values; /* heap */
};

/* The layer a difference is for. */
struct place {
    const struct lora *lora;
    size_t i, out, in, places; /* size * size of a convolution, else 1 */
};

static bool has(const struct place *self, enum lora_role role)
{
    return role < LORA_ROLES && self->lora->layer[self->i].tensor[role];
}

/* Returns false, whatever is behind it. */
static bool refuse(const struct place *self, const char *what, struct error *error)
{
    lora_refuse(self->lora, self->i, what, error);
    return false;
}

static bool read(const struct place *self, enum lora_role role, struct factor *into,
                 struct error *error)
{
    struct host_tensor tensor;
    const char *name = self->lora->layer[self->i].tensor[role];
    if (!name)
        return refuse(self, "a factor of its product is missing", error);
    if (!safetensors_get(self->lora->file, name, &tensor, error)) {
        error_prefix(error, "%s", self->lora->name);
        return false;
    }
    for (size_t d = 0; d < 4; d++)
        into->shape[d] = d < tensor.dims ? tensor.shape[d] : 1;
    into->count = host_tensor_count(&tensor);
    into->values = calloc(into->count + 1, sizeof *into->values);
    if (!into->values) {
        error_set_kind(error, ERROR_MEMORY, "%s: no memory for %s", self->lora->name,
                       name);
        return false;
    }
    host_tensor_floats(&tensor, 0, into->count, into->values);
    return true;
}

static float *allocate(const struct place *self, size_t count, struct error *error)
{
    float *values = calloc(count + 1, sizeof *values);
    if (!values)
        error_set_kind(error, ERROR_MEMORY, "%s: no memory for a layer",
                       self->lora->name);
    return values;
}

/* alpha / rank, or as the file's settings say. */
static bool read_scale(const struct place *self, size_t rank, double *scale,
                       struct error *error)
{
    const struct lora_layer *layer = &self->lora->layer[self->i];
    const struct lora_settings *settings = &self->lora->settings[layer->key.part];
    const char *named = layer->tensor[LORA_DOWN];
    double said = 0;
    if (named && !lora_settings_alpha(settings, named, &said, error)) {
        error_prefix(error, "%s", self->lora->name);
        return false;
    }
    double divisor = settings->stabilised ? sqrt((double)rank) : (double)rank;
    *scale = said > 0 ? said / divisor : 1;
    if (!has(self, LORA_ALPHA))
        return true;
    struct factor alpha = {0};
    bool ok = read(self, LORA_ALPHA, &alpha, error) &&
              ((alpha.count == 1 && isfinite(alpha.values[0])) ||
               refuse(self, "its alpha is not one number", error));
    if (ok)
        *scale = (double)alpha.values[0] / (double)rank;
    free(alpha.values);
    return ok;
}

/* into [rows, columns] += factor a [rows, rank] b [rank, columns] */
static void add_product(float *into, const float *a, const float *b, size_t rows,
                        size_t rank, size_t columns, double factor)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t r = 0; r < rank; r++) {
            float part = (float)(factor * (double)a[row * rank + r]);
            for (size_t c = 0; c < columns; c++)
                into[row * columns + c] += part * b[r * columns + c];
        }
}

/* into [first, columns, places] from core [first, second, places] and b [second, columns] */
static void widen(float *into, const float *core, const float *b, size_t first,
                  size_t second, size_t columns, size_t places)
{
    for (size_t i = 0; i < first; i++)
        for (size_t j = 0; j < second; j++)
            for (size_t c = 0; c < columns; c++)
                for (size_t p = 0; p < places; p++)
                    into[(i * columns + c) * places + p] +=
                        core[(i * second + j) * places + p] * b[j * columns + c];
}

/* ---- LoRA and LoCon */

static bool check_lora(const struct place *self, const struct factor *down,
                       const struct factor *up, bool has_mid, struct error *error)
{
    const size_t *d = down->shape, *u = up->shape;
    size_t places = has_mid ? 1 : self->places;
    char what[200];
    if (d[0] && d[1] == self->in && d[2] * d[3] == places && d[2] == d[3] &&
        u[0] == self->out && u[1] == d[0] && u[2] == 1 && u[3] == 1)
        return true;
    size_t size = (size_t)lround(sqrt((double)self->places));
    snprintf(what, sizeof what,
             "lora_down %zux%zux%zux%zu and lora_up %zux%zux%zux%zu do not fit a layer "
             "of %zux%zux%zux%zu",
             d[0], d[1], d[2], d[3], u[0], u[1], u[2], u[3], self->out, self->in, size,
             size);
    return refuse(self, what, error);
}

/* down [rank, in] through mid [rank, rank, size, size] becomes [rank, in, size, size]. */
static bool take_mid(const struct place *self, struct factor *down, struct error *error)
{
    struct factor mid = {0};
    size_t rank = down->shape[0];
    float *wide = allocate(self, rank * self->in * self->places, error);
    bool ok =
        wide && read(self, LORA_MID, &mid, error) &&
        ((mid.shape[0] == rank && mid.shape[1] == rank &&
          mid.shape[2] * mid.shape[3] == self->places) ||
         refuse(self, "its lora_mid does not fit lora_down and the layer", error));
    if (ok) {
        widen(wide, mid.values, down->values, rank, rank, self->in, self->places);
        free(down->values);
        down->values = wide;
        wide = NULL;
    }
    free(wide);
    free(mid.values);
    return ok;
}

static bool add_lora(const struct place *self, double weight, float *into,
                     struct error *error)
{
    struct factor down = {0}, up = {0};
    double scale;
    bool has_mid = has(self, LORA_MID);
    bool ok = read(self, LORA_DOWN, &down, error) && read(self, LORA_UP, &up, error) &&
              check_lora(self, &down, &up, has_mid, error) &&
              read_scale(self, down.shape[0], &scale, error) &&
              (!has_mid || take_mid(self, &down, error));
    if (ok)
        add_product(into, up.values, down.values, self->out, down.shape[0],
                    self->in * self->places, weight * scale);
    free(up.values);
    free(down.values);
    return ok;
}

/* ---- LoHa and LoKr */

/* A matrix of two factors, a [rows, rank] and b [rank, columns * places], or with a core
 * [rank, rank, y, x] a [rank, rows] and b [rank, columns]. */
struct product {
    enum lora_role a, b, core;
};

/* Fills `into`, heap in into->values, as [rows, columns, places]; *rank follows from b. */
static bool multiply(const struct place *self, const struct product *roles,
                     struct factor *into, size_t *rank, struct error *error)
{
    struct factor a = {0}, b = {0}, core = {0};
    float *wide = NULL;
    bool cored = has(self, roles->core);
    bool ok = read(self, roles->a, &a, error) && read(self, roles->b, &b, error) &&
              (!cored || read(self, roles->core, &core, error));
    size_t r = *rank = ok ? b.shape[0] : 0, places = cored ? self->places : 1;
    ok = ok && ((r && a.count == a.shape[0] * a.shape[1] &&
                 (cored ? a.shape[0] == r && b.count == r * b.shape[1] &&
                              core.count == r * r * places && core.shape[0] == r &&
                              core.shape[1] == r
                        : a.shape[1] == r)) ||
                refuse(self, "its factors do not fit each other", error));
    size_t rows = ok ? a.shape[cored] : 0, columns = ok ? b.count / r : 0;
    into->values = ok ? allocate(self, rows * columns * places, error) : NULL;
    ok = ok && into->values;
    if (ok && cored) {
        wide = allocate(self, r * columns * places, error);
        ok = wide;
    }
    if (ok && cored) {
        widen(wide, core.values, b.values, r, r, columns, places);
        for (size_t i = 0; i < r; i++)
            for (size_t row = 0; row < rows; row++)
                for (size_t c = 0; c < columns * places; c++)
                    into->values[row * columns * places + c] +=
                        a.values[i * rows + row] * wide[i * columns * places + c];
    } else if (ok) {
        add_product(into->values, a.values, b.values, rows, r, columns, 1);
    }
    into->count = rows * columns * places;
    into->shape[0] = rows;
    free(wide);
    free(a.values);
    free(b.values);
    free(core.values);
    return ok;
}

static bool add_hadamard(const struct place *self, double weight, float *into,
                         struct error *error)
{
    static const struct product halves[] = {{HADA_W1_A, HADA_W1_B, HADA_T1},
                                            {HADA_W2_A, HADA_W2_B, HADA_T2}};
    struct factor one = {0}, two = {0};
    size_t rank, count = self->out * self->in * self->places;
    double scale;
    bool ok = multiply(self, &halves[0], &one, &rank, error) &&
              multiply(self, &halves[1], &two, &rank, error) &&
              ((one.shape[0] == self->out && one.count == count &&
                two.shape[0] == self->out && two.count == count) ||
               refuse(self, "its factors do not fit the layer", error)) &&
              read_scale(self, rank, &scale, error);
    for (size_t k = 0; ok && k < count; k++)
        into[k] += (float)(weight * scale) * one.values[k] * two.values[k];
    free(one.values);
    free(two.values);
    return ok;
}

/* One side of a Kronecker product: whole, or of factors; *rank stays where it is whole. */
static bool read_side(const struct place *self, enum lora_role whole,
                      const struct product *roles, struct factor *into, size_t *rank,
                      struct error *error)
{
    return has(self, whole) ? read(self, whole, into, error)
                            : multiply(self, roles, into, rank, error);
}

static bool add_kronecker(const struct place *self, double weight, float *into,
                          struct error *error)
{
    static const struct product w1 = {LOKR_W1_A, LOKR_W1_B, LORA_ROLES};
    static const struct product w2 = {LOKR_W2_A, LOKR_W2_B, LOKR_T2};
    struct factor one = {0}, two = {0};
    size_t rank = 0, places = self->places;
    double scale = 1;
    bool ok = read_side(self, LOKR_W1, &w1, &one, &rank, error) &&
              read_side(self, LOKR_W2, &w2, &two, &rank, error) &&
              (!rank || read_scale(self, rank, &scale, error));
    size_t rows = ok ? one.shape[0] : 0, inner = ok ? two.shape[0] : 0;
    size_t columns = rows ? one.count / rows : 0;
    size_t wide = inner ? two.count / inner / places : 0;
    ok = ok && ((rows && inner && rows * columns == one.count &&
                 inner * wide * places == two.count && rows * inner == self->out &&
                 columns * wide == self->in) ||
                refuse(self, "its factors do not fit the layer", error));
    for (size_t i = 0; ok && i < rows * inner; i++)
        for (size_t j = 0; j < columns * wide; j++)
            for (size_t p = 0; p < places; p++)
                into[(i * self->in + j) * places + p] +=
                    (float)(weight * scale) *
                    one.values[i / inner * columns + j / wide] *
                    two.values[(i % inner * wide + j % wide) * places + p];
    free(one.values);
    free(two.values);
    return ok;
}

/* ---- DoRA */

/* values += (m / |W + D| - 1) W + m / |W + D| D, for every row or column. */
static bool decompose(const struct place *self, const float *base, const float *delta,
                      float *values, struct error *error)
{
    struct factor m = {0};
    size_t columns = self->in * self->places;
    bool ok = read(self, LORA_MAGNITUDE, &m, error);
    /* PEFT's is of outputs, however it lies */
    const char *name = self->lora->layer[self->i].tensor[LORA_MAGNITUDE];
    bool by_row = ok && m.count == self->out &&
                  (m.shape[0] == self->out || strstr(name, ".lora_magnitude_vector"));
    bool by_column = ok && !by_row && m.count == self->in && m.shape[1] == self->in;
    double *norm = calloc(m.count + 1, sizeof *norm);
    if (!norm) {
        error_set_kind(error, ERROR_MEMORY, "%s: no memory", self->lora->name);
        ok = false;
    }
    if (ok && !by_row && !by_column)
        ok = refuse(self, "its magnitude does not fit the layer", error);
    for (size_t k = 0; ok && k < self->out * columns; k++) {
        double sum = (double)base[k] + (double)delta[k];
        norm[by_row ? k / columns : k % columns / self->places] += sum * sum;
    }
    for (size_t k = 0; ok && k < self->out * columns; k++) {
        size_t at = by_row ? k / columns : k % columns / self->places;
        double factor = (double)m.values[at] / sqrt(norm[at]);
        values[k] +=
            (float)((factor - 1) * (double)base[k] + factor * (double)delta[k]);
    }
    free(norm);
    free(m.values);
    return ok;
}

static bool add_difference(const struct place *self, double weight, float *into,
                           struct error *error)
{
    if (has(self, LORA_DOWN))
        return add_lora(self, weight, into, error);
    return has(self, HADA_W1_A) ? add_hadamard(self, weight, into, error)
                                : add_kronecker(self, weight, into, error);
}

bool lora_add(const struct lora *self, size_t i, double weight, const float *base,
              float *values, size_t out, size_t in, size_t size, struct error *error)
{
    struct place place = {self, i, out, in, size * size};
    if (!has(&place, LORA_MAGNITUDE))
        return add_difference(&place, weight, values, error);
    float *delta = allocate(&place, out * in * place.places, error);
    bool ok = delta && add_difference(&place, weight, delta, error) &&
              decompose(&place, base, delta, values, error);
    free(delta);
    return ok;
}

bool lora_has_bias(const struct lora *self, size_t i)
{
    return self->layer[i].tensor[LORA_BIAS];
}

bool lora_add_bias(const struct lora *self, size_t i, double weight, float *values,
                   size_t out, struct error *error)
{
    struct place place = {.lora = self, .i = i, .out = out};
    struct factor down = {0}, bias = {0};
    double scale;
    bool ok = (!has(&place, LORA_MAGNITUDE) ||
               refuse(&place, "a bias beside a magnitude", error)) &&
              read(&place, LORA_DOWN, &down, error) &&
              read(&place, LORA_BIAS, &bias, error) &&
              (bias.count == out ||
               refuse(&place, "its bias does not fit the layer", error)) &&
              read_scale(&place, down.shape[0], &scale, error);
    for (size_t k = 0; ok && k < out; k++)
        values[k] += (float)(weight * scale * (double)bias.values[k]);
    free(down.values);
    free(bias.values);
    return ok;
}
