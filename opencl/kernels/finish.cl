/* What follows a product that a library computed
 *
 *   sums [rows][panel], bias [panel] or NULL, y [rows][out]; panel is out (2 out with GEGLU,
 *   four values and their four gates in turn) rounded up to eights
 *   work-item (i, row): columns 8 i .. 8 i + 7 of its row; `picture` rows share a row_bias
 *
 * Cost: one read of sums, one write of y.
 */
#include "common.cl"
#include "epilogue.cl"

__kernel void finish_rows(__global y_type *y, __global const float *sums,
                          __global const float *bias, __global const y_type *row_bias,
                          __global const y_type *residual, int panel, int out, int picture)
{
    int column = get_global_id(0) * 8;
    size_t row = get_global_id(1);
    struct target target = {y, row_bias, residual};
    float8 value = vload8(0, sums + row * panel + column);
    if (bias)
        value += vload8(0, bias + column);
    int most = 8;
#if ACTIVATION == GEGLU
    value.lo *= gelu8((float8)(value.hi, value.hi)).lo;
    column /= 2;
    most = 4;
#endif
    finish(target, value, row * out + column, row / picture * out + column,
           min(most, out - column));
}
