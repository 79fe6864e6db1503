/* A vendor's matrix instruction in plain OpenCL C, to run everything around it on devices
 * without it. Value i of lane l of a fragment stands where the vendor's manual says:
 * A_AT(l, i) (row, k), B_AT (k, column), C_AT (row, column). Each lane writes what it holds
 * to these places of `scratch`; then each computes the sums it holds, k in order.
 */
INLINE int place_in(int pitch, int row, int column)
{
    return row * pitch + column;
}

INLINE sums multiply(sums sum, a_fragment a, b_fragment b, int lane, __local float *scratch)
{
    __local float *own = scratch + SUB(get_local_id(0)) * (HIGH * DEEP + DEEP * BROAD);
    __local float *other = own + HIGH * DEEP;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < A_VALUES; i++)
        own[place_in(DEEP, A_AT(lane, i))] = vload_half(i, (const half *)&a);
    for (int i = 0; i < B_VALUES; i++)
        other[place_in(BROAD, B_AT(lane, i))] = vload_half(i, (const half *)&b);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < (int)(sizeof sum / sizeof(float)); i++) {
        int at = place_in(BROAD, C_AT(lane, i));
        float value = ((float *)&sum)[i];
        for (int k = 0; k < DEEP; k++)
            value = fma(own[at / BROAD * DEEP + k], other[k * BROAD + at % BROAD], value);
        ((float *)&sum)[i] = value;
    }
    return sum;
}
