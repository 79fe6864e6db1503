/* Samplers: a run as a list of steps, each linear in what the device holds.
 *
 * A sampler is one function that fills steps and one row in the table. Its steps' numbers
 * depend on nothing but schedule and options, so the whole run is known before it starts.
 */
#ifndef FARM_SAMPLER_H
#define FARM_SAMPLER_H

#include "opencl/ops.h"
#include "worker/sd/schedule.h"

struct sampler_options {
    const char *schedule; /* "Automatic", "Normal", "Karras", "Exponential", "Beta" */
    size_t steps;
    double eta;
    double guidance;         /* copied into every step */
    double guidance_rescale; /* likewise */
    double strength; /* share of the steps that is run, the last ones: 0 < s <= 1 */
    bool from_image; /* the run begins with a picture's latents, at strength 1 too */
};

/* Latents at some step of a run, of a picture's own latents z and noise n:
 * image z + noise n. */
struct sampler_level {
    double image, noise;
};

struct sampler_run {
    struct step *step; /* heap; one a UNet evaluation */
    size_t count;
    double start_image;          /* first latents = this times the picture's latents */
    double start_scale;          /*                 + this times the noise */
    struct sampler_level *known; /* heap; known[i]: the level that latents have after
                                    step i, {1, 0} after the last (inpainting) */
};

/* `name`: one of diffusers' classes ("DPMSolverMultistepScheduler", "Scheduler" may be left
 * out) or a label ("DPM++ 2M", "Euler a"), with what replaces the configuration behind it
 * ("HeunDiscrete(timestep_spacing=trailing)"); case does not matter. Strength acts as in diffusers' StableDiffusionImg2ImgPipeline:
 * int(steps strength) steps. ERROR_INPUT lists what there is. */
bool sampler_plan(struct sampler_run *self, const char *name,
                  const struct schedule_config *config,
                  const struct sampler_options *options, struct error *error);
void sampler_run_clear(struct sampler_run *self);

/* All names, NULL-terminated. */
const char *const *sampler_names(void);

#endif
