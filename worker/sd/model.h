/* A diffusers folder of StableDiffusionPipeline, whole: what the parts are and that they
 * fit together.
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
};

/* Names the file, tensor and shape when one is wrong; *self is then cleared. */
bool model_load(struct model *self, struct gpu *gpu, const struct model_files *files,
                enum dtype dtype, struct error *error);
void model_clear(struct model *self);

#endif
