/* Intel's matrix engines (DPAS) by cl_intel_subgroup_matrix_multiply_accumulate, for
 * sub-groups of 8 (Arc) and 16 (Data Center Max, Battlemage), the smallest of the device:
 * -DMATRIX_INTEL=8|16. Fragments as the extension's text has them, of lane l:
 *
 *   a   component r: of row r the pair k 2 l (8 lanes), or the one value k l (16 lanes)
 *   b   component i: of column l the pair k 2 i
 *   c   component r: row r, column l
 */
#define LANES MATRIX_INTEL
#define HIGH  8
#define BROAD LANES
#define DEEP  16

typedef int8 b_fragment;
typedef float8 sums;
#if LANES == 8
typedef int8 a_fragment;

INLINE a_fragment load_a(__local const uint *a, int pitch, int lane)
{
    __local const int *from = (__local const int *)a + lane;
    return (int8)(from[0], from[pitch], from[2 * pitch], from[3 * pitch], from[4 * pitch],
                  from[5 * pitch], from[6 * pitch], from[7 * pitch]);
}
#else
typedef short8 a_fragment;

INLINE a_fragment load_a(__local const uint *a, int pitch, int lane)
{
    __local const short *from = (__local const short *)a + lane;
    pitch *= 2;
    return (short8)(from[0], from[pitch], from[2 * pitch], from[3 * pitch],
                    from[4 * pitch], from[5 * pitch], from[6 * pitch], from[7 * pitch]);
}
#endif

INLINE b_fragment load_b(__local const uint *b, int pitch, int lane)
{
    __local const int *from = (__local const int *)b + lane;
    return (int8)(from[0], from[pitch], from[2 * pitch], from[3 * pitch], from[4 * pitch],
                  from[5 * pitch], from[6 * pitch], from[7 * pitch]);
}

INLINE void put_sums(__local float *to, int pitch, sums sum, int lane)
{
    to += lane;
    to[0] = sum.s0;
    to[pitch] = sum.s1;
    to[2 * pitch] = sum.s2;
    to[3 * pitch] = sum.s3;
    to[4 * pitch] = sum.s4;
    to[5 * pitch] = sum.s5;
    to[6 * pitch] = sum.s6;
    to[7 * pitch] = sum.s7;
}

INLINE sums load_rows(__local const float *from, int lane)
{
    return vload8(0, from);
}

#ifndef EMULATED
#undef SUB_GROUP
#undef LANE
#undef SUB
#define SUB_GROUP  __attribute__((intel_reqd_sub_group_size(LANES)))
#define LANE(item) ((int)get_sub_group_local_id())
#define SUB(item)  ((int)get_sub_group_id())
#ifndef cl_intel_subgroup_matrix_multiply_accumulate /* of compilers that know no name of it */
float8 __attribute__((overloadable))
intel_sub_group_f16_f16_matrix_mad_k16(a_fragment a, int8 b, float8 sum);
#endif

INLINE sums multiply(sums sum, a_fragment a, b_fragment b, int lane, __local float *scratch)
{
    return intel_sub_group_f16_f16_matrix_mad_k16(a, b, sum);
}
#else
#define A_VALUES (128 / LANES)
#define B_VALUES 16
#define A_AT(lane, i)                                                                  \
    (i) / (A_VALUES / 8), (lane) * (A_VALUES / 8) + (i) % (A_VALUES / 8)
#define B_AT(lane, i) (i), (lane)
#define C_AT(lane, i) (i), (lane)
#endif
