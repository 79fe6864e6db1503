/* What a seed means: normal random numbers as torch's CPU generator gives them, bit for bit,
 * or as A1111's "NV" (Philox, what CUDA draws).
 *
 * mt19937 seeded with the low 32 bits; below 16 values doubles by Box-Muller one by one,
 * from 16 on whole blocks of 16 floats with the log, sin and cos PyTorch's AVX2 code uses
 * (Cephes polynomials with fused multiply-add). Source: ATen/native/cpu/DistributionTemplates.h.
 * Philox 4x32-10 (Salmon et al. 2011) over counter (draw, 0, element, 0), the seed its key.
 */
#ifndef FARM_NOISE_H
#define FARM_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct noise {
    uint32_t state[624];
    size_t next;     /* of the 624; 624: to be generated anew */
    bool has_cached; /* the sine half of a pair drawn below 16 values */
    double cached;
    bool is_philox;
    uint64_t key;
    uint32_t draws; /* Philox: how many there were */
};

/* torch.Generator('cpu').manual_seed(seed) */
void noise_seed(struct noise *self, uint64_t seed);

/* The generator of "philox". */
void noise_seed_philox(struct noise *self, uint64_t seed);

/* torch.randn(count, generator=...): float32 */
void noise_normal(struct noise *self, float *values, size_t count);

#endif
