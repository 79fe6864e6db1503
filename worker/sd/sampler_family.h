/* What a family of samplers is given and fills; sampler.c's own header.
 *
 * A family places timesteps and noise levels for all steps, then adds an evaluation after
 * the other from the first step that is run. Two ways to scale latents:
 *   k-diffusion's: x = x0 + sigma n, the UNet sees x / sqrt(sigma^2 + 1);
 *   variance preserving: x = alpha x0 + sigma n with alpha^2 + sigma^2 = 1.
 */
#ifndef FARM_SAMPLER_FAMILY_H
#define FARM_SAMPLER_FAMILY_H

#include "worker/sd/sampler.h"

enum { PLAN_MORE_STEPS = 16 };

struct plan {
    const struct schedule_config *config;
    size_t steps;
    size_t first; /* of the steps, the first that is run */
    double eta;
    enum curve curve;     /* that replaces the model's sigmas */
    const double *alphas; /* of the training schedule, config->train_steps of them */
    const double *sigmas; /* sqrt((1 - a) / a) */
    double *timesteps;    /* room for steps */
    double *levels;       /* room for steps + 1 sigmas */
    /* To be set, from the first step that is run on; room for 2 steps + PLAN_MORE_STEPS. */
    struct step *step;           /* 0, save and keep -1 */
    struct sampler_level *level; /* of the latents before each step */
    size_t count;
    double start_scale; /* of noise alone */
};

typedef bool sampler_family(struct plan *self, struct error *error);

/* Karras et al. 2022, algorithm 1 without churn; and k-diffusion's ancestral variant. */
bool sampler_euler(struct plan *self, struct error *error);
bool sampler_euler_ancestral(struct plan *self, struct error *error);

/* Karras et al. 2022: algorithm 1 with its second order, and algorithm 2 (k-diffusion's
 * DPM2, with and without fresh noise): two evaluations a step. */
bool sampler_heun(struct plan *self, struct error *error);
bool sampler_dpm2(struct plan *self, struct error *error);
bool sampler_dpm2_ancestral(struct plan *self, struct error *error);

/* k-diffusion's linear multistep method, order 4. */
bool sampler_lms(struct plan *self, struct error *error);

/* Lu et al. 2022, DPM-Solver and DPM-Solver++, orders 1 to 3. */
bool sampler_dpm_multistep(struct plan *self, struct error *error);
bool sampler_dpm_singlestep(struct plan *self, struct error *error);

/* Zhao et al. 2023, UniPC, orders 1 to 3, B(h) of both kinds. */
bool sampler_unipc(struct plan *self, struct error *error);

/* Zhang and Chen 2022, DEIS, in log rho, orders 1 to 3. */
bool sampler_deis(struct plan *self, struct error *error);

/* Song et al. 2020, DDIM, formula 12; Ho et al. 2020, DDPM, formula 7. */
bool sampler_ddim(struct plan *self, struct error *error);
bool sampler_ddpm(struct plan *self, struct error *error);

/* Luo et al. 2023, latent consistency models, algorithm 3. */
bool sampler_lcm(struct plan *self, struct error *error);

/* Liu et al. 2022, PNDM, with and without its Runge-Kutta steps. */
bool sampler_pndm(struct plan *self, struct error *error);

/* ---- sampler_place.c: where the steps lie, as diffusers' classes place them */

/* Timesteps, levels with a 0 at the end, start_scale. k-diffusion's way; `rounds`: Karras'
 * timesteps are whole. */
bool sampler_place_k(struct plan *self, bool rounds, struct error *error);

/* The same for solvers (DPM++, UniPC, DEIS); timesteps are whole. `spaced`: timestep_spacing
 * is heeded; `rounds`: Karras' timesteps are rounded, else cut, as those of other curves. */
bool sampler_place_solver(struct plan *self, bool spaced, bool rounds,
                          struct error *error);

/* The next evaluation, at a timestep, of latents at a level. */
struct step *sampler_add(struct plan *self, double timestep,
                         struct sampler_level level);

/* Fills input_scale, d_x, d_e so that d is the predicted clean picture of
 * x = x0 + sigma n. */
void sampler_denoised(struct step *step, enum prediction prediction, double sigma);

/* Fills d_x and d_e so that d is the predicted clean picture, or the predicted noise, of
 * x = alpha x0 + sigma n. */
void sampler_clean(struct step *step, enum prediction prediction, double alpha,
                   double sigma);
void sampler_noise(struct step *step, enum prediction prediction, double alpha,
                   double sigma);

/* A step from one sigma to another by way of `down`, from where noise times `up` lifts x;
 * in floats, as PyTorch computes it. */
void sampler_ancestral(double from, double to, double *up, double *down);

/* alpha and sigma of the variance preserving x whose ratio is sigma, and log(alpha / sigma),
 * half the logarithm of the signal-to-noise ratio. */
struct sampler_level sampler_level_of(double sigma);
double sampler_half_snr(struct sampler_level level);

/* The levels of samplers that know latents by alphas_cumprod at the step's timestep. */
void sampler_fill_levels(struct plan *self);

/* The alpha at a whole timestep; below 0 the one a run ends on. */
bool sampler_alpha(const struct plan *self, double timestep, bool ends_on_one,
                   double *alpha, struct error *error);

/* ERROR_INPUT where the model predicts clean pictures, which `name` is not defined for. */
bool sampler_no_sample(const struct plan *self, struct error *error);

#endif
