/* NVIDIA's tensor cores, from compute capability 8.0: mma.sync.m16n8k16 of halves with sums
 * in f32. Fragments as drawn in the PTX ISA, "Matrix Fragments for mma.m16n8k16 with
 * floating point type": of lane l, g = l / 4, t = l % 4,
 *
 *   a   pairs (row g, k 2 t), (g + 8, 2 t), (g, 2 t + 8), (g + 8, 2 t + 8)
 *   b   pairs (k 2 t, column g), (2 t + 8, g)
 *   c   (row g, columns 2 t and 2 t + 1), (g + 8, the same)
 *
 * A warp is 32 items in a row, as its work-groups have one dimension.
 */
#define LANES 32
#define HIGH  16
#define BROAD 8
#define DEEP  16

typedef uint4 a_fragment;
typedef uint2 b_fragment;
typedef float4 sums;

INLINE a_fragment load_a(__local const uint *a, int pitch, int lane)
{
    __local const uint *upper = a + lane / 4 * pitch + lane % 4;
    __local const uint *lower = upper + 8 * pitch;
    return (uint4)(upper[0], lower[0], upper[4], lower[4]);
}

INLINE b_fragment load_b(__local const uint *b, int pitch, int lane)
{
    __local const uint *from = b + lane % 4 * pitch + lane / 4;
    return (uint2)(from[0], from[4 * pitch]);
}

INLINE void put_sums(__local float *to, int pitch, sums sum, int lane)
{
    to += lane / 4 * pitch + lane % 4 * 2;
    vstore2(sum.lo, 0, to);
    vstore2(sum.hi, 0, to + 8 * pitch);
}

INLINE sums load_rows(__local const float *from, int lane)
{
    from += lane / 4;
    return (float4)((float2)(from[0]), (float2)(from[8]));
}

#ifndef EMULATED
INLINE sums multiply(sums sum, a_fragment a, b_fragment b, int lane, __local float *scratch)
{
    __asm__ volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(sum.x), "+f"(sum.y), "+f"(sum.z), "+f"(sum.w)
                     : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
    return sum;
}
#else
#define A_VALUES 8
#define B_VALUES 4
#define A_AT(lane, i) (lane) / 4 + ((i) / 2 % 2 ? 8 : 0), (lane) % 4 * 2 + (i) % 2 + (i) / 4 * 8
#define B_AT(lane, i) (lane) % 4 * 2 + (i) % 2 + (i) / 2 * 8, (lane) / 4
#define C_AT(lane, i) (lane) / 4 + (i) / 2 * 8, (lane) % 4 * 2 + (i) % 2
#endif
