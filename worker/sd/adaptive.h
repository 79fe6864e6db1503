/* DPM adaptive: steps of a length that is found on the way (Lu et al. 2022, DPM-Solver-23, as
 * k-diffusion has it).
 *
 * An attempt is three evaluations, after which the device holds a solution of the third and one
 * of the second order. How far they are apart decides whether the step is taken, and how long
 * the next is to be; so the host looks at the latents, image by image.
 */
#ifndef FARM_ADAPTIVE_H
#define FARM_ADAPTIVE_H

#include "worker/sd/sampler.h"

enum { ADAPTIVE_EVALUATIONS = 3 };

struct adaptive;
struct plan;

/* From sigma `first` down to `last`, over the plan's sigmas, which are copied. A1111's adds
 * fresh noise, ComfyUI's does not. ERROR_MEMORY. */
struct adaptive *adaptive_new(const struct plan *plan, double first, double last,
                              struct error *error);
void adaptive_destroy(struct adaptive **self);

/* The evaluations of the next attempt; guidance is the caller's to set. */
void adaptive_attempt(struct adaptive *self, struct step step[ADAPTIVE_EVALUATIONS]);

/* After them: `values` are an image's latents and the history, `count` numbers each. Leaves
 * the latents to go on with, and tells how much noise is due to them (below 0: none, the
 * attempt failed). ERROR_DEVICE where latents are not finite or steps shrink to nothing. */
bool adaptive_judge(struct adaptive *self, float *values, size_t count, double *noise,
                    struct error *error);

/* The share of the way that is done; 1 at the end. */
double adaptive_done(const struct adaptive *self);

#endif
