/* Matrix product and convolution for GPUs: y = act(A W^T + bias + row_bias) + residual
 *
 *   x   [n][xh][xw][in], y [n][h][w][out]; row r = (n, oy, ox) of A holds x's size x size
 *       neighbourhood, enlarged to up_h x up_w: k = (dy size + dx) in + channel
 *   W   panels of 64 columns: weights[panel][k][64] (pack.h)
 *
 * A work-group of 128 takes TILE_M rows by one panel, DEPTH of k at a time through local
 * memory; an item computes TILE_M / 16 rows by 8 columns:
 *
 *                      item % 8:  0       1             7
 *     b[DEPTH][64]               |8 cols |8 cols | ... |8 cols|
 *     a[DEPTH][TILE_M]  item / 8:  TILE_M / 16 rows each
 *
 * While loading, an item serves one row of A, so that it finds its place in x once, and
 * SHARE values of k that lie side by side.
 * k runs in order for every row: neither TILE_M nor the batch changes a row's bytes.
 * Cost: TILE_M 64 multiply-adds for TILE_M + 64 values loaded a step; 32 TILE_M + 4096 bytes
 * and more of local memory.
 */
#include "common.cl"
#include "epilogue.cl"

#define PANEL 64
#define ITEMS 128
#define DEPTH 16
#define TALL  (TILE_M / 16)
#define SHARE (DEPTH * TILE_M / ITEMS)
#define ROW   (TILE_M + 4) /* of a: keeps items of a row in different banks */

struct geometry {
    int h, w, in, xh, xw, up_h, up_w, size, stride, pad;
};

/* Where a row of A begins: its picture and the upper left corner of its neighbourhood. */
struct place {
    size_t picture;
    int top, left;
    int valid;
};

INLINE float value_at(__global const x_type *x, struct geometry g, struct place p, int k)
{
    int sy = p.top + k / g.in / g.size;
    int sx = p.left + k / g.in % g.size;
    if (sy < 0 || sy >= g.up_h || sx < 0 || sx >= g.up_w)
        return 0;
    sy = (int)((long)sy * g.xh / g.up_h);
    sx = (int)((long)sx * g.xw / g.up_w);
    return LOAD_X(x, p.picture + ((size_t)sy * g.xw + sx) * g.in + k % g.in);
}

/* SHARE values of one row into column `row` of a, zeros beyond k = all. */
INLINE void load_a(__local float *a, __global const x_type *x, struct geometry g,
                   struct place p, int row, int first, int k, int all)
{
    if (!p.valid || k >= all) {
        for (int i = 0; i < SHARE; i++)
            a[(first + i) * ROW + row] = 0;
    } else if (g.in % SHARE == 0) { /* one tap, in whole vectors */
        int sy = p.top + k / g.in / g.size;
        int sx = p.left + k / g.in % g.size;
        int inside = sy >= 0 && sy < g.up_h && sx >= 0 && sx < g.up_w;
        if (g.up_h != g.xh || g.up_w != g.xw) {
            sy = (int)((long)sy * g.xh / g.up_h);
            sx = (int)((long)sx * g.xw / g.up_w);
        }
        size_t at = p.picture + ((size_t)sy * g.xw + sx) * g.in + k % g.in;
        for (int i = 0; i < SHARE; i++)
            a[(first + i) * ROW + row] = inside ? LOAD_X(x, at + i) : 0;
    } else {
        for (int i = 0; i < SHARE; i++)
            a[(first + i) * ROW + row] = k + i < all ? value_at(x, g, p, k + i) : 0;
    }
}

INLINE void load_b(__local float *b, __global const w_type *weights, int item, int k, int all)
{
    int row = item / 8;
    int column = item % 8 * 8;
    float8 value = 0;
    if (k + row < all)
        value = LOAD8_W(weights, (size_t)(k + row) * PANEL + column);
    vstore8(value, 0, b + row * PANEL + column);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void gemm(__global y_type *y, __global const x_type *x, __global const w_type *weights,
          __global const float *bias, __global const y_type *row_bias,
          __global const y_type *residual, int rows, int out, int h, int w, int in, int xh,
          int xw, int up_h, int up_w, int size, int stride, int pad)
{
    __local float a[DEPTH * ROW];
    __local float b[DEPTH * PANEL];
    struct geometry g = {h, w, in, xh, xw, up_h, up_w, size, stride, pad};
    int item = get_local_id(0);
    int first_row = get_group_id(1) * TILE_M;
    int panel = get_group_id(2);
    int all = size * size * in;
    weights += (size_t)panel * all * PANEL;

    int own = item / (ITEMS / TILE_M);           /* the row this item loads */
    int own_k = item % (ITEMS / TILE_M) * SHARE; /* and its first k of the step */
    int row = first_row + own;
    struct place place;
    place.valid = row < rows;
    place.picture = (size_t)(row / (h * w)) * xh * xw * in;
    place.top = row / w % h * stride - pad;
    place.left = row % w * stride - pad;

    int tall = item / 8 * TALL;
    int wide = item % 8 * 8;
    float8 sum[TALL];
#pragma unroll
    for (int r = 0; r < TALL; r++)
        sum[r] = 0;
    for (int k = 0; k < all; k += DEPTH) {
        load_a(a, x, g, place, own, own_k, k + own_k, all);
        load_b(b, weights, item, k, all);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int i = 0; i < DEPTH; i++) {
            float8 columns = vload8(0, b + i * PANEL + wide);
#pragma unroll
            for (int r = 0; r < TALL; r++)
                sum[r] = fma((float8)(a[i * ROW + tall + r]), columns, sum[r]);
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
