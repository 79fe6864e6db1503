/* One image's noise, of which it is made and which samplers add: what seed, variation seed
 * and the kind of random numbers mean together. It depends on neither device nor batch.
 */
#ifndef FARM_DRAWS_H
#define FARM_DRAWS_H

#include "worker/sd/brownian.h"
#include "worker/sd/noise.h"
#include "worker/sd/sampler.h"

struct draws_options {
    bool is_philox; /* else torch's CPU generator */
    uint64_t seed;
    uint64_t variation_seed;
    double variation; /* strength: 0 none, 1 the variation seed's noise */
    size_t resize_h,
        resize_w;        /* latents the noise is drawn for, then centred; 0: none */
    uint64_t delta;      /* A1111's ENSD: added to the seed of the steps' noise */
    size_t batch, index; /* of a batch drawn in one go ("comfy-batch"); batch 0 is 1 */
};

struct draws;

/* Of latents [c, h, w]. The run's kind of noise and Brownian range are copied. */
struct draws *draws_new(const struct draws_options *options,
                        const struct sampler_run *run, size_t c, size_t h, size_t w,
                        struct error *error);
void draws_destroy(struct draws **self);

/* The generator's next numbers as they come (the VAE's posterior). */
void draws_next(struct draws *self, float *values);

/* The seed's numbers from their beginning; what is drawn next stays as it is. */
void draws_again(struct draws *self, float *values);

/* The next `count` numbers of torch's CPU generator of the seed that nothing else draws from:
 * what A1111's posteriors are drawn from, whatever the kind of the noise, in pictures of one
 * seed made one after the other. */
void draws_aside(struct draws *self, float *values, size_t count);

/* The first noise (interval NULL; once), or that of a step over an interval of sigma. */
bool draws_step(struct draws *self, const struct sampler_interval *interval,
                float *values, struct error *error);

#endif
