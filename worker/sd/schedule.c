/* diffusers computes its training schedule in float32 and rounds some of what follows from
 * it to whole timesteps, so a schedule in exact arithmetic would now and then run another
 * timestep. Hence the floats here: every operation of PyTorch's that rounds is repeated.
 */
#include "worker/sd/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void schedule_config_defaults(struct schedule_config *self)
{
    *self = (struct schedule_config){
        .train_steps = 1000,
        .zero_snr = -1,
        .prediction = PREDICTION_EPSILON,
        .spacing = SPACING_DEFAULT,
        .clip_sample = -1,
        .clip_sample_range = 1,
        .set_alpha_to_one = -1,
        .skip_prk_steps = -1,
        .karras = -1,
        .exponential = -1,
        .beta = -1,
        .lower_order_final = -1,
        .euler_at_final = -1,
        .original_steps = 50,
        .timestep_scaling = 10,
    };
}

/* torch.linspace in float32: from both ends to the middle. */
static void linspace_float(float first, float last, size_t count, double *values)
{
    float step = count > 1 ? (last - first) / (float)(count - 1) : 0;
    for (size_t i = 0; i < count; i++)
        values[i] = i < count / 2 ? fmaf(step, (float)i, first)
                                  : fmaf(-step, (float)(count - 1 - i), last);
}

/* Nichol and Dhariwal 2021, equation 17. */
static double cosine_alpha(double t)
{
    double c = cos((t + 0.008) / 1.008 * M_PI / 2);
    return c * c;
}

/* numpy.linspace(first, last, count)[i] */
static double between(double first, double last, size_t count, size_t i)
{
    return count > 1 ? first + (double)i * ((last - first) / (double)(count - 1))
                     : first;
}

/* In float32 as diffusers, or in float64 as latent-diffusion. */
static bool fill_betas(const struct schedule_config *self, bool in_double,
                       double *betas)
{
    size_t count = (size_t)self->train_steps;
    bool is_scaled = !strcmp(self->beta_schedule, "scaled_linear");
    double first = self->beta_start, last = self->beta_end;
    if (is_scaled) {
        first = sqrt(first);
        last = sqrt(last);
    }
    if (is_scaled || !strcmp(self->beta_schedule, "linear")) {
        linspace_float((float)first, (float)last, count, betas);
        for (size_t i = 0; i < count; i++) {
            double value = in_double ? between(first, last, count, i) : betas[i];
            betas[i] = is_scaled ? value * value : value;
        }
    } else if (!strcmp(self->beta_schedule, "squaredcos_cap_v2")) {
        for (size_t i = 0; i < count; i++)
            betas[i] = fmin(1 - cosine_alpha((double)(i + 1) / (double)count) /
                                    cosine_alpha((double)i / (double)count),
                            0.999);
    } else {
        return false;
    }
    for (size_t i = 0; i < count && !in_double; i++)
        betas[i] = (float)betas[i];
    return true;
}

/* The alphas' cumulative product, in place of the betas. */
static void accumulate(double *betas, size_t count, bool in_double)
{
    double product = 1;
    for (size_t i = 0; i < count; i++) {
        product *= in_double ? 1 - betas[i] : 1.0f - (float)betas[i];
        betas[i] = (float)product;
    }
}

/* Shifts and scales the roots of alphas_cumprod so that the last is 0, by way of betas. */
static void end_on_zero(double *alphas, size_t count)
{
    float first = sqrtf((float)alphas[0]), last = sqrtf((float)alphas[count - 1]);
    float factor = first / (first - last), before = 1;
    for (size_t i = 0; i < count; i++) {
        float root = (sqrtf((float)alphas[i]) - last) * factor;
        float alpha = root * root;
        alphas[i] = 1 - (i ? alpha / before : alpha); /* beta */
        before = alpha;
    }
    accumulate(alphas, count, false);
}

double *schedule_alphas(const struct schedule_config *self, bool in_double,
                        struct error *error)
{
    size_t count = (size_t)self->train_steps;
    double *alphas = calloc(count, sizeof *alphas);
    if (!alphas) {
        error_set_kind(error, ERROR_MEMORY, "no memory for %zu timesteps", count);
        return NULL;
    }
    if (!fill_betas(self, in_double, alphas)) {
        free(alphas);
        error_set_kind(
            error, ERROR_INPUT,
            "beta_schedule %s, expected linear, scaled_linear or squaredcos_cap_v2",
            self->beta_schedule);
        return NULL;
    }
    accumulate(alphas, count, in_double);
    if (self->zero_snr == 1)
        end_on_zero(alphas, count);
    for (size_t i = 0; i < count; i++) {
        bool may_end = self->zero_snr == 1 && i == count - 1 && alphas[i] == 0;
        if (!may_end && !(alphas[i] > 0 && alphas[i] < 1)) {
            free(alphas);
            error_set_kind(error, ERROR_INPUT,
                           "betas from %g to %g leave no signal at timestep %zu",
                           self->beta_start, self->beta_end, i);
            return NULL;
        }
    }
    return alphas;
}

void schedule_alphas_to_sigmas(double *alphas, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float alpha = (float)alphas[i];
        alphas[i] = sqrtf((1 - alpha) / alpha);
    }
}

/* numpy.linspace(0, last, count)[i] */
static double linspace_at(double last, size_t count, size_t i)
{
    if (i == 0)
        return 0;
    return i == count - 1 ? last : (double)i * (last / (double)(count - 1));
}

static double timestep_at(const struct schedule_config *self, enum placing placing,
                          enum spacing spacing, size_t steps, size_t i)
{
    size_t extra = placing == PLACING_SOLVER; /* the one left out comes last */
    double train = self->train_steps;
    double ratio = train / (double)steps;
    size_t stride =
        (size_t)self->train_steps / (steps + extra); /* whole, as in diffusers */
    switch (spacing) {
    case SPACING_LEADING:
        return (double)((steps - 1 - i + extra) * stride) + self->steps_offset;
    case SPACING_TRAILING: /* numpy.arange adds what start + step differs from start */
        return rint(train + (double)i * (train - ratio - train)) - 1;
    default:;
        double exact = linspace_at(train - 1, steps + extra, steps - 1 - i + extra);
        return placing == PLACING_EXACT ? (float)exact : rint(exact);
    }
}

bool schedule_timesteps(const struct schedule_config *self, enum placing placing,
                        enum spacing spacing, size_t steps, double *timesteps,
                        struct error *error)
{
    size_t extra = placing == PLACING_SOLVER, train = (size_t)self->train_steps;
    if (self->spacing != SPACING_DEFAULT)
        spacing = self->spacing;
    if (steps < 1 || steps > train - extra)
        return error_set_kind(
            error, ERROR_INPUT,
            "steps %zu: this sampler takes 1 to %zu with a model trained on %zu", steps,
            train - extra, train);
    for (size_t i = 0; i < steps; i++)
        timesteps[i] = timestep_at(self, placing, spacing, steps, i);
    if (timesteps[0] >= (double)train || timesteps[steps - 1] < 0)
        return error_set_kind(error, ERROR_INPUT,
                              "steps %zu with steps_offset %d need timesteps %g to %g, "
                              "the model has 0 to %zu; take fewer steps",
                              steps, self->steps_offset, timesteps[steps - 1],
                              timesteps[0], train - 1);
    return true;
}

double schedule_sigma_at(const double *sigmas, size_t count, double timestep)
{
    if (timestep <= 0)
        return sigmas[0];
    if (timestep >= (double)(count - 1))
        return sigmas[count - 1];
    size_t low = (size_t)timestep;
    return (sigmas[low + 1] - sigmas[low]) * (timestep - (double)low) + sigmas[low];
}

double schedule_timestep_of(const double *sigmas, size_t count, double sigma)
{
    double log_sigma = log(fmax(sigma, 1e-10));
    size_t low = 0;
    while (low + 2 < count && log_sigma >= logf((float)sigmas[low + 1]))
        low++;
    if (count < 2)
        return 0;
    float log_low = logf((float)sigmas[low]), log_high = logf((float)sigmas[low + 1]);
    double w = (log_low - log_sigma) / (log_low - log_high);
    w = fmin(fmax(w, 0), 1);
    return (1 - w) * (double)low + w * (double)(low + 1);
}

static void karras(double first, double last, size_t steps, double *sigmas)
{
    double high = pow(first, 1 / 7.0), low = pow(last, 1 / 7.0);
    for (size_t i = 0; i < steps; i++)
        sigmas[i] = pow(high + linspace_at(1, steps, i) * (low - high), 7);
}

static void exponential(double first, double last, size_t steps, double *sigmas)
{
    double high = log(first), low = log(last);
    double stride = steps > 1 ? (low - high) / (double)(steps - 1) : 0;
    for (size_t i = 0; i < steps; i++)
        sigmas[i] = exp(i && i == steps - 1 ? low : high + (double)i * stride);
}

void schedule_curve(enum curve curve, double first, double last, size_t steps,
                    double *sigmas)
{
    if (curve == CURVE_KARRAS)
        karras(first, last, steps, sigmas);
    if (curve == CURVE_EXPONENTIAL)
        exponential(first, last, steps, sigmas);
    for (size_t i = 0; curve == CURVE_BETA && i < steps; i++)
        sigmas[i] =
            last + schedule_beta_quantile(1 - linspace_at(1, steps, i), 0.6, 0.6) *
                       (first - last);
}
