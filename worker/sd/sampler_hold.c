/* What a mask puts in the place of the UNet's input and output, call by call, under A1111's
 * labels and ComfyUI's names.
 */
#include <math.h>
#include <stdlib.h>

#include "worker/sd/sampler_family.h"

/* A1111's. Of samplers over sigmas the UNet's output is made one that denoises to z: e of
 * d_x x + d_e e = z, whose sigma the input's scale tells. Of those over timesteps only what
 * the UNet sees is z; what v-prediction makes of x is then made of that. */
static struct hold hold_as_a1111(const struct plan *self, const struct step *step,
                                 bool leads)
{
    enum prediction prediction = self->config->prediction;
    double scale = (double)step->input_scale * (double)step->input_scale;
    double sigma = sqrt(1 / scale - 1);
    struct step denoised = {0};
    struct hold hold = {.image = 1};
    if (leads) {
        double alpha = self->alphas[(size_t)step->timestep];
        hold.sees = hold.of_e = 1;
        hold.of_z = prediction == PREDICTION_V ? (float)sqrt((1 - alpha) / alpha) : 0;
        hold.of_x = -hold.of_z;
        return hold;
    }
    sampler_denoised(&denoised, prediction, sigma);
    hold.of_z = 1 / denoised.d_e;
    hold.of_x = -denoised.d_x / denoised.d_e;
    return hold;
}

/* ComfyUI's KSamplerX0Inpaint: the UNet sees s = m x + (1 - m) k, where k is z with noise, and
 * what it denoises s to, D = d_x s + d_e e, becomes m D + (1 - m) z. The sampler makes that of
 * its x if e is replaced by m e + (1 - m) (z / d_e - d_x / d_e (x + m (x - k))). */
static struct hold hold_as_comfy(const struct plan *self, size_t i, double guidance)
{
    enum prediction prediction = self->config->prediction;
    const struct step *step = &self->step[i];
    double scale = (double)step->input_scale * (double)step->input_scale;
    struct sampler_level level = {1, sqrt(1 / scale - 1)};
    struct step clean = {0};
    if (step->input_scale == 1) { /* UniPC's latents are variance preserving */
        level = self->level[i];
        sampler_clean(&clean, prediction, level.image, level.noise);
    } else {
        sampler_denoised(&clean, prediction, level.noise);
    }
    return (struct hold){.sees = 1,
                         .image = (float)level.image,
                         .noise = (float)level.noise,
                         .of_z = 1 / clean.d_e,
                         .of_x = -clean.d_x / clean.d_e,
                         .of_gap = -clean.d_x / clean.d_e,
                         .guidance = (float)guidance};
}

bool sampler_holds(const struct plan *self, const struct sampler *sampler,
                   const struct sampler_options *options, struct hold **hold,
                   struct error *error)
{
    bool leads = sampler->traits & TRAIT_LEADING,
         alone = sampler->traits & TRAIT_UNCOND;
    *hold = calloc(self->count, sizeof **hold);
    if (!*hold)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu steps",
                              self->count);
    if (self->is_comfy && alone && options->inpaints && options->guidance == 0)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: guidance 0: with a mask CFG++ needs another",
                              sampler->name);
    for (size_t i = 0; self->is_k && i < self->count; i++)
        (*hold)[i] = self->is_comfy
                         ? hold_as_comfy(self, i, alone ? options->guidance : 0)
                         : hold_as_a1111(self, &self->step[i], leads);
    return true;
}
