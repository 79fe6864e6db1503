#include "opencl/prove.h"

#include <math.h>
#include <stdlib.h>

#include "base/log.h"
#include "opencl/half.h"
#include "opencl/program.h"
#include "opencl/reference.h"

/* One proof: an operation with its operands on the device and what should come out. Values
 * are drawn from one generator, so that every device sees the same. */
struct proof {
    struct gpu *gpu;
    enum dtype dtype;
    uint64_t random;
    struct tensor y, operand[4];
    float *values[4]; /* of the operands */
    float *weight, *bias;
    double *want;
    struct linear linear;
    struct conv conv;
    struct norm norm;
    cl_mem step;
};

struct operation {
    const char *name;
    bool (*prepare)(struct proof *, struct error *);
    void (*enqueue)(struct stream *, struct proof *);
};

static float next_value(struct proof *p)
{
    p->random = p->random * 6364136223846793005u + 1442695040888963407u;
    float value = (float)(int32_t)(p->random >> 32) * 0x1p-31f;
    return half_to_float(half_from_float(value));
}

static float *draw(struct proof *p, size_t count)
{
    float *values = malloc(count * sizeof *values);
    if (!values)
        abort();
    for (size_t i = 0; i < count; i++)
        values[i] = next_value(p);
    return values;
}

static bool operand(struct proof *p, int i, size_t n, size_t h, size_t w, size_t c,
                    struct error *error)
{
    p->values[i] = draw(p, n * h * w * c);
    return tensor_new(&p->operand[i], p->gpu, p->dtype, n, h, w, c, error) &&
           tensor_upload(&p->operand[i], p->gpu, p->values[i], error);
}

static bool result(struct proof *p, size_t n, size_t h, size_t w, size_t c,
                   struct error *error)
{
    p->want = calloc(n * h * w * c, sizeof *p->want);
    if (!p->want)
        abort();
    return tensor_new(&p->y, p->gpu, p->dtype, n, h, w, c, error);
}

/* ---- The operations */

enum { ROWS = 29, IN = 83, OUT = 42 };

static bool prepare_linear(struct proof *p, struct error *error)
{
    p->weight = draw(p, OUT * IN);
    p->bias = draw(p, OUT);
    struct host_tensor weight = {HOST_F32, 2, {OUT, IN}, p->weight};
    struct host_tensor bias = {HOST_F32, 1, {OUT}, p->bias};
    if (!linear_load(&p->linear, p->gpu, p->dtype, true, &weight, &bias, error) ||
        !operand(p, 0, 1, 1, ROWS, IN, error) ||
        !operand(p, 1, 1, 1, ROWS, OUT / 2, error) ||
        !result(p, 1, 1, ROWS, OUT / 2, error))
        return false;
    reference_linear(p->want, p->values[0], p->weight, p->bias, p->values[1], ROWS, IN,
                     OUT, ACTIVATION_GEGLU);
    return true;
}

static void enqueue_linear(struct stream *s, struct proof *p)
{
    linear(s, p->y, p->operand[0], &p->linear, ACTIVATION_GEGLU, &p->operand[1]);
}

static bool prepare_conv(struct proof *p, struct error *error)
{
    struct reference_conv conv = {.n = 2,
                                  .h = 5,
                                  .w = 7,
                                  .in = 37,
                                  .out = 21,
                                  .size = 3,
                                  .stride = 2,
                                  .up_h = 9,
                                  .up_w = 14,
                                  .activation = ACTIVATION_SILU};
    size_t h = reference_conv_height(&conv), w = reference_conv_width(&conv);
    p->weight = draw(p, conv.out * conv.in * 9);
    p->bias = draw(p, conv.out);
    struct host_tensor weight = {HOST_F32, 4, {conv.out, conv.in, 3, 3}, p->weight};
    struct host_tensor bias = {HOST_F32, 1, {conv.out}, p->bias};
    if (!conv_load(&p->conv, p->gpu, p->dtype, &weight, &bias, error) ||
        !operand(p, 0, conv.n, conv.h, conv.w, conv.in, error) ||
        !operand(p, 1, conv.n, 1, 1, conv.out, error) ||
        !result(p, conv.n, h, w, conv.out, error))
        return false;
    conv.weight = p->weight;
    conv.bias = p->bias;
    conv.row_bias = p->values[1];
    reference_conv(p->want, p->values[0], &conv);
    return true;
}

static void enqueue_conv(struct stream *s, struct proof *p)
{
    conv2d(s, p->y, p->operand[0], &p->conv,
           &(struct conv_options){.stride = 2,
                                  .up_h = 9,
                                  .up_w = 14,
                                  .activation = ACTIVATION_SILU,
                                  .row_bias = &p->operand[1]});
}

/* ---- Those of a matrix unit: every tile, ragged at each edge, rows loaded in whole vectors;
 * the others load single values */

static bool prepare_tile(struct proof *p, int which, struct error *error)
{
    enum { DEPTH = 72, ACROSS = 3 };
    const struct matrix_tile *tile = &gpu_matrix(p->gpu)->tiles[which];
    bool last = which == MATRIX_TILES - 1; /* what is too small for the others */
    size_t high = last ? 1 : gpu_info(p->gpu)->units / ACROSS + 1;
    size_t rows = high * tile->rows - 3, out = (last ? 1 : ACROSS) * tile->columns - 5;
    p->weight = draw(p, out * DEPTH);
    p->bias = draw(p, out);
    struct host_tensor weight = {HOST_F32, 2, {out, DEPTH}, p->weight};
    struct host_tensor bias = {HOST_F32, 1, {out}, p->bias};
    if (!linear_load(&p->linear, p->gpu, p->dtype, false, &weight, &bias, error) ||
        !operand(p, 0, 1, 1, rows, DEPTH, error) || !result(p, 1, 1, rows, out, error))
        return false;
    reference_linear(p->want, p->values[0], p->weight, p->bias, NULL, rows, DEPTH, out,
                     ACTIVATION_NONE);
    return true;
}

static bool prepare_large(struct proof *p, struct error *error)
{
    return prepare_tile(p, 0, error);
}

static bool prepare_middle(struct proof *p, struct error *error)
{
    return prepare_tile(p, 1, error);
}

static bool prepare_small(struct proof *p, struct error *error)
{
    return prepare_tile(p, MATRIX_TILES - 1, error);
}

static void enqueue_tile(struct stream *s, struct proof *p)
{
    linear(s, p->y, p->operand[0], &p->linear, ACTIVATION_NONE, NULL);
}

static bool prepare_wide_conv(struct proof *p, struct error *error)
{
    struct reference_conv conv = {
        .n = 2, .h = 6, .w = 5, .in = 40, .out = 70, .size = 3};
    conv.stride = 1;
    p->weight = draw(p, conv.out * conv.in * 9);
    struct host_tensor weight = {HOST_F32, 4, {conv.out, conv.in, 3, 3}, p->weight};
    if (!conv_load(&p->conv, p->gpu, p->dtype, &weight, NULL, error) ||
        !operand(p, 0, conv.n, conv.h, conv.w, conv.in, error) ||
        !operand(p, 1, conv.n, conv.h, conv.w, conv.out, error) ||
        !result(p, conv.n, conv.h, conv.w, conv.out, error))
        return false;
    conv.weight = p->weight;
    conv.residual = p->values[1];
    reference_conv(p->want, p->values[0], &conv);
    return true;
}

static void enqueue_wide_conv(struct stream *s, struct proof *p)
{
    conv2d(s, p->y, p->operand[0], &p->conv,
           &(struct conv_options){.residual = &p->operand[1]});
}

/* The widest heads, causal; narrow ones are proved with the other operations. */
static bool prepare_wide_attention(struct proof *p, struct error *error)
{
    enum { QUERIES = 70, KEYS = 77, HEAD = 160 };
    if (!operand(p, 0, 1, 1, QUERIES, HEAD, error) ||
        !operand(p, 1, 1, 1, KEYS, HEAD, error) ||
        !operand(p, 2, 1, 1, KEYS, HEAD, error) ||
        !result(p, 1, 1, QUERIES, HEAD, error))
        return false;
    reference_attention(p->want, p->values[0], p->values[1], p->values[2], 1, QUERIES,
                        KEYS, HEAD, 1, true, NULL);
    return true;
}

static void enqueue_wide_attention(struct stream *s, struct proof *p)
{
    attention(s, p->y, p->operand[0], p->operand[1], p->operand[2],
              &(struct attention_options){.heads = 1, .causal = true});
}

static const struct operation matrix_operations[] = {
    {"linear on a matrix unit's large tiles", prepare_large, enqueue_tile},
    {"linear on a matrix unit's middle tiles", prepare_middle, enqueue_tile},
    {"linear on a matrix unit's small tiles", prepare_small, enqueue_tile},
    {"conv2d on a matrix unit", prepare_wide_conv, enqueue_wide_conv},
    {"attention on a matrix unit", prepare_wide_attention, enqueue_wide_attention},
};

/* ---- The others */

static bool prepare_norm(struct proof *p, size_t c, struct error *error)
{
    p->weight = draw(p, c);
    p->bias = draw(p, c);
    struct host_tensor gamma = {HOST_F32, 1, {c}, p->weight};
    struct host_tensor beta = {HOST_F32, 1, {c}, p->bias};
    return norm_load(&p->norm, p->gpu, 1e-5F, &gamma, &beta, error) &&
           operand(p, 0, 2, 9, 11, c, error) && result(p, 2, 9, 11, c, error);
}

static bool prepare_group_norm(struct proof *p, struct error *error)
{
    if (!prepare_norm(p, 44, error))
        return false;
    reference_group_norm(p->want, p->values[0], p->weight, p->bias, 2, 99, 44, 4, 1e-5F,
                         ACTIVATION_SILU);
    return true;
}

static void enqueue_group_norm(struct stream *s, struct proof *p)
{
    group_norm(s, p->y, p->operand[0], &p->norm, 4, ACTIVATION_SILU);
}

static bool prepare_layer_norm(struct proof *p, struct error *error)
{
    if (!prepare_norm(p, 77, error))
        return false;
    reference_layer_norm(p->want, p->values[0], p->weight, p->bias, 198, 77, 1e-5F);
    return true;
}

static void enqueue_layer_norm(struct stream *s, struct proof *p)
{
    layer_norm(s, p->y, p->operand[0], &p->norm);
}

static bool prepare_attention(struct proof *p, struct error *error)
{
    if (!operand(p, 0, 2, 1, 50, 80, error) || !operand(p, 1, 2, 1, 350, 80, error) ||
        !operand(p, 2, 2, 1, 350, 80, error) || !result(p, 2, 1, 50, 80, error))
        return false;
    reference_attention(p->want, p->values[0], p->values[1], p->values[2], 2, 50, 350,
                        80, 2, false, NULL);
    return true;
}

static void enqueue_attention(struct stream *s, struct proof *p)
{
    attention(s, p->y, p->operand[0], p->operand[1], p->operand[2],
              &(struct attention_options){.heads = 2});
}

static bool prepare_concat(struct proof *p, struct error *error)
{
    enum { A = 13, B = 20 };
    if (!operand(p, 0, 1, 3, 5, A, error) || !operand(p, 1, 1, 3, 5, B, error) ||
        !result(p, 1, 3, 5, A + B, error))
        return false;
    for (size_t i = 0; i < (size_t)15 * (A + B); i++) {
        size_t row = i / (A + B), c = i % (A + B);
        float value = c < A ? p->values[0][row * A + c] : p->values[1][row * B + c - A];
        p->want[i] = reference_activate(value, ACTIVATION_SILU);
    }
    return true;
}

static void enqueue_concat(struct stream *s, struct proof *p)
{
    concat(s, p->y, p->operand[0], p->operand[1]);
    activate(s, p->y, p->y, ACTIVATION_SILU);
}

static bool prepare_step(struct proof *p, struct error *error)
{
    struct step step = {.timestep = 333, .input_scale = 0.25F};
    if (!(p->step = gpu_allocate(p->gpu, sizeof step, error)) ||
        !gpu_write(p->gpu, p->step, &step, sizeof step, error) ||
        !result(p, 2, 1, 1, 64, error))
        return false;
    for (size_t i = 0; i < 128; i++) {
        size_t c = i % 64;
        double angle = step.timestep * exp(-log(10000) * (double)(c % 32) / 32);
        p->want[i] = c < 32 ? cos(angle) : sin(angle);
    }
    return true;
}

static void enqueue_step(struct stream *s, struct proof *p)
{
    time_embedding(s, p->y, p->step, true, 0);
}

static const struct operation operations[] = {
    {"linear with GEGLU", prepare_linear, enqueue_linear},
    {"conv2d", prepare_conv, enqueue_conv},
    {"group_norm", prepare_group_norm, enqueue_group_norm},
    {"layer_norm", prepare_layer_norm, enqueue_layer_norm},
    {"attention", prepare_attention, enqueue_attention},
    {"concat and silu", prepare_concat, enqueue_concat},
    {"time_embedding", prepare_step, enqueue_step},
};

/* ---- Running them */

static bool run(struct proof *p, const struct operation *operation, struct error *error)
{
    struct stream *stream = stream_new(p->gpu, p->dtype, error);
    if (!stream)
        return false;
    stream_plan(stream);
    operation->enqueue(stream, p);
    bool ok = stream_ready(stream, error);
    if (ok) {
        stream_run(stream);
        operation->enqueue(stream, p);
        ok = stream_end(stream, error) && gpu_finish(p->gpu, error);
    }
    stream_destroy(&stream);
    return ok;
}

static bool compare(struct proof *p, const struct operation *operation,
                    struct error *error)
{
    size_t count = tensor_count(&p->y);
    float *got = malloc(count * sizeof *got);
    if (!got)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu values", count);
    bool ok = tensor_download(&p->y, p->gpu, got, error);
    double off = ok ? relative_error(got, p->want, count) : 0;
    double most = p->dtype == DTYPE_F16 ? 2e-3 : 5e-5;
    free(got);
    if (ok && !(off < most))
        return error_set_kind(
            error, ERROR_DEVICE,
            "%s computes wrongly: %s in %s is off by %.2g, at most %.0e "
            "is right; another driver version or an empty kernel cache "
            "may help",
            gpu_info(p->gpu)->name, operation->name,
            p->dtype == DTYPE_F16 ? "f16" : "f32", off, most);
    return ok;
}

static void clear(struct proof *p)
{
    tensor_destroy(&p->y, p->gpu);
    for (int i = 0; i < 4; i++) {
        tensor_destroy(&p->operand[i], p->gpu);
        free(p->values[i]);
    }
    free(p->weight);
    free(p->bias);
    free(p->want);
    linear_clear(&p->linear, p->gpu);
    conv_clear(&p->conv, p->gpu);
    norm_clear(&p->norm, p->gpu);
    gpu_release(p->gpu, &p->step);
}

static bool prove(struct gpu *gpu, enum dtype dtype, const struct operation *some,
                  size_t count, struct error *error)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        struct proof proof = {.gpu = gpu, .random = 1, .dtype = dtype};
        ok = some[i].prepare(&proof, error) && run(&proof, &some[i], error) &&
             compare(&proof, &some[i], error);
        clear(&proof);
    }
    return ok;
}

static bool prove_all(struct gpu *gpu, enum dtype dtype, struct error *error)
{
    return prove(gpu, dtype, operations, sizeof operations / sizeof *operations, error);
}

static bool prove_matrix(struct gpu *gpu, struct error *error)
{
    return prove_all(gpu, DTYPE_F16, error) &&
           prove(gpu, DTYPE_F16, matrix_operations,
                 sizeof matrix_operations / sizeof *matrix_operations, error);
}

bool gpu_prove(struct gpu *gpu, struct error *error)
{
    if (!prove_all(gpu, DTYPE_F32, error))
        return false;
    if (gpu_matrix(gpu)) /* forced */
        return prove_matrix(gpu, error);
    const struct matrix_unit *unit = gpu_matrix_candidate(gpu);
    if (unit) {
        struct error why = {0};
        programs_tell(gpu_programs(gpu), false);
        gpu_use_matrix(gpu, unit);
        bool ok = prove_matrix(gpu, &why);
        programs_tell(gpu_programs(gpu), true);
        if (ok)
            return true;
        gpu_use_matrix(gpu, NULL);
        log_warn("%s: its matrix unit (%s) is not used: %s", gpu_info(gpu)->name,
                 unit->name, why.text);
    }
    return prove_all(gpu, DTYPE_F16, error);
}
