/* 3x3 convolution for CPUs by Winograd's F(4x4, 3x3): y = act(conv(x) + bias + row_bias) +
 * residual. 36 products of tiles x in by in x out take the place of 144.
 *
 *     V = B' d B     of each 6x6 patch d of x and channel, patches 4 apart
 *     M = V U        for each of the 36 points, sums over channels (U: winograd.h)
 *     y = A' M A     4x4 pixels of each tile
 *
 * Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.1, with
 * the points 0, 1, -1, 2, -2 and infinity.
 *
 *   x [n][xh][xw][in], enlarged to up_h x up_w; y [n][h][w][out]; tile = (n, ty, tx)
 *   weights [panel][9][in][PANEL] (pack.h), u [36][panel][in][PANEL]
 *
 * winograd_weights makes U = G g G' of each filter g, in double precision.
 *
 * A work-group is one work-item, has a part of `scratch` for V [36][band][in] and
 * M [36][band][columns] and takes every num_groups-th band of tiles. A plane of V or M is 64
 * bytes longer than its rows, else all 36 would fall on the same lines of the cache. Channels
 * are summed in order for every tile, so that a tile's bytes depend on nothing but the tile.
 * Cost: 72 tiles in out operations, U read once a band.
 */
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#include "common.cl"
#include "epilogue.cl"

#define A_SPACE __global
#define C_SPACE __global
#define B_SPACE __global
#include "tile_cpu.cl"

enum { SIDE = 6, POINTS = SIDE * SIDE, TILE = 4, DEPTH = 320, SPARE = 16 };

/* B' of six values. */
#define INTO(r, a, b, c, d, e, f)                                                        \
    {                                                                                    \
        float8 even = fma(c, (float8)(-4.0f), e), odd = fma(b, (float8)(-4.0f), d);      \
        float8 near = e - c, far = 2.0f * (d - b);                                       \
        r[0] = fma(a, (float8)(4.0f), fma(c, (float8)(-5.0f), e));                       \
        r[1] = even + odd;                                                               \
        r[2] = even - odd;                                                               \
        r[3] = near + far;                                                               \
        r[4] = near - far;                                                               \
        r[5] = fma(b, (float8)(4.0f), fma(d, (float8)(-5.0f), f));                       \
    }

/* A' of six values. */
#define OUT_OF(r, m)                                                                     \
    {                                                                                    \
        float8 p = m[1] + m[2], q = m[1] - m[2], s = m[3] + m[4], t = m[3] - m[4];       \
        r[0] = m[0] + p + s;                                                             \
        r[1] = fma(t, (float8)(2.0f), q);                                                \
        r[2] = fma(s, (float8)(4.0f), p);                                                \
        r[3] = fma(t, (float8)(8.0f), q) + m[5];                                         \
    }

/* G of three values. */
#define G_OF(r, a, b, c)                                                                 \
    {                                                                                    \
        double8 ends = (a + c) * (1.0 / 6), wide = a * (1.0 / 24) + c * (1.0 / 6);       \
        double8 middle = b * (1.0 / 6);                                                  \
        r[0] = a * 0.25;                                                                 \
        r[1] = -ends - middle;                                                           \
        r[2] = middle - ends;                                                            \
        r[3] = wide + 0.5 * middle;                                                      \
        r[4] = wide - 0.5 * middle;                                                      \
        r[5] = c;                                                                        \
    }

/* Work-item (channel, panel). */
__kernel void winograd_weights(__global float *u, __global const w_type *weights, int in,
                               int panels)
{
    int channel = get_global_id(0), panel = get_global_id(1);
    size_t tap = (size_t)in * PANEL, plane = panels * tap;
    weights += panel * 9 * tap + channel * PANEL;
    u += panel * tap + channel * PANEL;
    for (int c = 0; c < PANEL; c += 8) {
        double8 half_way[3][SIDE];
        for (int x = 0; x < 3; x++) {
            double8 a = convert_double8(LOAD8_W(weights, x * tap + c));
            double8 b = convert_double8(LOAD8_W(weights, (3 + x) * tap + c));
            double8 d = convert_double8(LOAD8_W(weights, (6 + x) * tap + c));
            G_OF(half_way[x], a, b, d)
        }
        for (int i = 0; i < SIDE; i++) {
            double8 r[SIDE];
            G_OF(r, half_way[0][i], half_way[1][i], half_way[2][i])
            for (int j = 0; j < SIDE; j++)
                vstore8(convert_float8(r[j]), 0, u + (i * SIDE + j) * plane + c);
        }
    }
}

/* Where the six rows (or columns) of a patch lie in x; -1: outside, zero. */
INLINE void places(int *place, int first, int up, int size)
{
    for (int i = 0; i < SIDE; i++) {
        int at = first + i;
        place[i] = at < 0 || at >= up ? -1 : up == size ? at : (int)((long)at * size / up);
    }
}

INLINE void transform_in(__global float *v, size_t plane, __global const x_type *x,
                         const int *rows, const int *columns, int xw, int in)
{
    for (int c = 0; c < in; c += 8) {
        float8 half_way[SIDE][SIDE];
        for (int j = 0; j < SIDE; j++) {
            float8 d[SIDE];
            for (int i = 0; i < SIDE; i++)
                d[i] = rows[i] < 0 || columns[j] < 0
                           ? (float8)(0.0f)
                           : LOAD8_X(x, ((size_t)rows[i] * xw + columns[j]) * in + c);
            INTO(half_way[j], d[0], d[1], d[2], d[3], d[4], d[5])
        }
        for (int i = 0; i < SIDE; i++) {
            float8 r[SIDE];
            INTO(r, half_way[0][i], half_way[1][i], half_way[2][i], half_way[3][i],
                 half_way[4][i], half_way[5][i])
            for (int j = 0; j < SIDE; j++)
                vstore8(r[j], 0, v + (i * SIDE + j) * plane + c);
        }
    }
}

/* The 4x4 sums of eight columns, from M at `m`. */
INLINE void transform_out(float8 sums[TILE][TILE], __global const float *m, size_t plane)
{
    float8 half_way[SIDE][TILE];
    for (int j = 0; j < SIDE; j++) {
        float8 d[SIDE];
        for (int i = 0; i < SIDE; i++)
            d[i] = vload8(0, m + (i * SIDE + j) * plane);
        OUT_OF(half_way[j], d)
    }
    for (int i = 0; i < TILE; i++) {
        float8 d[SIDE];
        for (int j = 0; j < SIDE; j++)
            d[j] = half_way[j][i];
        OUT_OF(sums[i], d)
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void winograd(__global y_type *y, __global const x_type *x, __global const float *u,
              __global const float *bias, __global const y_type *row_bias,
              __global const y_type *residual, __global float *scratch, int tiles, int out,
              int h, int w, int in, int xh, int xw, int up_h, int up_w, int panels, int band)
{
    int across = (w + TILE - 1) / TILE, down = (h + TILE - 1) / TILE;
    int columns = panels * PANEL;
    size_t v_plane = (size_t)band * in + SPARE, m_plane = (size_t)band * columns + SPARE;
    __global float *v = scratch + get_group_id(0) * POINTS * (v_plane + m_plane);
    __global float *m = v + POINTS * v_plane;
    struct target target = {y, row_bias, residual};

    for (int first = get_group_id(0) * band; first < tiles;
         first += (int)get_num_groups(0) * band) {
        int count = min(band, tiles - first);
        int full = (count + TALL - 1) / TALL * TALL;
        for (int t = 0; t < count; t++) {
            int tile = first + t, rows[SIDE], cols[SIDE];
            places(rows, tile / across % down * TILE - 1, up_h, xh);
            places(cols, tile % across * TILE - 1, up_w, xw);
            transform_in(v + (size_t)t * in, v_plane,
                         x + (size_t)(tile / (across * down)) * xh * xw * in, rows, cols, xw,
                         in);
        }
        for (int p = 0; p < POINTS; p++)
            for (int i = count * in; i < full * in; i += 8)
                vstore8((float8)(0.0f), 0, v + p * v_plane + i);

        for (int p = 0; p < POINTS; p++)
            for (int k = 0; k < in; k += DEPTH)
                for (int panel = 0; panel < panels; panel++)
                    for (int t = 0; t < full; t += TALL)
                        multiply(m + p * m_plane + (size_t)t * columns + panel * PANEL,
                                 columns, v + p * v_plane + (size_t)t * in + k, in,
                                 u + (((size_t)p * panels + panel) * in + k) * PANEL,
                                 min((int)DEPTH, in - k), k > 0);

        for (int t = 0; t < count; t++) {
            int tile = first + t, n = tile / (across * down);
            int top = tile / across % down * TILE, left = tile % across * TILE;
            for (int c = 0; c < out; c += 8) {
                float8 sums[TILE][TILE];
                transform_out(sums, m + (size_t)t * columns + c, m_plane);
                float8 more = bias ? vload8(0, bias + c) : (float8)(0.0f);
                for (int i = 0; i < min((int)TILE, h - top); i++)
                    for (int j = 0; j < min((int)TILE, w - left); j++)
                        finish(target, sums[i][j] + more,
                               (((size_t)n * h + top + i) * w + left + j) * out + c,
                               (size_t)n * out + c, out - c);
            }
        }
    }
}
