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

/* scheduler_config.json. Absent keys keep what schedule_config_defaults() says or, where a
 * class's default differs, the value that means "absent". */
struct schedule_config {
    size_t train_steps;
    double beta_start, beta_end;
    char beta_schedule[32]; /* "linear", "scaled_linear", "squaredcos_cap_v2" */
    enum prediction prediction;
    enum spacing spacing;
    int steps_offset;
    int clip_sample; /* -1 absent, 0, 1 */
    double clip_sample_range;
    int set_alpha_to_one; /* -1 absent, 0, 1 */
    int skip_prk_steps;   /* -1 absent, 0, 1 */
};

void schedule_config_defaults(struct schedule_config *self);
bool schedule_config_load(struct schedule_config *self, const char *path,
                          struct error *error);

/* alphas_cumprod of the training schedule: train_steps values, heap. */
double *schedule_alphas(const struct schedule_config *self, struct error *error);

#endif
