/* Matrix product and convolution for GPUs: y = act(A W^T + bias + row_bias) + residual
 *
 *   x   [n][xh][xw][in], y [n][h][w][out]; rows of A: gather.cl
 *   W   panels of 64 columns: weights[panel][k][64] (pack.h)
 *
 * A work-group of 128 takes TILE_M rows by one panel, DEPTH of k at a time through local
 * memory; an item computes TILE_M / 16 rows by 8 columns:
 *
 *                      item % 8:  0       1             7
 *     b[DEPTH][64]               |8 cols |8 cols | ... |8 cols|
 *     a[DEPTH][TILE_M]  item / 8:  TILE_M / 16 rows each
 *
 * Local memory holds two steps: while one is multiplied the next is on its way to registers,
 * so that a step has one barrier. While loading, four items in a row read a row's part of a
 * step, CHUNK values each.
 * k runs in order for every row: neither TILE_M nor the batch changes a row's bytes, nor the
 * order in which tiles are taken (tiles.cl).
 * Cost: TILE_M 64 multiply-adds for TILE_M + 64 values loaded a step; 25 KiB of local memory
 * at 128 rows.
 */
#include "common.cl"
#include "epilogue.cl"
#include "gather.cl"
#include "tiles.cl"

#define PANEL  64
#define ITEMS  128
#define DEPTH  16
#define CHUNK  4
#define CHUNKS (TILE_M * DEPTH / CHUNK / ITEMS) /* of a, an item's */
#define TALL   (TILE_M / 16)
#define ROW    (TILE_M + 4) /* of a: keeps items of a row in different banks */
#define TILE   (DEPTH * (ROW + PANEL))

/* CHUNK values of a row of A, zeros beyond its end. */
INLINE float4 fetch_a(__global const x_type *x, struct geometry g, struct place p,
                      struct walk walk, int all)
{
    float values[CHUNK] = {0, 0, 0, 0};
    if (g.in % CHUNK == 0) { /* of one tap */
        long pixel = walk.k < all ? pixel_of(g, p, walk.dy, walk.dx) : -1;
        if (pixel >= 0)
            for (int i = 0; i < CHUNK; i++)
                values[i] = LOAD_X(x, pixel + walk.channel + i);
    } else {
        for (int i = 0; i < CHUNK; i++) {
            long at = walk.k + i < all ? value_of(g, p, walk.k + i) : -1;
            if (at >= 0)
                values[i] = LOAD_X(x, at);
        }
    }
    return vload4(0, values);
}

/* Intel's compiler may take sub-groups so wide that their sums do not fit in the registers. */
#ifdef INTEL_LANES
#define NARROW __attribute__((intel_reqd_sub_group_size(INTEL_LANES)))
#else
#define NARROW
#endif

__kernel NARROW __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void gemm(__global y_type *y, __global const x_type *x, __global const w_type *weights,
          __global const float *bias, __global const y_type *row_bias,
          __global const y_type *residual, int rows, int out, int h, int w, int in, int xh,
          int xw, int up_h, int up_w, int size, int stride, int pad, int high, int band)
{
    __local float tiles[2 * TILE];
    struct geometry g = {h, w, in, xh, xw, up_h, up_w, size, stride, pad};
    int item = get_local_id(0);
    struct tile tile = tile_of_group(high, band);
    int first_row = tile.row * TILE_M, panel = tile.column;
    int all = size * size * in;
    weights += (size_t)panel * all * PANEL;

    int tall = item / 8 * TALL, wide = item % 8 * 8;
    struct place places[CHUNKS];
    struct walk walk = walk_from(g, item % 4 * CHUNK);
    float4 own_a[CHUNKS];
    float8 own_b, sum[TALL];
#pragma unroll
    for (int i = 0; i < CHUNKS; i++)
        places[i] = place_of(g, first_row + item / 4 + i * (ITEMS / 4), rows);
#pragma unroll
    for (int r = 0; r < TALL; r++)
        sum[r] = 0;

    int step = 0; /* its tiles lie in half step % 2 */
    for (int k = -DEPTH; k < all; k += DEPTH, step++) {
        int next = k + DEPTH;
        if (next < all) {
#pragma unroll
            for (int i = 0; i < CHUNKS; i++)
                own_a[i] = fetch_a(x, g, places[i], walk, all);
            own_b = 0;
            if (next + item / 8 < all)
                own_b = LOAD8_W(weights, (size_t)(next + item / 8) * PANEL + wide);
            walk = walk_on(walk, g, DEPTH);
        }
        if (k >= 0) {
            __local const float *a = tiles + (step + 1) % 2 * TILE, *b = a + DEPTH * ROW;
#pragma unroll
            for (int i = 0; i < DEPTH; i++) {
                float8 columns = vload8(0, b + i * PANEL + wide);
#pragma unroll
                for (int r = 0; r < TALL; r++)
                    sum[r] = fma((float8)(a[i * ROW + tall + r]), columns, sum[r]);
            }
        }
        if (next < all) {
            __local float *a = tiles + step % 2 * TILE, *b = a + DEPTH * ROW;
            __local float *to = a + item % 4 * CHUNK * ROW + item / 4;
#pragma unroll
            for (int i = 0; i < CHUNKS; i++, to += ITEMS / 4) {
                to[0] = own_a[i].x;
                to[ROW] = own_a[i].y;
                to[2 * ROW] = own_a[i].z;
                to[3 * ROW] = own_a[i].w;
            }
            vstore8(own_b, 0, b + item / 8 * PANEL + wide);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    struct target target = {y, row_bias, residual};
    float8 shift = bias ? vload8(0, bias + panel * PANEL + wide) : 0;
    for (int r = 0; r < TALL; r++) {
        size_t to = first_row + tall + r;
        if (to >= rows)
            break;
        float8 value = sum[r] + shift;
        int column = panel * PANEL + wide;
        int most = 8;
#if ACTIVATION == GEGLU /* four columns and their gates */
        value.lo *= gelu8((float8)(value.hi, value.hi)).lo;
        column /= 2;
        most = 4;
#endif
        finish(target, value, to * out + column, to / (h * w) * out + column,
               min(most, out - column));
    }
}
