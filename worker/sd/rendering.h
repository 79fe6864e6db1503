/* The inside of a rendering: one pass over a batch of images, for pipeline.c, rendering*.c,
 * watch.c, footprint.c and adapt.c alone. */
#ifndef FARM_RENDERING_H
#define FARM_RENDERING_H

#include "worker/sd/adapters.h"
#include "worker/sd/conditions.h"
#include "worker/sd/model.h"
#include "worker/sd/plans.h"
#include "worker/sd/preview.h"
#include "worker/sd/safety.h"
#include "worker/sd/start.h"
#include "worker/sd/vae_other.h"

struct pipeline {
    struct gpu *gpu;
    enum dtype dtype;
    struct model_files files;
    struct pipeline *refiner;       /* owned; the last one that was asked for */
    struct pipeline *base;          /* of a refiner: whose it is */
    bool (*make_room)(void *owner); /* as pipeline_on_shortage has it, or NULL */
    void *room_owner;
    bool awake;                   /* the rest is there (residence.h) */
    size_t loads;                 /* how many times it was loaded */
    size_t factor, width, height; /* as in pipeline_factor, pipeline_default_size */
    struct model model;
    struct conditioning *conditioning;
    struct adapters *adapters;
    struct embedding_cache embeddings;
    struct vae_other vae;
    struct safety *safety; /* the one that was asked for last; NULL: none */
    struct plans plans;
    const struct image_request
        *present; /* of the rendering under way, borrowed; or NULL */
    struct pipeline_watch watch;
    struct preview_map preview; /* fitted when one is first wanted */
};

struct rendering {
    struct pipeline *pipeline;
    const struct image_request *request;
    size_t count;
    const struct rendering *first; /* of a second pass: the one before it; */
    struct image_request *own;     /* its requests, where they were made for it, */
    float *given;                  /* and the latents it begins with [count, h, w, c] */
    bool beside; /* of another under way: its texts alone are wanted */
    struct rendering
        *before; /* of a refiner's part: the model's, which it goes on with */
    float *
        carried; /* with which the model's part ends, as denoiser_save; NULL: nothing */
    bool carries; /* of it more than latents is wanted */
    size_t calls; /* of the UNet that count before the run's first, for prompts */
    size_t done, length,
        of;            /* steps before the run's first, its last one's number, and of
                                the whole rendering */
    size_t c, h, w;    /* latents of an image */
    size_t factor;     /* pixels of each */
    size_t loads;      /* of the pipeline, when files were put in their places */
    bool is_xl;        /* of SDXL's family */
    uint64_t adapters; /* the set that is on */
    struct sampler_run run;
    bool edits;    /* by InstructPix2Pix's three rows */
    bool inpaints; /* the UNet is told of a mask */
    bool keeps;    /* latents outside a mask are the picture's after each step, */
    bool holds;    /* or held to it at each call (denoiser.h) */
    bool guided;
    size_t extra; /* input channels of the UNet beside the latents' */
    struct canvas canvas;
    struct start start;
    struct conditions conditions;
    size_t rows;          /* of the UNet's batch */
    struct draws **draws; /* of each image */
    float *context;       /* [rows, keys, width] */
    float *added;         /* [rows, added], where the UNet takes it */
    float *nchw, *nhwc;   /* latents or noise of all images */
};

/* pipeline_render() of images that share every step. */
bool rendering_together(struct pipeline *self, const struct image_request *requests,
                        size_t count, pipeline_progress *progress, void *owner,
                        struct image *images, struct error *error);

/* Checks the requests and plans the steps; of `pipeline`, `request`, `count` and what is said
 * of a second pass. */
bool rendering_prepare(struct rendering *self, struct error *error);
void rendering_clear(struct rendering *self);

/* The pipeline is on the device, with the requests' files in their places. */
bool rendering_wake(struct rendering *self, struct error *error);

/* rendering_texts.c: encodes the prompts; gives the denoiser what its rows attend to at call
 * `call` where it is another than before, or is the first. */
bool rendering_encode(struct rendering *self, struct error *error);
bool rendering_attend(struct rendering *self, struct denoiser *denoiser, size_t call,
                      bool first, struct error *error);

/* The condition of a row: of three rows an image the first two are without the prompt. */
size_t rendering_condition(const struct rendering *self, size_t row);

/* The latents before the first step, from the generators' first draws or from the model of
 * which this is the refiner's part. Called by rendering_denoise, or for a part that is left
 * out. */
bool rendering_begin(struct rendering *self, struct error *error);

/* All steps; leaves the last latents in nhwc. */
bool rendering_denoise(struct rendering *self, pipeline_progress *progress, void *owner,
                       struct error *error);

/* A step's noise of every image into nhwc. */
bool rendering_draw(struct rendering *self, size_t step, struct error *error);

/* The steps of one image, where they are found on the way (adaptive.h). */
bool rendering_adapt(struct rendering *self, struct denoiser *denoiser,
                     pipeline_progress *progress, void *owner, struct error *error);

/* Where requests go on from snapshots: puts latents and history there, brings generators to
 * their places, and gives the step to go on with; 0 where they do not. ERROR_INPUT for
 * snapshots of another picture. */
bool rendering_resume(struct rendering *self, struct denoiser *denoiser, size_t *first,
                      struct error *error);

/* Hands out what is wanted where it is stopped; false with ERROR_BUSY "stopped". */
bool rendering_stopped(struct rendering *self, struct denoiser *denoiser, size_t done,
                       struct error *error);

/* Hands out what is wanted after `done` steps. */
bool rendering_watch(struct rendering *self, struct denoiser *denoiser, size_t done,
                     struct error *error);

#endif
