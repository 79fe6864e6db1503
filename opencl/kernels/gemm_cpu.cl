/* Matrix product and convolution for CPUs: y = act(A W^T + bias + row_bias) + residual
 *
 *   x   [n][xh][xw][in], y [n][h][w][out]; row r = (n, oy, ox) of A holds x's size x size
 *       neighbourhood, enlarged to up_h x up_w: k = (dy size + dx) in + channel
 *   W   panels of PANEL = 2 WIDTH columns: weights[panel][k][PANEL] (pack.h)
 *
 * A work-group is one work-item and takes `block` rows by `span` panels:
 *
 *     for each DEPTH of k
 *         a[row][k]     its rows of A: x itself if DIRECT, else gathered from it
 *                                                                     (second-level cache)
 *         for each panel: b[k][PANEL]                                 (first-level cache)
 *             for each TALL rows: c[TALL][PANEL] += a b               (registers, tile_cpu.cl)
 *     y = epilogue(c)
 *
 * DIRECT: rows of A are rows of floats of x, TALL or more. The last tile of a block then ends
 * with it, and may compute rows before it for nothing.
 * k runs in order for every row, so that a row's bytes depend on nothing but the row.
 * Cost: 2 block span PANEL K operations for (block + span PANEL) K values read.
 */
#include "common.cl"
#include "epilogue.cl"

#if W_HALF
#define B_SPACE __local /* widened first */
#else
#define B_SPACE __global
#endif
#if DIRECT
#define A_SPACE __global
#else
#define A_SPACE __local
#endif
#define C_SPACE __local
#include "tile_cpu.cl"

struct geometry {
    int h, w, in, xh, xw, up_h, up_w, size, stride, pad;
};

/* Columns first .. first + depth - 1 of row `row` of A. */
INLINE void gather(__local float *a, __global const x_type *x, struct geometry g, int row,
                   int first, int depth)
{
#if GATHER
    int n = row / (g.h * g.w);
    int y = row / g.w % g.h * g.stride - g.pad;
    int left = row % g.w * g.stride - g.pad;
    x += (size_t)n * g.xh * g.xw * g.in;
    for (int done = 0, count; done < depth; done += count) {
        int tap = (first + done) / g.in;
        int channel = (first + done) % g.in;
        count = min(g.in - channel, depth - done);
        int sy = y + tap / g.size;
        int sx = left + tap % g.size;
        if (sy < 0 || sy >= g.up_h || sx < 0 || sx >= g.up_w) {
            clear(a + done, count);
            continue;
        }
        if (g.up_h != g.xh || g.up_w != g.xw) {
            sy = (int)((long)sy * g.xh / g.up_h);
            sx = (int)((long)sx * g.xw / g.up_w);
        }
        copy(a + done, x + ((size_t)sy * g.xw + sx) * g.in + channel, count);
    }
#else
    copy(a, x + (size_t)row * g.in + first, depth);
#endif
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void gemm(__global y_type *y, __global const x_type *x, __global const w_type *weights,
          __global const float *bias, __global const y_type *row_bias,
          __global const y_type *residual, int rows, int out, int h, int w, int in, int xh,
          int xw, int up_h, int up_w, int size, int stride, int pad, int panels, int block,
          int span)
{
#if !DIRECT
    __local float a[BLOCK_MOST * DEPTH];
#endif
    __local float c[BLOCK_MOST * SPAN_MOST * PANEL];
#if W_HALF
    __local float b[DEPTH * PANEL];
#endif
    struct geometry geometry = {h, w, in, xh, xw, up_h, up_w, size, stride, pad};
    int first_row = get_group_id(1) * block;
    int first_panel = get_group_id(0) * span;
    block = min(block, rows - first_row);
    span = min(span, panels - first_panel);
    int tiles = (block + TALL - 1) / TALL;
    int all = size * size * in;

    for (int k = 0; k < all; k += DEPTH) {
        int depth = min(DEPTH, all - k);
#if DIRECT
        __global const float *a = x + (size_t)first_row * in + k;
        int a_row = in, last = block - TALL;
#else
        int a_row = DEPTH, last = (tiles - 1) * TALL;
        for (int r = 0; r < block; r++)
            gather(a + r * DEPTH, x, geometry, first_row + r, k, depth);
#endif
        for (int p = 0; p < span; p++) {
            __local float *sums = c + p * tiles * TALL * PANEL;
            __global const w_type *from = weights + ((size_t)(first_panel + p) * all + k) * PANEL;
#if W_HALF
            for (int i = 0; i < depth * PANEL; i += 8)
                vstore8(vload_half8(0, from + i), 0, b + i);
#else
            __global const float *b = from;
#endif
            __global const w_type *next =
                p + 1 < span ? from + (size_t)all * PANEL
                             : weights + ((size_t)first_panel * all + k + DEPTH) * PANEL;
            for (int t = 0; t < tiles; t++) {
                if (tiles > 16) /* fewer leave memory no time */
                    fetch_part(next, depth * PANEL * sizeof *next, t, tiles);
                multiply(sums + t * TALL * PANEL, PANEL, a + min(t * TALL, last) * a_row,
                         a_row, b, depth, k > 0);
            }
        }
    }

#if ACTIVATION == GEGLU
    enum { COLUMNS = WIDTH };
#else
    enum { COLUMNS = PANEL };
#endif
    struct target target = {y, row_bias, residual};
    for (int r = 0; r < block; r++) {
        size_t row = first_row + r;
        size_t n = row / (h * w);
        int shift = DIRECT && r >= (tiles - 1) * TALL ? tiles * TALL - block : 0;
        for (int p = 0; p < span; p++) {
            __local const float *sums = c + (p * tiles * TALL + r + shift) * PANEL;
            int column = (first_panel + p) * COLUMNS;
            for (int i = 0; i < COLUMNS && column + i < out; i += 8) {
                float8 value = vload8(0, sums + i);
                int at = (first_panel + p) * PANEL + i;
                if (bias)
                    value += vload8(0, bias + at);
#if ACTIVATION == GEGLU
                float8 gate = vload8(0, sums + WIDTH + i);
                if (bias)
                    gate += vload8(0, bias + at + WIDTH);
                value *= gelu8(gate);
#endif
                finish(target, value, row * out + column + i, n * out + column + i,
                       out - column - i);
            }
        }
    }
}
