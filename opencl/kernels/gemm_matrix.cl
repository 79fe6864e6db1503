/* Matrix product and convolution for GPUs with matrix instructions, f16 storage:
 * y = act(A W^T + bias + row_bias) + residual, sums in f32
 *
 *   x   [n][xh][xw][in], y [n][h][w][out]; rows of A: gather.cl
 *   W   panels of 64 columns in pairs of k: weights[panel][k / 2][64][2], k padded by zeros
 *       to a multiple of 32 (pack.h)
 *
 * A work-group takes TILE_M rows by TILE_N columns, DEPTH of k at a time through local memory;
 * a sub-group of LANES items takes SPAN_M by SPAN_N of them, in fragments of HIGH x BROAD that
 * one instruction sums over DEEP of k:
 *
 *                                 b[DEPTH / 2][TILE_N + 8] pairs
 *                                |   SPAN_N   |   SPAN_N   | ...
 *     a[TILE_M][DEPTH / 2 + 4]   | sub-group 0 | sub-group 1 |
 *     pairs             SPAN_M   |  HIGH x BROAD fragments   |
 *
 * Local memory holds pairs of k as one uint, since every vendor's fragments are made of such;
 * the paddings put what the lanes of a fragment read into different banks. It holds two
 * steps: while one is multiplied the next is on its way to registers, so that a step has one
 * barrier. A tile of 32-bit loads moves as many bytes as one of wide ones: what limits is
 * local memory's width, not the number of loads.
 *
 * With -DWHOLE=1, 8 divides `in`, so that rows are read in aligned vectors.
 * What a fragment holds, and the instruction, is the vendor's: matrix_*.cl, which also say
 * LANES, HIGH, BROAD and DEEP. Sums go back through local memory, in strips of one fragment's
 * height, to the epilogue all kernels share. k runs in order for every row: neither the tile
 * nor the batch changes a row's bytes, nor the order in which tiles are taken (tiles.cl).
 * Cost: (TILE_M + TILE_N) DEPTH halves read a step for TILE_M TILE_N DEPTH multiply-adds; 38
 * KiB of local memory at 128 x 128.
 */
#include "common.cl"
#include "epilogue.cl"
#include "gather.cl"
#include "matrix.cl"
#include "tiles.cl"

#define PANEL 64
#define DEPTH 32
#define CHUNK 8 /* halves in a uint4 */
#define ITEMS (TILE_M / SPAN_M * (TILE_N / SPAN_N) * LANES)
#define TALL  (SPAN_M / HIGH) /* fragments of a sub-group */
#define WIDE  (SPAN_N / BROAD)

#define A_ROW    (DEPTH / 2 + 4)
#define B_ROW    (TILE_N + 8)
#define TILE     (TILE_M * A_ROW + DEPTH / 2 * B_ROW)
#define A_CHUNKS (TILE_M * DEPTH / CHUNK / ITEMS) /* an item loads */
#define B_CHUNKS (TILE_N * DEPTH / CHUNK / ITEMS)
#define PITCH    (TILE_N + 4) /* of a strip of sums */
#define STRIP    (TILE_M / SPAN_M * HIGH)
#define SPACE    (2 * TILE > STRIP * PITCH ? 2 * TILE : STRIP * PITCH)

#if WHOLE
/* Eight values of a row of A, of one tap and aligned; zeros beyond its end. */
INLINE uint4 fetch_a(__global const x_type *x, struct geometry g, struct place p,
                     struct walk walk, int all)
{
    long pixel = walk.k < all ? pixel_of(g, p, walk.dy, walk.dx) : -1;
    return pixel < 0 ? (uint4)(0) : *(__global const uint4 *)(x + pixel + walk.channel);
}
#else
INLINE uint raw_value(__global const x_type *x, struct geometry g, struct place p, int k,
                      int all)
{
    long at = k < all ? value_of(g, p, k) : -1;
    return at < 0 ? 0 : ((__global const ushort *)x)[at];
}

/* The same value by value. */
INLINE uint4 fetch_a(__global const x_type *x, struct geometry g, struct place p,
                     struct walk walk, int all)
{
    uint pairs[4];
    for (int i = 0; i < 4; i++)
        pairs[i] = raw_value(x, g, p, walk.k + 2 * i, all) |
                   raw_value(x, g, p, walk.k + 2 * i + 1, all) << 16;
    return vload4(0, pairs);
}
#endif

/* sum += a b of one step, a sub-group's part. */
INLINE void multiply_step(sums sum[TALL][WIDE], __local const uint *a, __local const uint *b,
                          int lane, __local float *scratch)
{
    UNROLL
    for (int k = 0; k < DEPTH / DEEP; k++) {
        b_fragment columns[WIDE];
        UNROLL
        for (int j = 0; j < WIDE; j++)
            columns[j] = load_b(b + k * DEEP / 2 * B_ROW + j * BROAD, B_ROW, lane);
        UNROLL
        for (int i = 0; i < TALL; i++) {
            a_fragment rows = load_a(a + i * HIGH * A_ROW + k * DEEP / 2, A_ROW, lane);
            UNROLL
            for (int j = 0; j < WIDE; j++)
                sum[i][j] = multiply(sum[i][j], rows, columns[j], lane, scratch);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) SUB_GROUP
void gemm(__global y_type *y, __global const x_type *x, __global const w_type *weights,
          __global const float *bias, __global const y_type *row_bias,
          __global const y_type *residual, int rows, int out, int h, int w, int in, int xh,
          int xw, int up_h, int up_w, int size, int stride, int pad, int panels, int high,
          int band)
{
    __local uint space[SPACE] __attribute__((aligned(16)));
    SCRATCH(scratch, ITEMS / LANES);
    struct geometry g = {h, w, in, xh, xw, up_h, up_w, size, stride, pad};
    int item = get_local_id(0);
    int lane = LANE(item), sub = SUB(item);
    struct tile tile = tile_of_group(high, band);
    int first_row = tile.row * TILE_M, first_column = tile.column * TILE_N;
    int all = size * size * in;
    int pairs = (all + DEPTH - 1) / DEPTH * DEPTH / 2;
    int sub_row = sub / (TILE_N / SPAN_N), sub_column = sub % (TILE_N / SPAN_N);

    /* Four items load a row's part of a step; a row of b takes TILE_N / 4. */
    struct place places[A_CHUNKS];
    struct walk walk = walk_from(g, item % (DEPTH / CHUNK) * CHUNK);
    __global const uint4 *panel[B_CHUNKS];
    uint4 own_a[A_CHUNKS], own_b[B_CHUNKS];
    UNROLL
    for (int i = 0; i < A_CHUNKS; i++)
        places[i] = place_of(
            g, first_row + (item + i * ITEMS) / (DEPTH / CHUNK), rows);
    UNROLL
    for (int i = 0; i < B_CHUNKS; i++) {
        int chunk = item + i * ITEMS, column = first_column + chunk % (TILE_N / 4) * 4;
        size_t at = (size_t)(column / PANEL) * pairs + chunk / (TILE_N / 4);
        panel[i] = column / PANEL < panels
                       ? (__global const uint4 *)weights + (at * PANEL + column % PANEL) / 4
                       : 0;
    }
    sums sum[TALL][WIDE];
    UNROLL
    for (int i = 0; i < TALL; i++)
        UNROLL
        for (int j = 0; j < WIDE; j++)
            sum[i][j] = 0;

    int step = 0; /* its tiles lie in half step % 2 */
    for (int k = -DEPTH; k < all; k += DEPTH, step++) {
        int more = k + DEPTH < all;
        if (more) {
            UNROLL
            for (int i = 0; i < A_CHUNKS; i++)
                own_a[i] = fetch_a(x, g, places[i], walk, all);
            UNROLL
            for (int i = 0; i < B_CHUNKS; i++)
                own_b[i] = panel[i] ? panel[i][(size_t)step * (DEPTH / 2 * PANEL / 4)]
                                    : (uint4)(0);
            walk = walk_on(walk, g, DEPTH);
        }
        if (k >= 0) {
            __local const uint *a = space + (step + 1) % 2 * TILE;
            multiply_step(sum, a + sub_row * SPAN_M * A_ROW,
                          a + TILE_M * A_ROW + sub_column * SPAN_N, lane, scratch);
        }
        if (more) {
            __local uint *a = space + step % 2 * TILE;
            UNROLL
            for (int i = 0; i < A_CHUNKS; i++) {
                int chunk = item + i * ITEMS;
                *(__local uint4 *)(a + chunk / 4 * A_ROW + chunk % 4 * 4) = own_a[i];
            }
            UNROLL
            for (int i = 0; i < B_CHUNKS; i++) {
                int chunk = item + i * ITEMS;
                *(__local uint4 *)(a + TILE_M * A_ROW + chunk / (TILE_N / 4) * B_ROW +
                                   chunk % (TILE_N / 4) * 4) = own_b[i];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    struct target target = {y, row_bias, residual};
    __local float *strip = (__local float *)space;
    UNROLL
    for (int i = 0; i < TALL; i++) {
        UNROLL
        for (int j = 0; j < WIDE; j++)
            put_sums(strip + sub_row * HIGH * PITCH + sub_column * SPAN_N + j * BROAD, PITCH,
                     sum[i][j], lane);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int c = item; c < STRIP * TILE_N / 8; c += ITEMS) {
            int high = c / (TILE_N / 8), wide = c % (TILE_N / 8) * 8;
            int to = first_row + high / HIGH * SPAN_M + i * HIGH + high % HIGH;
            int column = first_column + wide, most = 8;
            if (to >= rows || column / PANEL >= panels)
                continue;
            float8 value = vload8(0, strip + high * PITCH + wide);
            if (bias)
                value += vload8(0, bias + column);
#if ACTIVATION == GEGLU /* four columns and their gates */
            value.lo *= gelu8((float8)(value.hi, value.hi)).lo;
            column /= 2;
            most = 4;
#endif
            finish(target, value, (size_t)to * out + column,
                   (size_t)(to / (h * w)) * out + column, min(most, out - column));
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
