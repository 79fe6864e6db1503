/* What every kernel file includes: storage types and the activations.
 *
 * Storage is float or half, chosen by macros -DA_HALF=1 for tensors of role A; arithmetic is
 * float. LOAD/STORE take one value, LOAD8/STORE8 eight that lie side by side, of any
 * alignment. NONE .. SOFT_CLAMP are enum activation of ops.h.
 */
/* PoCL leaves plain inline functions as calls when they are used twice. */
#define INLINE inline __attribute__((always_inline))

#define LOAD_0(p, i)  ((p)[i])
#define LOAD_1(p, i)  vload_half((size_t)(i), p)
/* PoCL makes vload8 of four loads, and what follows is then computed in quarters. */
#if defined(__x86_64__) || defined(__aarch64__)
typedef float8 __attribute__((aligned(4))) float8_anywhere;
#define LOAD8_0(p, i) (*(const __global float8_anywhere *)((p) + (i)))
#else
#define LOAD8_0(p, i) vload8(0, (p) + (i))
#endif
#define LOAD8_1(p, i) vload_half8(0, (p) + (i))
#define STORE_0(v, p, i)  ((p)[i] = (v))
#define STORE_1(v, p, i)  vstore_half_rte(v, (size_t)(i), p)
#define STORE8_0(v, p, i) vstore8(v, 0, (p) + (i))
#define STORE8_1(v, p, i) vstore_half8_rte(v, 0, (p) + (i))
#define TYPE_0 float
#define TYPE_1 half
#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

#ifdef X_HALF /* inputs */
typedef JOIN(TYPE_, X_HALF) x_type;
#define LOAD_X(p, i)  JOIN(LOAD_, X_HALF)(p, i)
#define LOAD8_X(p, i) JOIN(LOAD8_, X_HALF)(p, i)

/* Eight values, zeros from `count` on. */
INLINE float8 load_some(__global const x_type *x, int count)
{
    if (count >= 8)
        return LOAD8_X(x, 0);
    float values[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < count; i++)
        values[i] = LOAD_X(x, i);
    return vload8(0, values);
}
#endif
#ifdef W_HALF /* weights */
typedef JOIN(TYPE_, W_HALF) w_type;
#define LOAD_W(p, i)  JOIN(LOAD_, W_HALF)(p, i)
#define LOAD8_W(p, i) JOIN(LOAD8_, W_HALF)(p, i)
#endif
#ifdef Y_HALF /* outputs */
typedef JOIN(TYPE_, Y_HALF) y_type;
#define LOAD_Y(p, i)      JOIN(LOAD_, Y_HALF)(p, i)
#define LOAD8_Y(p, i)     JOIN(LOAD8_, Y_HALF)(p, i)
#define STORE_Y(v, p, i)  JOIN(STORE_, Y_HALF)(v, p, i)
#define STORE8_Y(v, p, i) JOIN(STORE8_, Y_HALF)(v, p, i)

/* The first `count` of eight values, or all. */
INLINE void store_some(float8 value, __global y_type *y, int count)
{
    if (count >= 8) {
        STORE8_Y(value, y, 0);
        return;
    }
    float values[8];
    vstore8(value, 0, values);
    for (int i = 0; i < count; i++)
        STORE_Y(values[i], y, i);
}
#endif

INLINE float total8(float8 v)
{
    float4 a = v.lo + v.hi;
    return (a.x + a.z) + (a.y + a.w);
}

#define NONE       0
#define SILU       1
#define GELU       2
#define QUICK_GELU 3
#define GEGLU      4
#define GELU_TANH  5
#define MISH       6
#define RELU       7
#define SOFT_CLAMP 8

#define LOG2_E 1.44269504f
/* 1.5 2^23: a small number added to it is rounded to an integer, which its lowest bits hold. */
#define ROUNDER 12582912.0f

/* Defines a function that returns 2^(n + f) of t = n + ROUNDER and |f| <= 1/2: n moves from t's
 * lowest bits into the exponent. 2^f is the polynomial with the least largest relative error
 * among those of its degree that are 1 at 0: 9.2e-8, and 2e-7 with rounding. Its terms are
 * taken in pairs, a chain of five would keep the processor waiting. */
#define DEFINE_EXP2(name, vector, as_vector, as_int)                                     \
    INLINE vector name(vector t, vector f)                                               \
    {                                                                                    \
        vector f2 = f * f;                                                               \
        vector high = fma(f, (vector)(1.32647272e-3f), (vector)(9.67151269e-3f));        \
        vector middle = fma(f, (vector)(5.55073374e-2f), (vector)(0.240222421f));        \
        vector low = fma(f, (vector)(0.693146978f), (vector)(1.0f));                     \
        vector p = fma(fma(high, f2, middle), f2, low);                                  \
        return as_vector(as_int(p) + (as_int(t) << 23));                                 \
    }
DEFINE_EXP2(exp2_8, float8, as_float8, as_int8)

/* exp(rate x) for eight values, `rate` a constant. Relative error below 2e-7 and 6e-8 |rate x|.
 * Beyond 87 it is that of 87. */
INLINE float8 exp8(float8 x, float rate)
{
    float8 most = 87.0f / fabs(rate);
    x = x > -most ? x : -most;
    x = x < most ? x : most;
    float8 t = fma(x, (float8)(rate * LOG2_E), (float8)(ROUNDER));
    return exp2_8(t, fma(x, (float8)(rate * LOG2_E), ROUNDER - t));
}

/* 0.5 x (1 + erf(x / sqrt 2)), erf by Abramowitz and Stegun 7.1.26 (error below 1.5e-7). */
INLINE float8 gelu8(float8 x)
{
    float8 z = fabs(x) * 0.70710678f;
    float8 t = 1.0f / fma(z, (float8)(0.3275911f), (float8)(1.0f));
    float8 p = (float8)(1.061405429f);
    p = fma(p, t, (float8)(-1.453152027f));
    p = fma(p, t, (float8)(1.421413741f));
    p = fma(p, t, (float8)(-0.284496736f));
    p = fma(p, t, (float8)(0.254829592f));
    float8 tail = p * t * exp8(z * z, -1.0f); /* 1 - erf(z) */
    return 0.5f * x * select(tail, 2.0f - tail, x >= 0.0f);
}

INLINE float8 silu8(float8 x)
{
    return x / (1.0f + exp8(x, -1.0f));
}

/* tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2); beyond 20 it is 1. */
INLINE float8 mish8(float8 x)
{
    float8 e = exp8(fmin(x, (float8)(20.0f)), 1.0f);
    float8 n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
}

INLINE float8 activate8(float8 x, int activation)
{
    if (activation == SILU)
        return silu8(x);
    if (activation == GELU)
        return gelu8(x);
    if (activation == QUICK_GELU)
        return x / (1.0f + exp8(x, -1.702f));
    if (activation == GELU_TANH) /* 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)) */
        return x / (1.0f + exp8(x * fma(x * x, (float8)(0.044715f), 1.0f), -1.595769122f));
    if (activation == MISH)
        return mish8(x);
    if (activation == RELU)
        return fmax(x, (float8)(0.0f));
    if (activation == SOFT_CLAMP)
        return 3.0f * tanh(x / 3.0f);
    return x;
}

INLINE float activate(float x, int activation)
{
    return activation == NONE ? x : activate8((float8)(x), activation).s0;
}
