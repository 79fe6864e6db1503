/* Group and layer normalisation, statistics in float
 *
 *   x, y   [rows][channels]; a picture has h w rows a batch row; y may be x
 *
 * group_norm, three kernels:
 *   group_stats   the picture's rows in chunks of CHUNK; work-item (c / 8, chunk, n): mean
 *                 and sum of squared deviations of its 8 channels over its chunk, in two
 *                 passes (the second hits the cache)
 *                     stats[n][chunk][mean, squares][channels]
 *   group_fold    work-item (group, n): merges chunks, then channels, in order (Chan's
 *                 formula), into factors[n][pivot, scale, shift][channels]
 *   group_apply   work-item (c / 8, row): y = act((x - pivot) scale + shift)
 * Sums are taken of differences to a pivot, a value near the mean: a mean of a hundred
 * deviations costs no digits.
 * Chunks depend on the picture's size alone, so a result does not depend on the batch.
 * Cost: x is read twice from memory, y written once.
 *
 * layer_norm: work-item = one row; mean, squared deviations, output: three passes over a
 * row that stays in the cache.
 */
#include "common.cl"

#define TAIL(c, channels) min(8, (channels) - (c))

INLINE float8 load_some(__global const x_type *x, int count)
{
    if (count == 8)
        return LOAD8_X(x, 0);
    float values[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < count; i++)
        values[i] = LOAD_X(x, i);
    return vload8(0, values);
}

INLINE void store_some(float8 value, __global y_type *y, int count)
{
    if (count == 8) {
        STORE8_Y(value, y, 0);
        return;
    }
    float values[8];
    vstore8(value, 0, values);
    for (int i = 0; i < count; i++)
        STORE_Y(values[i], y, i);
}

INLINE float8 load_some_f32(__global const float *x, int count)
{
    if (count == 8)
        return vload8(0, x);
    float values[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < count; i++)
        values[i] = x[i];
    return vload8(0, values);
}

#ifdef CHUNK
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
    float means[8], sums[8];
    vstore8(mean, 0, means);
    vstore8(squares, 0, sums);
    for (int i = 0; i < tail; i++) {
        stats[i] = means[i];
        stats[channels + i] = sums[i];
    }
}

__kernel void group_fold(__global float *factors, __global const float *stats,
                         __global const float *gamma, __global const float *beta,
                         int rows, int channels, int width, float eps)
{
    int first = get_global_id(0) * width;
    int n = get_global_id(1);
    int chunks = (rows + CHUNK - 1) / CHUNK;
    stats += (size_t)n * chunks * 2 * channels;

    float pivot = stats[first];
    float mean = 0, squares = 0, seen = 0;
    for (int chunk = 0; chunk < chunks; chunk++) {
        float count = min(CHUNK, rows - chunk * CHUNK);
        for (int c = first; c < first + width; c++) {
            float delta = stats[(size_t)chunk * 2 * channels + c] - pivot - mean;
            float all = seen + count;
            mean = fma(delta, count / all, mean);
            squares += stats[((size_t)chunk * 2 + 1) * channels + c] +
                       delta * delta * (seen * (count / all));
            seen = all;
        }
    }
    float inverse = 1 / sqrt(squares / seen + eps);
    factors += (size_t)n * 3 * channels;
    for (int c = first; c < first + width; c++) {
        float factor = inverse * gamma[c];
        factors[c] = pivot;
        factors[channels + c] = factor;
        factors[2 * channels + c] = fma(-mean, factor, beta[c]);
    }
}

__kernel void group_apply(__global y_type *y, __global const x_type *x,
                          __global const float *factors, int rows, int channels)
{
    int c = get_global_id(0) * 8;
    int tail = TAIL(c, channels);
    size_t n = get_global_id(2);
    size_t at = (n * rows + get_global_id(1)) * channels + c;
    factors += n * 3 * channels + c;
    float8 value = load_some(x + at, tail) - load_some_f32(factors, tail);
    value = fma(value, load_some_f32(factors + channels, tail),
                load_some_f32(factors + 2 * channels, tail));
    store_some(activate8(value, ACTIVATION), y + at, tail);
}
#else
INLINE float sum8(float8 v)
{
    float4 a = v.lo + v.hi;
    return (a.x + a.z) + (a.y + a.w);
}

__kernel void layer_norm(__global y_type *y, __global const x_type *x,
                         __global const float *gamma, __global const float *beta,
                         int rows, int channels, float eps)
{
    size_t row = get_global_id(0);
    if (row >= rows)
        return;
    x += row * channels;
    y += row * channels;

    float pivot = LOAD_X(x, 0);
    float8 sums = 0;
    float rest = 0;
    int c = 0;
    for (; c + 8 <= channels; c += 8)
        sums += LOAD8_X(x, c) - pivot;
    for (; c < channels; c++)
        rest += LOAD_X(x, c) - pivot;
    float mean = (sum8(sums) + rest) / channels;

    float8 squares = 0;
    rest = 0;
    for (c = 0; c + 8 <= channels; c += 8) {
        float8 d = LOAD8_X(x, c) - pivot - mean;
        squares = fma(d, d, squares);
    }
    for (; c < channels; c++) {
        float d = LOAD_X(x, c) - pivot - mean;
        rest = fma(d, d, rest);
    }
    float inverse = 1 / sqrt((sum8(squares) + rest) / channels + eps);
    for (c = 0; c < channels; c += 8) {
        int tail = TAIL(c, channels);
        float8 value = (load_some(x + c, tail) - pivot - mean) * inverse;
        value = fma(value, load_some_f32(gamma + c, tail), load_some_f32(beta + c, tail));
        store_some(value, y + c, tail);
    }
}
#endif
