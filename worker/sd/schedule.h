/* Noise schedules: betas of training, and timesteps and sigmas for a number of steps.
 *
 * diffusers' conventions: Class.from_config(scheduler_config.json), keys the file lacks take
 * the class's own default. Pure host functions over float64.
 */
#ifndef FARM_SCHEDULE_H
#define FARM_SCHEDULE_H

#include <stddef.h>

#include "base/error.h"

enum prediction { PREDICTION_EPSILON, PREDICTION_V, PREDICTION_SAMPLE };
enum spacing { SPACING_DEFAULT, SPACING_LEADING, SPACING_LINSPACE, SPACING_TRAILING };

enum { SCHEDULE_NAME = 24 };

/* scheduler_config.json. Absent keys keep what schedule_config_defaults() says or, where
 * classes differ, the value that means "absent": 0 of numbers, "" of names, -1 of flags. */
struct schedule_config {
    int train_steps;
    double beta_start, beta_end;
    char beta_schedule
        [SCHEDULE_NAME]; /* "linear", "scaled_linear", "squaredcos_cap_v2" */
    int zero_snr;        /* rescale_betas_zero_snr */
    enum prediction prediction;
    enum spacing spacing;
    int steps_offset;
    int clip_sample;
    double clip_sample_range;
    int set_alpha_to_one;
    int skip_prk_steps;
    int karras, exponential, beta;    /* use_karras_sigmas and so on */
    char final_sigmas[SCHEDULE_NAME]; /* "zero", "sigma_min" */
    char algorithm[SCHEDULE_NAME];    /* "dpmsolver++", "sde-dpmsolver++", ... */
    char solver[SCHEDULE_NAME];       /* "midpoint", "heun", "bh1", "bh2", "logrho" */
    int solver_order;
    int lower_order_final, euler_at_final;
    char variance[SCHEDULE_NAME]; /* "fixed_small", "fixed_small_log", "fixed_large" */
    int original_steps;           /* LCM: of the distillation */
    double timestep_scaling;      /* LCM */
};

void schedule_config_defaults(struct schedule_config *self);
bool schedule_config_load(struct schedule_config *self, const char *path,
                          struct error *error);

/* One key from text, as in "EulerDiscreteScheduler(steps_offset=1)": a number, true or
 * false (Python's spelling too), or a bare word. ERROR_INPUT as for a file's key. */
bool schedule_config_set(struct schedule_config *self, const char *key,
                         const char *value, struct error *error);

/* alphas_cumprod of the training schedule: train_steps values, heap. Each is a float32, as
 * diffusers computes it, or with `in_double` as latent-diffusion does. Betas must be there. With zero_snr the last is 0 (Lin et al. 2023,
 * algorithm 1), else all are above 0. */
double *schedule_alphas(const struct schedule_config *self, bool in_double,
                        struct error *error);

/* sqrt((1 - a) / a) of each, in place: sigmas, rising; float32 too. */
void schedule_alphas_to_sigmas(double *alphas, size_t count);

/* Which of diffusers' ways to place timesteps: unrounded over the training steps, rounded
 * to whole ones, or (solvers) rounded and one more than needed with timestep 0 left out. */
enum placing { PLACING_EXACT, PLACING_ROUNDED, PLACING_SOLVER };

/* `steps` timesteps, falling, into `timesteps`. `spacing` is what SPACING_DEFAULT means.
 * ERROR_INPUT when the training schedule is too short for so many. */
bool schedule_timesteps(const struct schedule_config *self, enum placing placing,
                        enum spacing spacing, size_t steps, double *timesteps,
                        struct error *error);

/* The sigma of a fractional timestep, linear between neighbours (numpy.interp). */
double schedule_sigma_at(const double *sigmas, size_t count, double timestep);

/* The timestep of a sigma, linear in log sigma. */
double schedule_timestep_of(const double *sigmas, size_t count, double sigma);

/* How sigmas fall from first to last: Karras et al. 2022, equation 5, with rho 7; evenly in
 * their logarithm; as the quantiles of the beta distribution with both parameters 0.6 (Lee
 * et al. 2024, "Beta Sampling is All You Need"). */
enum curve { CURVE_NONE, CURVE_KARRAS, CURVE_EXPONENTIAL, CURVE_BETA };

/* `steps` sigmas from `first` down to `last`; not for CURVE_NONE. */
void schedule_curve(enum curve curve, double first, double last, size_t steps,
                    double *sigmas);

/* The x at which the beta distribution's cumulative probability is p (0 to 1); a, b > 0. */
double schedule_beta_quantile(double p, double a, double b);

#endif
