/* A run that a model and its refiner share, cut as each convention cuts it.
 *
 * diffusers: both make the schedule of all steps. The model runs the timesteps from the cut
 * up (denoising_end), the refiner, whose sampler remembers nothing, those below it
 * (denoising_start). Where a step has two evaluations it goes one back, so as never to begin
 * between them; it then sees a timestep that the model saw too.
 *
 * A1111: one run, in the midst of which the model is exchanged: before the first call whose
 * sigma lies nearest a training timestep that is far enough on.
 */
#include <math.h>

#include "worker/sd/sampler_family.h"

static void share_as_diffusers(const struct plan *self, const struct sampler *sampler,
                               const struct sampler_options *options,
                               struct sampler_run *run)
{
    double train = self->config->train_steps;
    double cut = rint(train - options->refiner_at * train);
    bool in_pairs = sampler->traits & TRAIT_PAIRS;
    size_t above = 0;
    for (size_t i = 0; i < run->count; i++)
        above += (double)run->step[i].timestep >= cut;
    size_t left = run->count - above;
    if (in_pairs && left % 2 == 0)
        left++;
    if (!options->refines)
        run->end = above;
    run->refined_from = (run->count - left) / (in_pairs ? 2 : 1);
}

/* The training timestep A1111 takes a call for: the sigma nearest it among those of its model,
 * which are 50 for its LCM; of its timestep samplers the timestep. */
static size_t timestep_of(const struct plan *self, const struct sampler *sampler,
                          const struct step *step)
{
    size_t train = (size_t)self->config->train_steps, stride = 1, nearest = 0;
    if (sampler->traits & TRAIT_LEADING)
        return (size_t)step->timestep;
    if (sampler->fill == sampler_lcm_a1111)
        stride = train / SAMPLER_LCM_KNOWN;
    double scale = step->input_scale;
    float sigma = (float)sqrt(fmax(1 / (scale * scale) - 1, 0)), least = INFINITY;
    size_t known = stride > 1 ? SAMPLER_LCM_KNOWN : train;
    for (size_t k = 0; k < known; k++) {
        float off =
            fabsf((float)self->sigmas[train - 1 - (known - 1 - k) * stride] - sigma);
        if (off < least) {
            least = off;
            nearest = k;
        }
    }
    return nearest;
}

static size_t first_refined(const struct plan *self, const struct sampler *sampler,
                            double at, const struct sampler_run *run)
{
    size_t i = 0;
    while (i < run->count) {
        double timestep = (double)timestep_of(self, sampler, &run->step[i]);
        if ((float)(999 - timestep) / 1000 >= (float)at)
            break;
        i++;
    }
    return i;
}

void sampler_share(const struct plan *self, const struct sampler *sampler,
                   const struct sampler_options *options, struct sampler_run *run)
{
    run->begin = 0;
    run->end = run->count;
    if (!(options->refiner_at > 0))
        return;
    if (!self->is_k)
        share_as_diffusers(self, sampler, options, run);
    else if (options->refines)
        run->begin = first_refined(self, sampler, options->refiner_at, run);
    else
        run->end = first_refined(self, sampler, options->refiner_at, run);
}

bool sampler_goes_on(const struct sampler_run *self, const struct sampler_run *from)
{
    bool same = self->count == from->count;
    for (size_t i = 0; same && i < self->count; i++) {
        double mine = self->step[i].input_scale, its = from->step[i].input_scale;
        same = fabs(mine - its) <= 1e-5 * its &&
               fabsf(self->step[i].timestep - from->step[i].timestep) <= 0.01F;
    }
    return same;
}
