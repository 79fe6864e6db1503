/* Attention, one query and head a work-item: softmax(q k^T scale) v
 *
 *   q, y [n][queries][channels], k, v [n][keys][channels]; head i has channels
 *   i WIDTH .. (i + 1) WIDTH - 1
 *   work-item (query, head, n) goes over the keys once, with a running maximum
 *
 * Cost: the keys and values of a head are read once per query.
 */
#include "common.cl"

__kernel void attention(__global y_type *y, __global const x_type *q,
                        __global const x_type *k, __global const x_type *v,
                        __global const int *key_counts, int queries, int keys,
                        int channels, int causal, float scale)
{
    int query = get_global_id(0);
    int head = get_global_id(1);
    size_t n = get_global_id(2);
    int count = key_counts ? clamp(key_counts[n], 0, keys) : keys;
    if (causal)
        count = min(count, query + 1);
    size_t at = (n * queries + query) * channels + head * WIDTH;
    size_t from = n * keys * channels + head * WIDTH;

    float sum[WIDTH];
    for (int c = 0; c < WIDTH; c++)
        sum[c] = 0;
    float top = -1e30f, total = 0;
    for (int key = 0; key < count; key++, from += channels) {
        float score = 0;
        for (int c = 0; c < WIDTH; c++)
            score = fma(LOAD_X(q, at + c), LOAD_X(k, from + c), score);
        score *= scale;
        if (score > top) {
            float shrink = exp(top - score);
            for (int c = 0; c < WIDTH; c++)
                sum[c] *= shrink;
            total *= shrink;
            top = score;
        }
        float weight = exp(score - top);
        total += weight;
        for (int c = 0; c < WIDTH; c++)
            sum[c] = fma(weight, LOAD_X(v, from + c), sum[c]);
    }
    for (int c = 0; c < WIDTH; c++)
        STORE_Y(total > 0 ? sum[c] / total : 0, y, at + c);
}
