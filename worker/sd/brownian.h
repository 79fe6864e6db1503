/* The noise of stochastic differential equations: increments of one Brownian motion, as
 * torchsde's BrownianInterval gives them (tol 1e-6, pool_size 24, halfway_tree), bit for bit.
 *
 * What lies between two times does not depend on how many steps are taken, which is why
 * pictures of few and of many steps look alike.
 */
#ifndef FARM_BROWNIAN_H
#define FARM_BROWNIAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct brownian;

/* Over the times first to last, of `count` independent motions. */
struct brownian *brownian_new(uint64_t seed, double first, double last, size_t count,
                              struct error *error);
void brownian_destroy(struct brownian **self);

/* The increments from one time to another, either way round, divided by the root of the
 * time between: as k-diffusion's BrownianTreeNoiseSampler. Times outside are brought in. */
bool brownian_draw(struct brownian *self, double from, double to, float *values,
                   struct error *error);

#endif
