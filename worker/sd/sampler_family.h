/* What a family of samplers is given and fills; sampler.c's own header.
 *
 * A sampler places timesteps and noise levels for all steps, then adds an evaluation after
 * the other from the first step that is run. Two ways to scale latents:
 *   k-diffusion's: x = x0 + sigma n, the UNet sees x / sqrt(sigma^2 + 1);
 *   variance preserving: x = alpha x0 + sigma n with alpha^2 + sigma^2 = 1.
 */
#ifndef FARM_SAMPLER_FAMILY_H
#define FARM_SAMPLER_FAMILY_H

#include "worker/sd/sampler.h"

enum { PLAN_MORE_STEPS = 16, SAMPLER_LCM_KNOWN = 50 /* timesteps of A1111's LCM */ };

struct plan {
    const struct schedule_config *config;
    size_t steps;
    size_t stride; /* whole training timesteps to a step */
    double strength;
    bool from_image;
    size_t skipped; /* steps that the model of a refiner has run; 0: as strength says */
    size_t asked;   /* steps to be run from a picture; 0: as strength says */
    size_t first;   /* of the steps, the first that is run */
    double eta;
    enum curve curve;     /* that replaces the model's sigmas */
    bool is_k, is_comfy;  /* A1111's or ComfyUI's sampler; ComfyUI's */
    const double *alphas; /* of the training schedule, config->train_steps of them */
    const double *sigmas; /* sqrt((1 - a) / a) */
    double *timesteps;    /* of each step */
    double *levels;       /* sigmas: of each step, and the one the last ends on */
    /* To be set, from the first step that is run on. */
    struct step *step;                 /* 0, save and keep -1 */
    struct sampler_level *level;       /* of the latents before each step */
    struct sampler_interval *interval; /* of sigma, where noise is Brownian */
    size_t count;
    double guidance;            /* times that which is asked for; 1 */
    double start_scale;         /* of noise alone */
    struct sampler_level start; /* of a picture, where it is not level[0] */
    struct adaptive *adaptive;  /* where steps are not known before; heap */
};

typedef bool sampler_family(struct plan *self, struct error *error);

/* A row of the table. */
struct sampler {
    const char *name, *also; /* also NULL: no second name */
    sampler_family *place, *fill;
    unsigned traits;
};

enum {
    TRAIT_CURVES = 1,       /* takes use_karras_sigmas and its like */
    TRAIT_BETAS = 2,        /* 0.00085 to 0.012 where the configuration has no betas */
    TRAIT_SCALED = 4,       /* and scaled_linear */
    TRAIT_ZERO = 8,         /* heeds rescale_betas_zero_snr: the last alpha is 0 */
    TRAIT_ALMOST_ZERO = 16, /* or 2^-24 */
    TRAIT_A1111 = 32,
    TRAIT_COMFY = 64,
    TRAIT_KARRAS = 128,      /* Automatic is Karras */
    TRAIT_EXPONENTIAL = 256, /* or Exponential; else Uniform */
    TRAIT_DISCARDS = 512,    /* leaves the next to last sigma out */
    TRAIT_BROWNIAN = 1024,
    TRAIT_LEADING = 2048, /* A1111's timesteps, not sigmas */
    TRAIT_UNCOND = 4096,  /* takes what the model says without the prompt by itself */
    TRAIT_PAIRS = 8192,   /* diffusers' of order 2: two evaluations a step */
    TRAIT_RENEWS = 16384, /* ComfyUI's "random" noise outside a mask */
    TRAIT_K = TRAIT_A1111 | TRAIT_COMFY,
};

/* sampler_table.c; a NULL name ends them. */
extern const struct sampler samplers[];

/* ---- sampler_hold.c: *hold, on the heap, one a call; all zero for diffusers' classes.
 * ERROR_INPUT where a mask cannot be held to. */
bool sampler_holds(const struct plan *self, const struct sampler *sampler,
                   const struct sampler_options *options, struct hold **hold,
                   struct error *error);

/* ---- Fills */

/* Karras et al. 2022, algorithm 1 without churn; and k-diffusion's ancestral variant. */
bool sampler_euler(struct plan *self, struct error *error);
bool sampler_euler_ancestral(struct plan *self, struct error *error);

/* Karras et al. 2022: algorithm 1 with its second order, and algorithm 2 (k-diffusion's
 * DPM2, with and without fresh noise): two evaluations a step. */
bool sampler_heun(struct plan *self, struct error *error);
bool sampler_dpm2(struct plan *self, struct error *error);
bool sampler_dpm2_ancestral(struct plan *self, struct error *error);

/* Wang 2024, Heun++, of two and three evaluations a step; Xu et al. 2023, Restart. */
bool sampler_heunpp(struct plan *self, struct error *error);
bool sampler_restart(struct plan *self, struct error *error);

/* k-diffusion's linear multistep method, order 4. */
bool sampler_lms(struct plan *self, struct error *error);

/* k-diffusion's DPM-Solver++ (Lu et al. 2022) and DPM fast, with fresh noise. */
bool sampler_dpmpp_2s_ancestral(struct plan *self, struct error *error);
bool sampler_dpmpp_sde(struct plan *self, struct error *error);
bool sampler_dpmpp_2m(struct plan *self, struct error *error);
bool sampler_dpmpp_2m_sde(struct plan *self, struct error *error);
bool sampler_dpmpp_2m_sde_heun(struct plan *self, struct error *error);
bool sampler_dpmpp_3m_sde(struct plan *self, struct error *error);
bool sampler_dpm_fast(struct plan *self, struct error *error);
bool sampler_dpm_adaptive(struct plan *self, struct error *error);

/* Lu et al. 2022, DPM-Solver and DPM-Solver++, orders 1 to 3. */
bool sampler_dpm_multistep(struct plan *self, struct error *error);
bool sampler_dpm_singlestep(struct plan *self, struct error *error);

/* Zhao et al. 2023, UniPC, orders 1 to 3, B(h) of both kinds. */
bool sampler_unipc(struct plan *self, struct error *error);
bool sampler_unipc_a1111(struct plan *self, struct error *error);
bool sampler_unipc_bh1(struct plan *self, struct error *error);
bool sampler_unipc_bh2(struct plan *self, struct error *error);

/* Zhang and Chen 2022, DEIS, in log rho, orders 1 to 3. */
bool sampler_deis(struct plan *self, struct error *error);

/* sampler_ipndm.c: ComfyUI's iPNDM, with steps of one length and of any, and DEIS. */
bool sampler_ipndm(struct plan *self, struct error *error);
bool sampler_ipndm_v(struct plan *self, struct error *error);
bool sampler_deis_k(struct plan *self, struct error *error);

/* sampler_cfgpp.c: Chung et al. 2024, CFG++. */
bool sampler_euler_cfgpp(struct plan *self, struct error *error);
bool sampler_euler_ancestral_cfgpp(struct plan *self, struct error *error);
bool sampler_dpmpp_2s_ancestral_cfgpp(struct plan *self, struct error *error);
bool sampler_dpmpp_2m_cfgpp(struct plan *self, struct error *error);
bool sampler_ddim_cfgpp(struct plan *self, struct error *error);

/* sampler_res.c: ComfyUI's RES, gradient estimation, ER-SDE, DDPM and LCM. */
bool sampler_res(struct plan *self, struct error *error);
bool sampler_res_ancestral(struct plan *self, struct error *error);
bool sampler_res_cfgpp(struct plan *self, struct error *error);
bool sampler_res_ancestral_cfgpp(struct plan *self, struct error *error);
bool sampler_gradient(struct plan *self, struct error *error);
bool sampler_gradient_cfgpp(struct plan *self, struct error *error);
bool sampler_er_sde(struct plan *self, struct error *error);
bool sampler_ddpm_k(struct plan *self, struct error *error);
bool sampler_lcm_k(struct plan *self, struct error *error);

/* sampler_seeds.c: Gonzalez et al. 2023, SEEDS of 2 and 3 stages, and ComfyUI's
 * exponential Heun. */
bool sampler_seeds_2(struct plan *self, struct error *error);
bool sampler_seeds_3(struct plan *self, struct error *error);
bool sampler_exp_heun(struct plan *self, struct error *error);
bool sampler_exp_heun_sde(struct plan *self, struct error *error);

/* sampler_sa.c: Xue et al. 2023, SA-Solver as ComfyUI has it; with two evaluations a step. */
bool sampler_sa(struct plan *self, struct error *error);
bool sampler_sa_pece(struct plan *self, struct error *error);

/* Song et al. 2020, DDIM, formula 12; Ho et al. 2020, DDPM, formula 7. */
bool sampler_ddim(struct plan *self, struct error *error);
bool sampler_ddpm(struct plan *self, struct error *error);

/* Luo et al. 2023, latent consistency models, algorithm 3. */
bool sampler_lcm(struct plan *self, struct error *error);
bool sampler_lcm_a1111(struct plan *self, struct error *error);

/* Liu et al. 2022, PNDM, with and without its Runge-Kutta steps. */
bool sampler_pndm(struct plan *self, struct error *error);

/* ---- sampler_place.c: timesteps, levels and start_scale as diffusers' classes have them.
 * Those of A1111 and ComfyUI are sampler.c's, but for A1111's timesteps (stretched). */
bool sampler_place_k(struct plan *self, struct error *error);
bool sampler_place_euler(struct plan *self, struct error *error);
bool sampler_place_ancestral(struct plan *self, struct error *error);
bool sampler_place_dpm2(struct plan *self, struct error *error);
bool sampler_place_multistep(struct plan *self, struct error *error);
bool sampler_place_singlestep(struct plan *self, struct error *error);
bool sampler_place_unipc(struct plan *self, struct error *error);
bool sampler_place_deis(struct plan *self, struct error *error);
bool sampler_place_whole(struct plan *self, struct error *error);
bool sampler_place_stretched(struct plan *self, struct error *error);
bool sampler_place_spread(struct plan *self, struct error *error);
bool sampler_place_lcm_k(struct plan *self, struct error *error);
bool sampler_place_lcm(struct plan *self, struct error *error);

/* sampler_share.c: which of the run's steps the model makes and which its refiner. */
void sampler_share(const struct plan *self, const struct sampler *sampler,
                   const struct sampler_options *options, struct sampler_run *run);

/* ---- What evaluations have in common */

/* The next evaluation, at a timestep, of latents at a level. */
struct step *sampler_add(struct plan *self, double timestep,
                         struct sampler_level level);

/* The timestep of a sigma between those of steps. */
double sampler_timestep(const struct plan *self, double sigma);

/* Fill input_scale, d_x, d_e so that d is the predicted clean picture x0, or the slope
 * (x - x0) / sigma, of x = x0 + sigma n. */
void sampler_denoised(struct step *step, enum prediction prediction, double sigma);
void sampler_slope(struct step *step, enum prediction prediction, double sigma);

/* Fill d_x and d_e so that d is the predicted clean picture, or the predicted noise, of
 * x = alpha x0 + sigma n. */
void sampler_clean(struct step *step, enum prediction prediction, double alpha,
                   double sigma);
void sampler_noise(struct step *step, enum prediction prediction, double alpha,
                   double sigma);

/* The evaluation at a sigma of latents whose level is that of step i, with the denoised
 * picture as d; the step from one sigma to another by the exponential integrator of a
 * constant d; and the fresh noise of a step from one sigma to another. */
struct step *sampler_evaluate(struct plan *self, double sigma, size_t i);
void sampler_integrate(struct step *step, double sigma, double to);
void sampler_add_noise(struct plan *self, struct step *step, double amount, double from,
                       double to);

/* To x, or to what is kept, so much of what d would be without the prompt. */
void sampler_add_uncond(struct step *step, double factor);
void sampler_keep_uncond(struct step *step, double factor);

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

#endif
