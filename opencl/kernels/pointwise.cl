/* Element by element: activations, add, scale with conversion, concatenation of channels
 *
 *   activation, add,   work-item i takes elements 8 i .. 8 i + 7 of `count`; the last one
 *   scale, affine      what is left
 *   modulate           work-item (k, place) takes channel k of a place; `row` holds scales
 *                      and then shifts for each batch row of `places` places
 *   concat             work-item (i, row) takes channels 8 i .. 8 i + 7 of its row of y,
 *                      of which the first ca come from a, the rest from b
 *
 * Cost: one read of each input and one write. y may be x (or a).
 */
#include "common.cl"

#ifdef ACTIVATION
__kernel void activation(__global y_type *y, __global const x_type *x, int count)
{
    int i = get_global_id(0) * 8;
    if (i + 8 <= count) {
        STORE8_Y(activate8(LOAD8_X(x, i), ACTIVATION), y, i);
    } else {
        for (; i < count; i++)
            STORE_Y(activate(LOAD_X(x, i), ACTIVATION), y, i);
    }
}

__kernel void modulate(__global y_type *y, __global const x_type *x,
                       __global const x_type *row, int c, int places)
{
    int k = get_global_id(0);
    int place = get_global_id(1);
    if (k >= c)
        return;
    row += (size_t)(place / places) * 2 * c;
    size_t i = (size_t)place * c + k;
    float shifted = fma(LOAD_X(x, i), 1 + LOAD_X(row, k), LOAD_X(row, c + k));
    STORE_Y(activate(shifted, ACTIVATION), y, i);
}
#else

__kernel void add(__global y_type *y, __global const x_type *a, __global const x_type *b,
                  int count)
{
    int i = get_global_id(0) * 8;
    if (i + 8 <= count) {
        STORE8_Y(LOAD8_X(a, i) + LOAD8_X(b, i), y, i);
    } else {
        for (; i < count; i++)
            STORE_Y(LOAD_X(a, i) + LOAD_X(b, i), y, i);
    }
}

__kernel void scale(__global y_type *y, __global const x_type *x, int count, float factor)
{
    int i = get_global_id(0) * 8;
    if (i + 8 <= count) {
        STORE8_Y(LOAD8_X(x, i) * factor, y, i);
    } else {
        for (; i < count; i++)
            STORE_Y(LOAD_X(x, i) * factor, y, i);
    }
}

__kernel void affine(__global y_type *y, __global const x_type *x, int count, float factor,
                     float offset)
{
    int i = get_global_id(0) * 8;
    if (i + 8 <= count) {
        STORE8_Y(fma(LOAD8_X(x, i), (float8)(factor), (float8)(offset)), y, i);
    } else {
        for (; i < count; i++)
            STORE_Y(fma(LOAD_X(x, i), factor, offset), y, i);
    }
}

__kernel void concat(__global y_type *y, __global const x_type *a,
                     __global const x_type *b, int ca, int cb)
{
    int c = get_global_id(0) * 8;
    size_t row = get_global_id(1);
    __global y_type *to = y + row * (ca + cb);
    a += row * ca;
    b += row * cb;
    if (c + 8 <= ca) {
        STORE8_Y(LOAD8_X(a, c), to, c);
    } else if (c >= ca && c + 8 <= ca + cb) {
        STORE8_Y(LOAD8_X(b, c - ca), to, c);
    } else {
        for (int end = min(c + 8, ca + cb); c < end; c++)
            STORE_Y(c < ca ? LOAD_X(a, c) : LOAD_X(b, c - ca), to, c);
    }
}
#endif
