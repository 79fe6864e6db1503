#include "opencl/half.h"

#include <stdbool.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Exponent and fraction move into float's place; a multiplication by 2^112 corrects the
 * bias and normalises subnormals at once. Without branches, for loops over many. */
static inline float widen(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t rest = (uint32_t)(half & 0x7fff) << 13;
    uint32_t finite = to_bits(from_bits(rest) * 0x1p112f);
    bool is_finite = rest < 0x0f800000; /* else infinity, NaN */
    return from_bits(sign | (is_finite ? finite : 0x7f800000 | rest));
}

static inline uint16_t narrow(float value)
{
    uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    /* below 2^-14 adding 1/2 leaves multiples of 2^-24 */
    uint32_t small = to_bits(from_bits(bits) + 0.5f) - 0x3f000000;
    uint32_t odd = bits >> 13 & 1;
    uint32_t half = (bits - 0x38000000 + 0xfff + odd) >> 13;
    half = bits < 0x38800000 ? small : half;
    half = bits >= 0x477ff000 ? 0x7c00 : half; /* 65520 and more */
    half = bits > 0x7f800000 ? 0x7e00 : half;
    return (uint16_t)(sign | half);
}

float half_to_float(uint16_t half)
{
    return widen(half);
}

uint16_t half_from_float(float value)
{
    return narrow(value);
}

void halves_to_floats(float *into, const uint16_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        into[i] = widen(from[i]);
}

void halves_from_floats(uint16_t *into, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        into[i] = narrow(from[i]);
}
