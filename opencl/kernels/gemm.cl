/* Matrix product and convolution, one row and panel a work-item
 *
 *   x   [n][xh][xw][in], y [n][h][w][out], weights in panels of PANEL columns (pack.h)
 *   work-item (panel, row) computes PANEL columns of one row of y, eight at a time
 *
 * Cost: each row reads the whole panel; right for a few rows.
 */
#include "common.cl"

__kernel void gemm(__global y_type *y, __global const x_type *x,
                   __global const w_type *weights, __global const float *bias,
                   __global const y_type *row_bias, __global const y_type *residual,
                   int rows, int out, int h, int w, int in, int xh, int xw, int up_h,
                   int up_w, int size, int stride, int pad)
{
    int panel = get_global_id(0);
    int row = get_global_id(1);
    int n = row / (h * w);
    int oy = row / w % h;
    int ox = row % w;
    weights += (size_t)panel * size * size * in * PANEL;
    float8 sum[PANEL / 8];
    for (int i = 0; i < PANEL / 8; i++)
        sum[i] = bias ? vload8(i, bias + panel * PANEL) : 0;

    for (int tap = 0; tap < size * size; tap++) {
        int sy = oy * stride - pad + tap / size;
        int sx = ox * stride - pad + tap % size;
        if (sy < 0 || sy >= up_h || sx < 0 || sx >= up_w)
            continue;
        sy = (int)((long)sy * xh / up_h);
        sx = (int)((long)sx * xw / up_w);
        __global const x_type *from = x + (((size_t)n * xh + sy) * xw + sx) * in;
        for (int k = 0; k < in; k++) {
            float a = LOAD_X(from, k);
            size_t at = ((size_t)tap * in + k) * PANEL;
            for (int i = 0; i < PANEL / 8; i++)
                sum[i] = fma((float8)(a), LOAD8_W(weights, at + i * 8), sum[i]);
        }
    }

#if ACTIVATION == GEGLU
    enum { WIDTH = PANEL / 2 };
    for (int i = 0; i < WIDTH / 8; i++)
        sum[i] *= gelu8(sum[i + WIDTH / 8]);
#else
    enum { WIDTH = PANEL };
#endif
    float values[PANEL];
    for (int i = 0; i < WIDTH / 8; i++)
        vstore8(sum[i], i, values);
    for (int i = 0; i < WIDTH && panel * WIDTH + i < out; i++) {
        int column = panel * WIDTH + i;
        float value = values[i];
        if (row_bias)
            value += LOAD_Y(row_bias, (size_t)n * out + column);
#if ACTIVATION != GEGLU
        value = activate(value, ACTIVATION);
#endif
        if (residual)
            value += LOAD_Y(residual, (size_t)row * out + column);
        STORE_Y(value, y, (size_t)row * out + column);
    }
}
