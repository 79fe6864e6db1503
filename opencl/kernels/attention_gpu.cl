/* Attention for GPUs: softmax(q k^T scale) v, flash form through local memory
 *
 *   q, y [n][queries][channels], k, v [n][keys][channels]; head i has channels
 *   i HEAD .. (i + 1) HEAD - 1
 *
 * A work-group of 128 takes QUERIES queries of a head (64, 32 or 16, fewer the wider the
 * head) and goes over the keys in blocks of 64:
 *
 *     scores[QUERIES][64] = q k^T     item: QUERIES / 8 queries by 4 keys, HEAD in steps of 16
 *     weights = exp(scores - top)     LANES items a query, top: its running maximum
 *     sums = sums shrink + weights v  item: QUERIES / 8 queries by every 16th channel,
 *                                     values through local memory VALUES keys at a time
 *
 * Blocks begin at fixed keys and partial sums of a query are added in a fixed order, so a row
 * depends neither on the batch nor on other queries. Keys that do not count are not read.
 * Cost: 4 HEAD operations a score; keys and values are read once for QUERIES queries; about
 * 28 KiB of local memory.
 */
#include "common.cl"

#define ITEMS  128
#define KEYS   64
#define STEP   16
#define TALL   (QUERIES / 8)
#define WIDE   ((HEAD + 15) / 16) /* channels of an item */
#define LANES  (ITEMS / QUERIES)
#define VALUES (HEAD > 256 ? 4 : HEAD > 80 ? 8 : HEAD > 40 ? 16 : 32)
#define ROW    (KEYS + 1)
#define SPACE  (VALUES * WIDE * 16 > STEP * (QUERIES + KEYS) ? VALUES * WIDE * 16              \
                                                             : STEP * (QUERIES + KEYS))

/* scores = q k^T of one block, through `space`. */
INLINE void score(__local float *scores, __local float *space, __global const x_type *q,
                  __global const x_type *k, int item, int rows, int block, int channels,
                  float scale)
{
    __local float *own = space, *other = space + STEP * QUERIES;
    int key = item % 16, query = item / 16 * TALL;
    float sum[TALL][4];
#pragma unroll
    for (int r = 0; r < TALL; r++)
        for (int j = 0; j < 4; j++)
            sum[r][j] = 0;
    for (int c = 0; c < HEAD; c += STEP) {
        for (int i = item; i < STEP * QUERIES; i += ITEMS) {
            int row = i / STEP, at = c + i % STEP;
            own[i % STEP * QUERIES + row] =
                row < rows && at < HEAD ? LOAD_X(q, (size_t)row * channels + at) * scale : 0;
        }
        for (int i = item; i < STEP * KEYS; i += ITEMS) {
            int row = i / STEP, at = c + i % STEP;
            other[i % STEP * KEYS + row] =
                row < block && at < HEAD ? LOAD_X(k, (size_t)row * channels + at) : 0;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = 0; i < STEP; i++)
#pragma unroll
            for (int r = 0; r < TALL; r++)
                for (int j = 0; j < 4; j++)
                    sum[r][j] = fma(own[i * QUERIES + query + r],
                                    other[i * KEYS + key + 16 * j], sum[r][j]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#pragma unroll
    for (int r = 0; r < TALL; r++)
        for (int j = 0; j < 4; j++)
            scores[(query + r) * ROW + key + 16 * j] = sum[r][j];
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void attention(__global y_type *y, __global const x_type *q, __global const x_type *k,
               __global const x_type *v, __global const int *key_counts, int queries,
               int keys, int channels, int causal, float scale)
{
    __local float scores[QUERIES * ROW];
    __local float space[SPACE];
    __local float part[ITEMS], tops[QUERIES], totals[QUERIES], shrinks[QUERIES];
    int item = get_local_id(0);
    int first = get_group_id(0) * QUERIES;
    size_t n = get_group_id(2);
    int rows = min(QUERIES, queries - first);
    int count = key_counts ? clamp(key_counts[n], 0, keys) : keys;
    if (causal)
        count = min(count, first + rows);
    size_t at = (n * queries + first) * channels + get_group_id(1) * HEAD;
    size_t from = n * keys * channels + get_group_id(1) * HEAD;

    int row = item / LANES, lane = item % LANES; /* while softening */
    int query = item / 16 * TALL, channel = item % 16;
    float sum[TALL][WIDE];
#pragma unroll
    for (int r = 0; r < TALL; r++)
        for (int c = 0; c < WIDE; c++)
            sum[r][c] = 0;
    if (lane == 0) {
        tops[row] = -1e30f;
        totals[row] = 0;
    }

    for (int key = 0; key < count; key += KEYS) {
        int block = min(KEYS, count - key);
        score(scores, space, q + at, k + from + (size_t)key * channels, item, rows, block,
              channels, scale);
        barrier(CLK_LOCAL_MEM_FENCE);

        int seen = causal ? clamp(first + row + 1 - key, 0, block) : block;
        float most = -1e30f;
        for (int j = lane; j < seen; j += LANES)
            most = fmax(most, scores[row * ROW + j]);
        part[item] = most;
        barrier(CLK_LOCAL_MEM_FENCE);
        most = tops[row];
        for (int i = 0; i < LANES; i++)
            most = fmax(most, part[row * LANES + i]);
        barrier(CLK_LOCAL_MEM_FENCE);
        float total = 0;
        for (int j = lane; j < KEYS; j += LANES) {
            float weight = j < seen ? exp(scores[row * ROW + j] - most) : 0;
            scores[row * ROW + j] = weight;
            total += weight;
        }
        part[item] = total;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane == 0) {
            float shrink = exp(tops[row] - most);
            total = totals[row] * shrink;
            for (int i = 0; i < LANES; i++)
                total += part[item + i];
            totals[row] = total;
            tops[row] = most;
            shrinks[row] = shrink;
        }
        barrier(CLK_LOCAL_MEM_FENCE);

#pragma unroll
        for (int r = 0; r < TALL; r++)
            for (int c = 0; c < WIDE; c++)
                sum[r][c] *= shrinks[query + r];
        for (int j = 0; j < block; j += VALUES) {
            for (int i = item; i < VALUES * WIDE * 16; i += ITEMS) {
                int value = j + i / (WIDE * 16), c = i % (WIDE * 16);
                space[i] = value < block && c < HEAD
                               ? LOAD_X(v, from + (size_t)(key + value) * channels + c)
                               : 0;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int i = 0; i < VALUES; i++)
#pragma unroll
                for (int r = 0; r < TALL; r++)
                    for (int c = 0; c < WIDE; c++)
                        sum[r][c] = fma(scores[(query + r) * ROW + j + i],
                                        space[i * WIDE * 16 + channel + 16 * c], sum[r][c]);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int r = 0; r < TALL && query + r < rows; r++) {
        float total = totals[query + r];
        for (int c = 0; c < WIDE; c++)
            if (channel + 16 * c < HEAD)
                STORE_Y(total > 0 ? sum[r][c] / total : 0, y,
                        at + (size_t)(query + r) * channels + channel + 16 * c);
    }
}
