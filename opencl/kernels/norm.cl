/* Group and layer normalisation, statistics in float
 *
 *   x, y   [rows][channels]; a picture has h w rows a batch row; y may be x
 *
 * group_norm, three kernels:
 *   group_stats   the picture's rows in chunks of CHUNK: mean and sum of squared deviations of
 *                 each channel over a chunk, in two passes (the second hits the cache)
 *                     stats[n][chunk][mean, squares][channels]
 *                 On CPUs (LANES is 1) a work-item takes a chunk, elsewhere 8 of its channels.
 *   group_fold    work-group (group, n): joins chunks and channels, its items taking every
 *                 LANES-th chunk, into factors[n][pivot, scale, shift][channels]
 *   group_apply   work-group (ROWS rows, n): y = act((x - pivot) scale + shift)
 * Sums are taken of differences to a pivot, a value near the mean: a mean of a hundred
 * deviations costs no digits.
 * Chunks depend on the picture's size alone, so a result does not depend on the batch.
 * Cost: x is read twice from memory, y written once.
 *
 * layer_norm: LANES work-items a row, a work-group takes ROWS of them in turn; mean, squared
 * deviations, output: three passes over a row that stays in the cache. Items' sums are added
 * in pairs, always the same.
 *
 * With -DWHOLE=1, 8 divides the channels. WIDE channels are summed at once: 8, or 16, which
 * then divides the channels.
 */
#include "common.cl"

#if WHOLE
#define TAIL(c, channels) 8
#else
#define TAIL(c, channels) min(8, (channels) - (c))
#endif

INLINE float8 load_some_f32(__global const float *x, int count)
{
    if (count == 8)
        return LOAD8_0(x, 0);
    float values[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < count; i++)
        values[i] = x[i];
    return vload8(0, values);
}

INLINE void store_some_f32(float8 value, __global float *y, int count)
{
    if (count == 8) {
        vstore8(value, 0, y);
        return;
    }
    float values[8];
    vstore8(value, 0, values);
    for (int i = 0; i < count; i++)
        y[i] = values[i];
}

/* The first `count` of eight, zeros for the others. */
INLINE float8 within(float8 value, int count)
{
    int8 number = (int8)(0, 1, 2, 3, 4, 5, 6, 7);
    return count == 8 ? value : select((float8)(0), value, number < (int8)(count));
}

#if LANES == 1
#define SPACE(name) __local float *name = 0

INLINE float total(float value, __local float *space, int lane)
{
    return value;
}
#else
#define SPACE(name) __local float name[LANES]

/* Every item's values added. */
INLINE float total(float value, __local float *space, int lane)
{
    space[lane] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int reach = LANES / 2; reach > 0; reach /= 2) {
        if (lane < reach)
            space[lane] += space[lane + reach];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float all = space[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return all;
}
#endif

#if WIDE == 16
typedef float16 wide;
#define LOAD_WIDE(x, count)         ((float16)(LOAD8_X(x, 0), LOAD8_X(x, 8)))
#define LOAD_WIDE_F32(x, count)     vload16(0, x)
#define STORE_WIDE_F32(v, y, count) vstore16(v, 0, y)
#define WITHIN(v, count)            (v)
#define SUM(v)                      total8((v).lo + (v).hi)
#else
typedef float8 wide;
#define LOAD_WIDE(x, count)         load_some(x, count)
#define LOAD_WIDE_F32(x, count)     load_some_f32(x, count)
#define STORE_WIDE_F32(v, y, count) store_some_f32(v, y, count)
#define WITHIN(v, count)            within(v, count)
#define SUM(v)                      total8(v)
#endif

#ifdef CHUNK
#if LANES == 1
/* Rows are taken by eight, so that memory is read in order and sums stay in registers. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void group_stats(__global float *stats, __global const x_type *x, int rows, int channels)
{
    int first = get_group_id(0) * CHUNK;
    size_t n = get_group_id(1);
    int count = min(CHUNK, rows - first);
    x += (n * rows + first) * channels;
    __global float *means = stats + (n * get_num_groups(0) + get_group_id(0)) * 2 * channels;
    __global float *squares = means + channels;

    for (int r = 0; r < count; r += 8)
        for (int c = 0; c < channels; c += WIDE) {
            int tail = TAIL(c, channels);
            wide pivot = LOAD_WIDE(x + c, tail), sum = r ? LOAD_WIDE_F32(means + c, tail) : 0;
            for (int i = r; i < min(r + 8, count); i++)
                sum += LOAD_WIDE(x + (size_t)i * channels + c, tail) - pivot;
            if (r + 8 >= count)
                sum = pivot + sum / count;
            STORE_WIDE_F32(sum, means + c, tail);
        }
    for (int r = 0; r < count; r += 8)
        for (int c = 0; c < channels; c += WIDE) {
            int tail = TAIL(c, channels);
            wide mean = LOAD_WIDE_F32(means + c, tail);
            wide sum = r ? LOAD_WIDE_F32(squares + c, tail) : 0;
            for (int i = r; i < min(r + 8, count); i++) {
                wide d = LOAD_WIDE(x + (size_t)i * channels + c, tail) - mean;
                sum = fma(d, d, sum);
            }
            STORE_WIDE_F32(sum, squares + c, tail);
        }
}
#else
__kernel void group_stats(__global float *stats, __global const x_type *x, int rows,
                          int channels)
{
    int c = get_global_id(0) * 8;
    int chunk = get_global_id(1);
    int n = get_global_id(2);
    int first = chunk * CHUNK;
    int count = min(CHUNK, rows - first);
    int tail = TAIL(c, channels);
    x += ((size_t)n * rows + first) * channels + c;

    float8 pivot = load_some(x, tail);
    float8 sum = 0;
    for (int r = 1; r < count; r++)
        sum += load_some(x + (size_t)r * channels, tail) - pivot;
    float8 mean = pivot + sum / count;
    float8 squares = 0;
    for (int r = 0; r < count; r++) {
        float8 d = load_some(x + (size_t)r * channels, tail) - mean;
        squares = fma(d, d, squares);
    }
    stats += ((size_t)n * get_global_size(1) + chunk) * 2 * channels + c;
    store_some_f32(mean, stats, tail);
    store_some_f32(squares, stats + channels, tail);
}
#endif

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1)))
void group_fold(__global float *factors, __global const float *stats,
                __global const float *gamma, __global const float *beta, int rows,
                int channels, int width, float eps)
{
    SPACE(space);
    int lane = get_local_id(0);
    int first = get_group_id(0) * width;
    int n = get_group_id(1);
    int chunks = (rows + CHUNK - 1) / CHUNK;
    float all = (float)rows * width;
    stats += (size_t)n * chunks * 2 * channels + first;

    float pivot = stats[0];
    float sum = 0;
    for (int chunk = lane; chunk < chunks; chunk += LANES) {
        float part = 0;
        for (int c = 0; c < width; c++)
            part += stats[(size_t)chunk * 2 * channels + c] - pivot;
        sum = fma(part, (float)min(CHUNK, rows - chunk * CHUNK), sum);
    }
    float mean = total(sum, space, lane) / all;
    sum = 0;
    for (int chunk = lane; chunk < chunks; chunk += LANES) {
        __global const float *means = stats + (size_t)chunk * 2 * channels;
        float within = 0, between = 0;
        for (int c = 0; c < width; c++) {
            float d = means[c] - pivot - mean;
            between = fma(d, d, between);
            within += means[channels + c];
        }
        sum += fma(between, (float)min(CHUNK, rows - chunk * CHUNK), within);
    }
    float inverse = 1 / sqrt(total(sum, space, lane) / all + eps);
    factors += (size_t)n * 3 * channels + first;
    for (int c = lane; c < width; c += LANES) {
        float factor = inverse * gamma[first + c];
        factors[c] = pivot;
        factors[channels + c] = factor;
        factors[2 * channels + c] = fma(-mean, factor, beta[first + c]);
    }
}

INLINE void apply_some(__global y_type *y, __global const x_type *x,
                       __global const float *factors, int channels, int count)
{
    float8 value = load_some(x, count) - load_some_f32(factors, count);
    value = fma(value, load_some_f32(factors + channels, count),
                load_some_f32(factors + 2 * channels, count));
    store_some(activate8(value, ACTIVATION), y, count);
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1)))
void group_apply(__global y_type *y, __global const x_type *x,
                 __global const float *factors, int rows, int channels)
{
    int first = get_group_id(0) * ROWS;
    size_t n = get_group_id(1);
    size_t at = (n * rows + first) * channels;
    int count = min(ROWS, rows - first);
    factors += n * 3 * channels;
#if LANES == 1
    x += at;
    y += at;
    for (int row = 0; row < count; row++, x += channels, y += channels)
        for (int c = 0; c < channels; c += 8)
            apply_some(y + c, x + c, factors + c, channels, TAIL(c, channels));
#else
    int width = (channels + 7) / 8 * 8;
    for (int row = 0, c = get_local_id(0) * 8;; c += LANES * 8) {
        for (; c >= width; row++)
            c -= width;
        if (row >= count)
            return;
        size_t to = at + (size_t)row * channels + c;
        apply_some(y + to, x + to, factors + c, channels, TAIL(c, channels));
    }
#endif
}
#else
__kernel __attribute__((reqd_work_group_size(LANES, 1, 1)))
void layer_norm(__global y_type *y, __global const x_type *x, __global const float *gamma,
                __global const float *beta, int rows, int channels, float eps)
{
    SPACE(space);
    int lane = get_local_id(0);
    int first = get_group_id(0) * ROWS;
    int count = min(ROWS, rows - first);
    x += (size_t)first * channels;
    y += (size_t)first * channels;
    for (int row = 0; row < count; row++, x += channels, y += channels) {
        float pivot = LOAD_X(x, 0);
        wide sums = 0;
        for (int c = lane * WIDE; c < channels; c += LANES * WIDE) {
            int tail = TAIL(c, channels);
            sums += WITHIN(LOAD_WIDE(x + c, tail) - pivot, tail);
        }
        float mean = total(SUM(sums), space, lane) / channels;

        wide squares = 0;
        for (int c = lane * WIDE; c < channels; c += LANES * WIDE) {
            int tail = TAIL(c, channels);
            wide d = WITHIN(LOAD_WIDE(x + c, tail) - pivot - mean, tail);
            squares = fma(d, d, squares);
        }
        float inverse = 1 / sqrt(total(SUM(squares), space, lane) / channels + eps);
        for (int c = lane * 8; c < channels; c += LANES * 8) {
            int tail = TAIL(c, channels);
            float8 value = (load_some(x + c, tail) - pivot - mean) * inverse;
            value = fma(value, load_some_f32(gamma + c, tail), load_some_f32(beta + c, tail));
            store_some(value, y + c, tail);
        }
    }
}
#endif
