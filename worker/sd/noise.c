/* A seed names a picture only if its noise is the same everywhere, to the last bit.
 *
 * PyTorch's AVX2 code works on eight lanes that never meet, so each lane is written here as
 * plain floats: the same operations in the same order, each fused multiply-add spelled out,
 * and the compiler forbidden to fuse any other (CMakeLists.txt). Its polynomials are those
 * of Cephes (logf, sinf, cosf); the constants are Cephes' too.
 */
#include "worker/sd/noise.h"

#include <math.h>
#include <string.h>

enum { WORDS = 624, SHIFT = 397, BLOCK = 16 };

void noise_seed(struct noise *self, uint64_t seed)
{
    uint32_t word = (uint32_t)seed;
    for (uint32_t i = 0; i < WORDS; i++) {
        self->state[i] = word;
        word = 1812433253u * (word ^ word >> 30) + i + 1;
    }
    self->next = WORDS;
    self->has_cached = self->is_philox = false;
}

void noise_seed_philox(struct noise *self, uint64_t seed)
{
    *self = (struct noise){.is_philox = true, .key = seed};
}

/* Matsumoto and Nishimura, "Mersenne Twister", 1998. */
static void generate(struct noise *self)
{
    uint32_t *x = self->state;
    for (size_t i = 0; i < WORDS; i++) {
        uint32_t pair = (x[i] & 0x80000000u) | (x[(i + 1) % WORDS] & 0x7fffffffu);
        x[i] = x[(i + SHIFT) % WORDS] ^ pair >> 1 ^ (pair & 1 ? 0x9908b0dfu : 0);
    }
    self->next = 0;
}

static uint32_t draw(struct noise *self)
{
    if (self->next == WORDS)
        generate(self);
    uint32_t y = self->state[self->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

static double uniform_double(struct noise *self)
{
    uint64_t high = draw(self);
    uint64_t bits = high << 32 | draw(self);
    return (double)(bits & 0x1fffffffffffffu) * 0x1p-53;
}

/* ln x for 2^-24 <= x <= 1. */
static float cephes_log(float x)
{
    static const float p[] = {7.0376836292E-2f,  -1.1514610310E-1f, 1.1676998740E-1f,
                              -1.2420140846E-1f, 1.4249322787E-1f,  -1.6668057665E-1f,
                              2.0000714765E-1f,  -2.4999993993E-1f, 3.3333331174E-1f};
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    float e = (float)((int)(bits >> 23) - 126);
    bits = (bits & 0x007fffffu) | 0x3f000000u; /* mantissa in 0.5 .. 1 */
    memcpy(&x, &bits, sizeof x);
    if (x < 0.707106781186547524f) {
        e -= 1;
        x = x - 1 + x;
    } else {
        x -= 1;
    }
    float z = x * x, y = p[0];
    for (size_t i = 1; i < sizeof p / sizeof *p; i++)
        y = fmaf(y, x, p[i]);
    y = fmaf(y * x, z, e * -2.12194440e-4f);
    y = fmaf(-z, 0.5f, y);
    return fmaf(e, 0.693359375f, x + y);
}

/* For x >= 0: reduced by multiples of pi/4 in three parts, then one polynomial each. */
static void cephes_sincos(float x, float *sine, float *cosine)
{
    uint32_t octant = ((uint32_t)(x * 1.27323954473516f) + 1) & ~1u;
    float y = (float)octant;
    x = fmaf(y, -0.78515625f, x);
    x = fmaf(y, -2.4187564849853515625e-4f, x);
    x = fmaf(y, -3.77489497744594108e-8f, x);
    float z = x * x;
    float c = fmaf(2.443315711809948E-5f, z, -1.388731625493765E-3f);
    c = fmaf(c, z, 4.166664568298827E-2f);
    c = fmaf(c * z, z, -(z * 0.5f)) + 1;
    float s = fmaf(-1.9515295891E-4f, z, 8.3321608736E-3f);
    s = fmaf(s, z, -1.6666654611E-1f);
    s = fmaf(s * z, x, x);
    bool swap = octant & 2;
    *sine = octant & 4 ? -(swap ? c : s) : (swap ? c : s);
    *cosine = (octant - 2) & 4 ? (swap ? s : c) : -(swap ? s : c);
}

static void fill_uniform(struct noise *self, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(draw(self) & 0xffffffu) * 0x1p-24f;
}

/* Box-Muller on 16 uniforms: the radius from the first 8, the angle from the last 8. */
static void make_normal(float *b)
{
    for (size_t i = 0; i < BLOCK / 2; i++) {
        float sine, cosine;
        float radius = sqrtf(-2.0f * cephes_log(1 - b[i]));
        cephes_sincos(6.28318530717958647692f * b[i + BLOCK / 2], &sine, &cosine);
        b[i] = radius * cosine + 0.0f; /* the sum makes -0 into 0 as PyTorch's does */
        b[i + BLOCK / 2] = radius * sine + 0.0f;
    }
}

static float normal_double(struct noise *self)
{
    if (self->has_cached) {
        self->has_cached = false;
        return (float)self->cached;
    }
    double u1 = uniform_double(self), u2 = uniform_double(self);
    double radius = sqrt(-2 * log1p(-u2)), angle = 2 * 3.14159265358979323846 * u1;
    self->cached = radius * sin(angle);
    self->has_cached = true;
    return (float)(radius * cos(angle));
}

/* Ten rounds; the first two words of the result. */
static void philox(uint64_t key, uint32_t first, uint32_t third, uint32_t words[2])
{
    uint32_t c[4] = {first, 0, third, 0};
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = 0xd2511f53ull * c[0], b = 0xcd9e8d57ull * c[2];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ low;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ high;
        c[3] = (uint32_t)a;
        low += 0x9e3779b9u;
        high += 0xbb67ae85u;
    }
    words[0] = c[0];
    words[1] = c[1];
}

static void philox_normal(struct noise *self, float *values, size_t count)
{
    const double turn = (float)(2 * 3.14159265358979323846 * 0x1p-32);
    for (size_t i = 0; i < count; i++) {
        uint32_t words[2];
        philox(self->key, self->draws, (uint32_t)i, words);
        double u = words[0] * 0x1p-32 + 0x1p-33, v = words[1] * turn + turn / 2;
        values[i] = (float)(sqrt(-2 * log(u)) * sin(v));
    }
    self->draws++;
}

void noise_normal(struct noise *self, float *values, size_t count)
{
    if (self->is_philox) {
        philox_normal(self, values, count);
        return;
    }
    if (count < BLOCK) {
        for (size_t i = 0; i < count; i++)
            values[i] = normal_double(self);
        return;
    }
    fill_uniform(self, values, count);
    for (size_t i = 0; i + BLOCK <= count; i += BLOCK)
        make_normal(values + i);
    if (count % BLOCK) { /* the last 16 are drawn again whole */
        fill_uniform(self, values + count - BLOCK, BLOCK);
        make_normal(values + count - BLOCK);
    }
}
