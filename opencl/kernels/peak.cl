/* What the machine can do at most: fused multiply-adds and copying
 *
 *   fma_peak   a work-item keeps twelve vectors of LANES floats in named registers and
 *              multiplies and adds to each in turn: 24 LANES operations a round
 *   copy       work-item i copies 16 floats
 */
#if LANES == 16
typedef float16 vector;
#elif LANES == 8
typedef float8 vector;
#else
typedef float4 vector;
#endif
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

__kernel void fma_peak(__global float *out, int rounds, float factor)
{
#define BEGIN(i) vector v##i = (vector)(i + 1.0f);
#define STEP(i)  v##i = fma(v##i, f, f);
#define SUM(i)   total += v##i;
    vector f = (vector)(factor);
    EACH(BEGIN)
    for (int r = 0; r < rounds; r++) {
        EACH(STEP)
    }
    vector total = (vector)(0.0f);
    EACH(SUM)
    float4 four = total.s0123;
    out[get_global_id(0)] = four.x + four.y + four.z + four.w;
}

__kernel void copy(__global float16 *to, __global const float16 *from)
{
    size_t i = get_global_id(0);
    to[i] = from[i];
}
