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
    const char *schedule; /* "Automatic"; others by convention (schedule_k.h) */
    size_t steps;
    double eta;
    double guidance;         /* copied into every step */
    double guidance_rescale; /* likewise */
    double strength; /* share of the steps that is run, the last ones: 0 < s <= 1 */
    bool from_image; /* the run begins with a picture's latents, at strength 1 too */
    bool
        inpaints; /* of which a part is kept: diffusers begins with noise at strength 1 */
    bool
        is_second; /* the upscale pass: A1111 then runs as many steps as are asked for */
    bool is_xl;    /* the model is of SDXL's family */
    double
        refiner_at; /* share of the way after which a refiner goes on; 0: none does */
    bool refines;   /* the run is the refiner's */
};

/* Latents at some step of a run, of a picture's own latents z and noise n:
 * image z + noise n. */
struct sampler_level {
    double image, noise;
};

/* From one sigma to another. */
struct sampler_interval {
    double from, to;
};

/* What the noise of steps is: the next of the generator that drew the first, or of one
 * seeded anew with the seed + 1 (ComfyUI), or the increment of a Brownian motion
 * (worker/sd/brownian.h). */
enum noise_source { NOISE_CONTINUED, NOISE_RESEEDED, NOISE_BROWNIAN };

/* Whose ways the sampler's name picks. */
enum sampler_ways { WAYS_DIFFUSERS, WAYS_A1111, WAYS_COMFY };

struct sampler_run {
    enum sampler_ways ways;
    struct step *step; /* heap; one a UNet evaluation */
    size_t count;
    size_t begin, end; /* those that are run: all, but where a refiner goes on */
    size_t
        refined_from;   /* by diffusers' refiners: the step their own run begins with */
    double start_image; /* first latents = this times the picture's latents */
    double start_scale; /*                 + this times the noise */
    struct sampler_level *known; /* heap; known[i]: the level that latents have after
                                    step i, {1, 0} after the last (inpainting) */
    struct hold
        *hold; /* heap; hold[i]: what A1111's and ComfyUI's inpainting put outside the
                          mask at call i, so that the denoised picture is the picture's
                          there (ComfyUI: and the UNet sees it with the first noise); or, of
                          A1111's timestep samplers, so that it is what the UNet sees */
    enum noise_source source;
    struct sampler_interval *interval; /* heap; of step i, where noise is Brownian */
    struct sampler_interval range;     /* the least and the most sigma of the run */
    bool posterior; /* a picture's latents are drawn; else their mean */
    bool renews;    /* the noise it sees outside the mask is the first of seed + 1 */
    bool guided;    /* rows without the prompt are needed */
    bool uncond;    /* by themselves, not for guidance only */
    struct adaptive
        *adaptive; /* heap; NULL where steps are known before. Else `step` are
                                  those of the attempt under way (adaptive.h) */
};

/* `name` picks one of three conventions, of schedules, steps from a picture and noise:
 *   diffusers' classes ("DPMSolverMultistepScheduler", "Scheduler" may be left out), with
 *   what replaces the configuration behind ("HeunDiscrete(timestep_spacing=trailing)");
 *   from a picture int(steps strength) steps, as StableDiffusionImg2ImgPipeline;
 *   A1111's labels ("DPM++ 2M"): int(min(strength, 0.999) steps) + 1 steps, in the upscale
 *   pass `steps` of int(steps / min(strength, 0.999));
 *   ComfyUI's names ("dpmpp_2m"): `steps` steps.
 * Other spellings in case are taken where no name is spelt so. ERROR_INPUT lists names. */
bool sampler_plan(struct sampler_run *self, const char *name,
                  const struct schedule_config *config,
                  const struct sampler_options *options, struct error *error);

/* Whether a refiner's run can take the place of the model's in its midst, as A1111 has it: both
 * see the same sigmas at the same timesteps. */
bool sampler_goes_on(const struct sampler_run *self, const struct sampler_run *from);

void sampler_run_clear(struct sampler_run *self);

/* Whether a name's steps are found on the way, each image's its own. */
bool sampler_adapts(const char *name);

/* All names, NULL-terminated. */
const char *const *sampler_names(void);

#endif
