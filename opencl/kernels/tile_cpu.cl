/* The register tile of CPU kernels: c[TALL][PANEL] += a[TALL][depth] b[depth][PANEL]
 *
 *   PANEL = 2 WIDTH columns, WIDTH floats a register; TALL x 2 registers of sums, two of b
 *   and one of a: 6 x 16 fills the 16 registers of AVX2, 12 x 32 those of AVX-512
 *
 *                  b[k]  |left ....|right ...|
 *        a[0][k]         | c00     | c01     |
 *        a[1][k]         | c10     | c11     |
 *
 * Every sum has a name of its own: an array of vectors would be spilled to memory. Columns
 * of b lie side by side; rows of a and c have any distance. B_SPACE is b's address space,
 * A_SPACE that of a and c (local unless said).
 * Without `more`, c is not read: c = a b.
 * Cost: 2 TALL multiply-adds for TALL + 2 loads a step.
 *
 * multiply_narrow does the same for 12 rows by WIDTH columns.
 */
#ifndef A_SPACE
#define A_SPACE __local
#endif
#if WIDTH == 16
#define TALL 12
typedef float16 vector;
#define LOADV(p)     vload16(0, p)
#define STOREV(v, p) vstore16(v, 0, p)
#define EACH_ROW     EACH_12
#define AS_VECTOR    as_float16
#define AS_INT       as_int16
#define TOTAL(v)     total8((v).lo + (v).hi)
#define HIGHEST(v)   highest8(HIGHER((v).lo, (v).hi))
#else
#define TALL 6
typedef float8 vector;
#define LOADV(p)     vload8(0, p)
#define STOREV(v, p) vstore8(v, 0, p)
#define EACH_ROW     EACH_6
#define AS_VECTOR    as_float8
#define AS_INT       as_int8
#define TOTAL(v)     total8(v)
#define HIGHEST(v)   highest8(v)
#endif
#define HIGHER(a, b) ((a) > (b) ? (a) : (b)) /* one instruction, unlike max() */
#define EACH_6(DO)  DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define EACH_12(DO) EACH_6(DO) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define PANEL       (2 * WIDTH)

INLINE void multiply(A_SPACE float *c, int c_row, A_SPACE const float *a, int a_row,
                     B_SPACE const float *b, int depth, int more)
{
#define BEGIN(r)                                                                         \
    vector left##r = more ? LOADV(c + r * c_row) : (vector)(0.0f);                       \
    vector right##r = more ? LOADV(c + r * c_row + WIDTH) : (vector)(0.0f);
#define STEP(r)                                                                          \
    {                                                                                    \
        vector v = (vector)(a[r * a_row + k]);                                           \
        left##r = fma(v, b_left, left##r);                                               \
        right##r = fma(v, b_right, right##r);                                            \
    }
#define END(r)                                                                           \
    STOREV(left##r, c + r * c_row);                                                      \
    STOREV(right##r, c + r * c_row + WIDTH);
    EACH_ROW(BEGIN)
#pragma unroll 4
    for (int k = 0; k < depth; k++) {
        vector b_left = LOADV(b + k * PANEL), b_right = LOADV(b + k * PANEL + WIDTH);
        EACH_ROW(STEP)
    }
    EACH_ROW(END)
#undef BEGIN
#undef STEP
#undef END
}

INLINE void multiply_narrow(A_SPACE float *c, int c_row, A_SPACE const float *a, int a_row,
                            B_SPACE const float *b, int depth, int more)
{
#define BEGIN(r) vector sum##r = more ? LOADV(c + r * c_row) : (vector)(0.0f);
#define STEP(r)  sum##r = fma((vector)(a[r * a_row + k]), b_all, sum##r);
#define END(r)   STOREV(sum##r, c + r * c_row);
    EACH_12(BEGIN)
#pragma unroll 4
    for (int k = 0; k < depth; k++) {
        vector b_all = LOADV(b + k * WIDTH);
        EACH_12(STEP)
    }
    EACH_12(END)
#undef BEGIN
#undef STEP
#undef END
}

INLINE float highest8(float8 v)
{
    float4 a = HIGHER(v.lo, v.hi);
    return fmax(fmax(a.x, a.z), fmax(a.y, a.w));
}

/* Plain rows of values in and out of local memory. */
INLINE void clear(__local float *to, int count)
{
    int i = 0;
    for (; i + 8 <= count; i += 8)
        vstore8((float8)(0), 0, to + i);
    for (; i < count; i++)
        to[i] = 0;
}

INLINE void copy(__local float *to, __global const x_type *from, int count)
{
    int i = 0;
    for (; i + 8 <= count; i += 8)
        vstore8(LOAD8_X(from, i), 0, to + i);
    for (; i < count; i++)
        to[i] = LOAD_X(from, i);
}
