/* Attention for GPUs with matrix instructions, f16 storage: softmax(q k^T scale) v, flash form
 *
 *   q, y [n][queries][channels], k, v [n][keys][channels]; head i has channels
 *   i HEAD .. (i + 1) HEAD - 1; 8 divides HEAD, so that rows are read in aligned vectors
 *
 * A work-group takes 64 queries of a head and goes over the keys in blocks of 32. Both
 * products of a block are divided alike: a sub-group takes SPAN queries, and one of COLUMNS
 * parts of the keys, then of v's channels:
 *
 *             k[DEPTH / 2][KEYS + 8] pairs            v[KEYS / 2][WIDTH + 8] pairs
 *            |           |           |               |           |           |
 *     q pairs| scores    |           |      weights  | sums      |           |
 *      SPAN  | f32       | COLUMNS   |      pairs    | stay in   | COLUMNS   |
 *            |           |           |               | registers |           |
 *
 *     scores = q k^T                  fragments, put to local memory
 *     weights = 2^(scores - top)      LANES_ROW items a query, top: its running maximum;
 *                                     written over the scores as pairs of keys
 *     sums = sums shrink + weights v  fragments, each row by its own factor
 *
 * Pairs of what is summed over lie in one uint, as in gemm_matrix.cl: of k, whose channels
 * already lie side by side, a block is turned around, of v two rows are interleaved. k and v
 * take turns in one place, and each is on its way to registers while the other is
 * multiplied. Scores and totals are f32; a total adds the weights as f16 rounded them, so that
 * they still sum up to 1.
 *
 * Blocks begin at fixed keys and every sum has a fixed order, so a row depends neither on the
 * batch nor on other queries. Keys that do not count are not read.
 * Cost: 4 DEPTH operations a score; keys and values are read once for 64 queries; 21 to 45
 * KiB of local memory for heads of 40 to 160 (matrix.c has SPAN and COLUMNS).
 */
#include "common.cl"
#include "matrix.cl"

#define UP(a, b)   (((a) + (b) - 1) / (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))

#define QUERIES   64
#define KEYS      32
#define CHUNK     8 /* halves in a uint4 */
#define ITEMS     (QUERIES / SPAN * COLUMNS * LANES)
#define SIDE      (COLUMNS * BROAD)
#define DEPTH     (UP(HEAD, 16) * 16)     /* channels of q and k, the last ones zeros */
#define WIDTH     (UP(HEAD, SIDE) * SIDE) /* and of v */
#define TALL      (SPAN / HIGH)           /* fragments of a sub-group: by */
#define WIDE_KEYS (KEYS / SIDE)           /* of scores, */
#define WIDE      (WIDTH / SIDE)          /* of sums */

#define Q_ROW (DEPTH / 2 + 4)
#define K_ROW (KEYS + 8)
#define V_ROW (WIDTH + 8)
#define S_ROW (KEYS + 4)
#define P_ROW (KEYS / 2 + 4)
#define Y_ROW (WIDTH + 4)
#define STRIP (QUERIES / SPAN * HIGH) /* rows of y that are written at a time */

#define SCORES (QUERIES * Q_ROW) /* where they begin, and k's or v's block */
#define BLOCK  (SCORES + QUERIES * S_ROW)
#define SPACE  MOST(BLOCK + MOST(DEPTH / 2 * K_ROW, KEYS / 2 * V_ROW), STRIP * Y_ROW)

#define LANES_ROW (ITEMS / QUERIES)
#define PART      (KEYS / 2 / LANES_ROW) /* pairs of scores of an item */

#define LEAST -1e30f

/* Unrolled, other units' compilers load so many fragments ahead that registers spill. */
#if defined MATRIX_NVIDIA || defined MATRIX_MFMA
#define STEPS UNROLL
#else
#define STEPS _Pragma("unroll 1")
#endif

#include "attention_load.cl"

/* sum += a b over `depth`, a sub-group's TALL by `wide` fragments. */
INLINE void multiply_block(sums *sum, int wide, __local const uint *a, int a_row,
                           __local const uint *b, int b_row, int depth, int lane,
                           __local float *scratch)
{
    STEPS
    for (int k = 0; k < depth / DEEP; k++) {
        a_fragment rows[TALL];
        UNROLL
        for (int i = 0; i < TALL; i++)
            rows[i] = load_a(a + i * HIGH * a_row + k * DEEP / 2, a_row, lane);
        UNROLL
        for (int j = 0; j < wide; j++) {
            b_fragment columns = load_b(b + k * DEEP / 2 * b_row + j * BROAD, b_row, lane);
            UNROLL
            for (int i = 0; i < TALL; i++)
                sum[i * wide + j] =
                    multiply(sum[i * wide + j], rows[i], columns, lane, scratch);
        }
    }
}

/* A block's scores of a sub-group, to local memory. */
INLINE void score(__local float *scores, __local const uint *q, __local const uint *k, int lane,
                  __local float *scratch)
{
    sums sum[TALL * WIDE_KEYS];
    UNROLL
    for (int i = 0; i < TALL * WIDE_KEYS; i++)
        sum[i] = 0;
    multiply_block(sum, WIDE_KEYS, q, Q_ROW, k, K_ROW, DEPTH, lane, scratch);
    UNROLL
    for (int i = 0; i < TALL * WIDE_KEYS; i++)
        put_sums(scores + i / WIDE_KEYS * HIGH * S_ROW + i % WIDE_KEYS * BROAD, S_ROW, sum[i],
                 lane);
}

/* An item's part of a query's scores, scaled; returns their maximum. */
INLINE float take_scores(float2 own[PART], __local const float *scores, int part, int seen,
                         float scale)
{
    float most = LEAST;
    UNROLL
    for (int i = 0; i < PART; i++) {
        int pair = part + i * LANES_ROW;
        float2 both = vload2(pair, scores) * scale;
        own[i].x = 2 * pair < seen ? both.x : LEAST;
        own[i].y = 2 * pair + 1 < seen ? both.y : LEAST;
        most = fmax(most, fmax(own[i].x, own[i].y));
    }
    return most;
}

/* Their weights, in f16; returns the sum of what was written. */
INLINE float put_weights(__local uint *weights, float2 own[PART], int part, int seen,
                         float top)
{
    float total = 0;
    UNROLL
    for (int i = 0; i < PART; i++) {
        int pair = part + i * LANES_ROW;
        float2 weight = {2 * pair < seen ? exp2(own[i].x - top) : 0,
                         2 * pair + 1 < seen ? exp2(own[i].y - top) : 0};
        __local half *to = (__local half *)(weights + pair);
        vstore_half2_rte(weight, 0, to);
        weight = vload_half2(0, to);
        total += weight.x + weight.y;
    }
    return total;
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) SUB_GROUP
void attention(__global y_type *y, __global const x_type *q, __global const x_type *k,
               __global const x_type *v, __global const int *key_counts, int queries,
               int keys, int channels, int causal, float scale)
{
    __local uint space[SPACE] __attribute__((aligned(16)));
    __local float tops[ITEMS];
    __local float factors[QUERIES] __attribute__((aligned(16)));
    SCRATCH(scratch, ITEMS / LANES);
    __local uint *weights = space + SCORES, *block = space + BLOCK;
    __local float *scores = (__local float *)weights;
    int item = get_local_id(0);
    int lane = LANE(item), sub = SUB(item);
    int sub_row = sub / COLUMNS * SPAN, sub_column = sub % COLUMNS;
    int row = item / LANES_ROW, part = item % LANES_ROW; /* while softening */
    int first = get_group_id(0) * QUERIES;
    size_t n = get_group_id(2);
    int rows = min(QUERIES, queries - first);
    int count = key_counts ? clamp(key_counts[n], 0, keys) : keys;
    if (causal)
        count = min(count, first + rows);
    size_t at = (n * queries + first) * channels + get_group_id(1) * HEAD;
    size_t from = n * keys * channels + get_group_id(1) * HEAD;
    k += from;
    v += from;

    for (int i = item; i < QUERIES * DEPTH / CHUNK; i += ITEMS) {
        int high = i / (DEPTH / CHUNK), wide = i % (DEPTH / CHUNK);
        *(__local uint4 *)(space + high * Q_ROW + wide * (CHUNK / 2)) =
            fetch(q + at, high, rows, wide * CHUNK, channels);
    }
    uint4 own_keys[K_CHUNKS], own_values[V_CHUNKS][2];
    fetch_keys(own_keys, k, count, channels, item);
    store_keys(block, own_keys, item);
    sums sum[TALL * WIDE];
    UNROLL
    for (int i = 0; i < TALL * WIDE; i++)
        sum[i] = 0;
    float top = LEAST, total = 0;
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int key = 0; key < count; key += KEYS) {
        float2 own[PART];
        int seen = causal ? min(first + row + 1, count) - key : count - key;
        fetch_values(own_values, v + (size_t)key * channels, count - key, channels, item);
        score(scores + sub_row * S_ROW + sub_column * (KEYS / COLUMNS), space + sub_row * Q_ROW,
              block + sub_column * (KEYS / COLUMNS), lane, scratch);
        barrier(CLK_LOCAL_MEM_FENCE);

        tops[item] = take_scores(own, scores + row * S_ROW, part, seen, scale);
        store_values(block, own_values, item);
        barrier(CLK_LOCAL_MEM_FENCE);

        float before = top;
        for (int i = 0; i < LANES_ROW; i++)
            top = fmax(top, tops[row * LANES_ROW + i]);
        float shrink = exp2(before - top);
        total = total * shrink + put_weights(weights + row * P_ROW, own, part, seen, top);
        if (part == 0)
            factors[row] = shrink;
        barrier(CLK_LOCAL_MEM_FENCE);

        fetch_keys(own_keys, k + (size_t)(key + KEYS) * channels, count - key - KEYS, channels,
                   item);
        UNROLL
        for (int i = 0; i < TALL; i++) {
            sums shrinks = load_rows(factors + sub_row + i * HIGH, lane);
            UNROLL
            for (int j = 0; j < WIDE; j++)
                sum[i * WIDE + j] *= shrinks;
        }
        multiply_block(sum, WIDE, weights + sub_row * P_ROW, P_ROW,
                       block + sub_column * (WIDTH / COLUMNS), V_ROW, KEYS, lane, scratch);
        barrier(CLK_LOCAL_MEM_FENCE);
        store_keys(block, own_keys, item);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    tops[item] = total;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 1; part == 0 && i < LANES_ROW; i++)
        total += tops[item + i];
    if (part == 0)
        factors[row] = total > 0 ? 1 / total : 0;
    barrier(CLK_LOCAL_MEM_FENCE);

    __local float *strip = (__local float *)space;
    UNROLL
    for (int i = 0; i < TALL; i++) {
        sums shares = load_rows(factors + sub_row + i * HIGH, lane);
        UNROLL
        for (int j = 0; j < WIDE; j++)
            put_sums(strip + sub_row / SPAN * HIGH * Y_ROW + sub_column * (WIDTH / COLUMNS) +
                         j * BROAD,
                     Y_ROW, sum[i * WIDE + j] * shares, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int c = item; c < STRIP * (HEAD / CHUNK); c += ITEMS) {
            int high = c / (HEAD / CHUNK), wide = c % (HEAD / CHUNK) * CHUNK;
            int to = high / HIGH * SPAN + i * HIGH + high % HIGH;
            if (to < rows)
                STORE8_Y(vload8(0, strip + high * Y_ROW + wide), y,
                         at + (size_t)to * channels + wide);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
