/* A register of CPU kernels: WIDTH floats, 8 of AVX2 or 16 of AVX-512. */
#if WIDTH == 16
typedef float16 vector;
#define LOADV(p)     vload16(0, p)
#define STOREV(v, p) vstore16(v, 0, p)
#define AS_VECTOR    as_float16
#define AS_INT       as_int16
#else
typedef float8 vector;
#define LOADV(p)     vload8(0, p)
#define STOREV(v, p) vstore8(v, 0, p)
#define AS_VECTOR    as_float8
#define AS_INT       as_int8
#endif
#define HIGHER(a, b) ((a) > (b) ? (a) : (b)) /* one instruction, unlike max() */

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
