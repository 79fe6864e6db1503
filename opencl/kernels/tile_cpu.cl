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
 * of b lie side by side; rows of a and c have any distance. A_SPACE, B_SPACE and C_SPACE are
 * their address spaces.
 * Without `more`, c is not read: c = a b.
 * Cost: 2 TALL multiply-adds for TALL + 2 loads a step.
 */
#include "vector_cpu.cl"
#if WIDTH == 16
#define TALL     12
#define EACH_ROW EACH_12
#else
#define TALL     6
#define EACH_ROW EACH_6
#endif
#define EACH_6(DO)  DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define EACH_12(DO) EACH_6(DO) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define PANEL       (2 * WIDTH)

INLINE void multiply(C_SPACE float *c, int c_row, A_SPACE const float *a, int a_row,
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

/* PoCL does nothing in prefetch(). */
#ifdef __has_builtin
#if __has_builtin(__builtin_prefetch)
#define FETCH(p) __builtin_prefetch((const void *)(uintptr_t)(p), 0, 2)
#endif
#endif
#ifndef FETCH
#define FETCH(p) prefetch(p, 64)
#endif

/* Asks the second-level cache for one of `parts` of so many bytes: those of b that come next,
 * a part with each tile. They may lie beyond its end. */
INLINE void fetch_part(__global const void *next, int bytes, int part, int parts)
{
    int lines = (bytes + 63) / 64, share = (lines + parts - 1) / parts;
    for (int i = part * share; i < min(lines, (part + 1) * share); i++)
        FETCH((__global const char *)next + i * 64);
}
