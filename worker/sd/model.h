/* A model whole: what its parts are and that they fit together.
 *
 * model_load() looks at the files and calls the layout's own loader.
 */
#ifndef FARM_MODEL_H
#define FARM_MODEL_H

#include "worker/sd/model_files.h"
#include "worker/sd/schedule.h"
#include "worker/sd/text_stack.h"
#include "worker/sd/unet.h"
#include "worker/sd/vae.h"

struct model {
    struct gpu *gpu;
    struct schedule_config schedule;
    struct text_stack text;
    struct unet unet;
    struct vae vae;
    bool zero_negative; /* force_zeros_for_empty_prompt: no negative prompt is zeros */
    bool aesthetic;     /* the refiner: five time ids, the last an aesthetic score */
};

/* Names the file, tensor and shape when one is wrong; *self is then cleared. */
bool model_load(struct model *self, struct gpu *gpu, const struct model_files *files,
                enum dtype dtype, struct error *error);
void model_clear(struct model *self);

#endif
