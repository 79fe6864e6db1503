/* Token and timestep embeddings
 *
 *   token_embedding   y[t][c] = table[ids[t]][c] + position[t mod tokens][c];
 *                     work-item (c, t); ids below 0 read own[t] instead, where there is
 *                     one; others outside the table its first or last row
 *   time_embedding    y[row][c] of one timestep, work-item (c, row): the first half of the
 *                     channels sine (cosine when flipped), the second the other
 *
 * Cost: negligible. W is the table's type, X the positions'.
 */
#include "common.cl"

__kernel void token_embedding(__global y_type *y, __global const int *ids,
                              __global const w_type *table,
                              __global const x_type *position,
                              __global const w_type *own, int tokens, int channels,
                              int vocabulary)
{
    int c = get_global_id(0);
    int t = get_global_id(1);
    size_t id = clamp(ids[t], 0, vocabulary - 1);
    float word = own && ids[t] < 0 ? LOAD_W(own, (size_t)t * channels + c)
                                   : LOAD_W(table, id * channels + c);
    float value = word + LOAD_X(position, (size_t)(t % tokens) * channels + c);
    STORE_Y(value, y, (size_t)t * channels + c);
}

__kernel void time_embedding(__global y_type *y, __global const float *step, int channels,
                             int flip, float freq_shift)
{
    int c = get_global_id(0);
    int row = get_global_id(1);
    int half_width = channels / 2;
    int i = c % half_width;
    /* float32 throughout, as the reference computes it */
    float frequency = exp(-9.21034037f * i / (half_width - freq_shift));
    float angle = step[0] * frequency;
    int cosine = (c < half_width) == (flip != 0);
    float value = c >= 2 * half_width ? 0 : cosine ? cos(angle) : sin(angle);
    STORE_Y(value, y, (size_t)row * channels + c);
}
