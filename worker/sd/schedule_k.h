/* A1111's and ComfyUI's schedules: sigmas from a name and a number of steps, over the sigmas
 * of the model's training (k-diffusion's CompVisDenoiser, ComfyUI's ModelSamplingDiscrete).
 */
#ifndef FARM_SCHEDULE_K_H
#define FARM_SCHEDULE_K_H

#include "worker/sd/schedule.h"

/* What a schedule is made from. */
struct schedule_model {
    const double *sigmas; /* rising */
    size_t count;
    bool is_xl;    /* "Align Your Steps" knows two families */
    bool is_comfy; /* ComfyUI's kind where the two differ */
};

/* Sigmas, falling, most of them with a 0 at the end: at most schedule_k_room(steps) of them.
 * "Automatic" and case are the caller's. ERROR_INPUT lists the names. */
bool schedule_k(const struct schedule_model *self, const char *name, size_t steps,
                double *sigmas, size_t *count, struct error *error);
size_t schedule_k_room(size_t steps);

#endif
