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

enum { MODEL_FILES = 4 };

struct model {
    struct gpu *gpu;
    struct schedule_config schedule;
    struct text_stack text;
    struct unet unet;
    struct vae vae;
    struct checkpoint
        *file[MODEL_FILES]; /* of the parts adapters change: stays mapped */
    size_t files;
    bool pixels; /* UNet2DModel: neither text nor VAE, the latents are pixels */
    size_t classes, class_width; /* class_emb.safetensors: vectors behind the pixels */
    float *class_vectors;        /* [classes, class_width]; NULL without */
    bool zero_negative; /* force_zeros_for_empty_prompt: no negative prompt is zeros */
    bool aesthetic;     /* the refiner: five time ids, the last an aesthetic score */
};

/* Names the file, tensor and shape when one is wrong; *self is then cleared. */
bool model_load(struct model *self, struct gpu *gpu, const struct model_files *files,
                enum dtype dtype, struct error *error);
void model_clear(struct model *self);

/* Takes the checkpoint over and keeps it open until the model is cleared. */
void model_keep(struct model *self, struct checkpoint **from);
/* The model's schedule, or what a request says of its training instead: prediction "v",
 * "epsilon", "sample", zsnr "on", "off"; "auto" or NULL is the model's own. */
bool model_schedule(const struct model *self, const char *prediction, const char *zsnr,
                    struct schedule_config *into, struct error *error);

/* The class's vector for each of `count` places: [count, class_width]. */
void model_class_channels(const struct model *self, size_t class, size_t count,
                          float *into);

/* ERROR_INPUT for a class beyond those it knows; any will do where it knows none. */
bool model_knows_class(const struct model *self, size_t class, struct error *error);

#endif
