/* AMD's matrix instructions, fragments as in the ISA manuals, of lane l:
 *
 * -DMATRIX_WMMA, RDNA3 (gfx11), waves of 32: V_WMMA_F32_16X16X16_F16
 *   a   row l % 16, k 0 .. 15: both halves of a wave hold the same
 *   b   column l % 16, k 0 .. 15, likewise
 *   c   component i: row 2 i + l / 16, column l % 16
 * -DMATRIX_MFMA, CDNA (gfx908, gfx90a, gfx94), waves of 64: V_MFMA_F32_32X32X8_F16
 *   a   row l % 32, k 4 (l / 32) .. + 3
 *   b   column l % 32, the same k
 *   c   component i: row 8 (i / 4) + 4 (l / 32) + i % 4, column l % 32
 */
#ifdef MATRIX_WMMA
#define LANES 32
#define HIGH  16
#define BROAD 16
#define DEEP  16

typedef uint8 a_fragment;
typedef uint8 b_fragment;
typedef float8 sums;

INLINE a_fragment load_a(__local const uint *a, int pitch, int lane)
{
    __local const uint4 *from = (__local const uint4 *)(a + lane % 16 * pitch);
    return (uint8)(from[0], from[1]);
}

INLINE b_fragment load_b(__local const uint *b, int pitch, int lane)
{
    b += lane % 16;
    return (uint8)(b[0], b[pitch], b[2 * pitch], b[3 * pitch], b[4 * pitch], b[5 * pitch],
                   b[6 * pitch], b[7 * pitch]);
}

INLINE void put_sums(__local float *to, int pitch, sums sum, int lane)
{
    to += lane / 16 * pitch + lane % 16;
    to[0] = sum.s0;
    to[2 * pitch] = sum.s1;
    to[4 * pitch] = sum.s2;
    to[6 * pitch] = sum.s3;
    to[8 * pitch] = sum.s4;
    to[10 * pitch] = sum.s5;
    to[12 * pitch] = sum.s6;
    to[14 * pitch] = sum.s7;
}

INLINE sums load_rows(__local const float *from, int lane)
{
    from += lane / 16;
    return (float8)(from[0], from[2], from[4], from[6], from[8], from[10], from[12], from[14]);
}
#else
#define LANES 64
#define HIGH  32
#define BROAD 32
#define DEEP  8

typedef uint2 a_fragment;
typedef uint2 b_fragment;
typedef float16 sums;

INLINE a_fragment load_a(__local const uint *a, int pitch, int lane)
{
    return *(__local const uint2 *)(a + lane % 32 * pitch + lane / 32 * 2);
}

INLINE b_fragment load_b(__local const uint *b, int pitch, int lane)
{
    b += lane / 32 * 2 * pitch + lane % 32;
    return (uint2)(b[0], b[pitch]);
}

INLINE void put_four(__local float *to, int pitch, float4 sum)
{
    to[0] = sum.x;
    to[pitch] = sum.y;
    to[2 * pitch] = sum.z;
    to[3 * pitch] = sum.w;
}

INLINE void put_sums(__local float *to, int pitch, sums sum, int lane)
{
    to += lane / 32 * 4 * pitch + lane % 32;
    put_four(to, pitch, sum.s0123);
    put_four(to + 8 * pitch, pitch, sum.s4567);
    put_four(to + 16 * pitch, pitch, sum.s89ab);
    put_four(to + 24 * pitch, pitch, sum.scdef);
}

INLINE sums load_rows(__local const float *from, int lane)
{
    __local const float4 *four = (__local const float4 *)(from + lane / 32 * 4);
    return (float16)(four[0], four[2], four[4], four[6]);
}
#endif

#ifndef EMULATED
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
INLINE sums multiply(sums sum, a_fragment a, b_fragment b, int lane, __local float *scratch)
{
#ifdef MATRIX_WMMA
    return __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(as_half16(a), as_half16(b), sum);
#else
    return __builtin_amdgcn_mfma_f32_32x32x8f16(as_half4(a), as_half4(b), sum, 0, 0, 0);
#endif
}
#elif defined MATRIX_WMMA
#define A_VALUES 16
#define B_VALUES 16
#define A_AT(lane, i) (lane) % 16, (i)
#define B_AT(lane, i) (i), (lane) % 16
#define C_AT(lane, i) 2 * (i) + (lane) / 16, (lane) % 16
#else
#define A_VALUES 4
#define B_VALUES 4
#define A_AT(lane, i) (lane) % 32, (lane) / 32 * 4 + (i)
#define B_AT(lane, i) (lane) / 32 * 4 + (i), (lane) % 32
#define C_AT(lane, i) (i) / 4 * 8 + (lane) / 32 * 4 + (i) % 4, (lane) % 32
#endif
