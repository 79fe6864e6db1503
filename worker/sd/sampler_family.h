/* What a family of samplers is given and fills; sampler.c's own header. */
#ifndef FARM_SAMPLER_FAMILY_H
#define FARM_SAMPLER_FAMILY_H

#include "worker/sd/sampler.h"

enum { PLAN_MORE_STEPS = 16 };

struct plan {
    const struct schedule_config *config;
    size_t steps;
    size_t first; /* of the steps, the first that is run */
    double eta;
    bool karras;
    const double *alphas; /* of the training schedule, config->train_steps of them */
    const double *sigmas; /* sqrt((1 - a) / a) */
    double *timesteps;    /* room for steps */
    double *levels;       /* room for steps + 1 sigmas */
    /* To be set, from the first step that is run on; room for steps + PLAN_MORE_STEPS. */
    struct step *step;           /* 0, save -1 */
    struct sampler_level *level; /* of the latents before each step */
    size_t count;
    double start_scale; /* of noise alone */
};

typedef bool sampler_family(struct plan *self, struct error *error);

/* Karras et al. 2022, algorithm 1 without churn; and k-diffusion's ancestral variant. */
bool sampler_euler(struct plan *self, struct error *error);
bool sampler_euler_ancestral(struct plan *self, struct error *error);

/* Lu et al. 2022, DPM-Solver++, algorithm 2 (multistep, order 2, midpoint). */
bool sampler_dpm_multistep(struct plan *self, struct error *error);

/* Song et al. 2020, DDIM, formula 12. */
bool sampler_ddim(struct plan *self, struct error *error);

/* Liu et al. 2022, PNDM, with and without its Runge-Kutta steps. */
bool sampler_pndm(struct plan *self, struct error *error);

/* Fills step->d_x and d_e so that d is the predicted clean picture, for x = alpha x0 +
 * sigma noise (sigma^2 + alpha^2 = 1). */
void sampler_clean(struct step *step, enum prediction prediction, double alpha,
                   double sigma);

/* The levels of samplers that know latents by alphas_cumprod at the step's timestep. */
void sampler_fill_levels(struct plan *self);

/* The alpha at a whole timestep; below 0 the one a run ends on. */
bool sampler_alpha(const struct plan *self, double timestep, bool ends_on_one,
                   double *alpha, struct error *error);

#endif
