/* What follows a matrix product: y = act(sum + row_bias) + residual
 *
 * Up to eight sums (bias already added) that lie side by side in a row of y, at `at`;
 * row_bias holds a row for each picture, read at `at_bias`. Both pointers may be NULL. With
 * ACTIVATION GEGLU the gate is applied before.
 */
struct target {
    __global y_type *y;
    __global const y_type *row_bias, *residual;
};

INLINE void finish(struct target t, float8 value, size_t at, size_t at_bias, int count)
{
    if (count >= 8) {
        if (t.row_bias)
            value += LOAD8_Y(t.row_bias, at_bias);
#if ACTIVATION != GEGLU
        value = activate8(value, ACTIVATION);
#endif
        if (t.residual)
            value += LOAD8_Y(t.residual, at);
        STORE8_Y(value, t.y, at);
        return;
    }
    float values[8];
    vstore8(value, 0, values);
    for (int i = 0; i < count; i++) {
        float v = values[i];
        if (t.row_bias)
            v += LOAD_Y(t.row_bias, at_bias + i);
#if ACTIVATION != GEGLU
        v = activate(v, ACTIVATION);
#endif
        if (t.residual)
            v += LOAD_Y(t.residual, at + i);
        STORE_Y(v, t.y, at + i);
    }
}
