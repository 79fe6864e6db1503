/* A loaded model on one device, from text to pixels.
 *
 * Everything here belongs to the thread that owns the gpu.
 */
#ifndef FARM_PIPELINE_H
#define FARM_PIPELINE_H

#include "opencl/gpu.h"
#include "opencl/tensor.h"
#include "worker/sd/draws.h"
#include "worker/sd/model_files.h"
#include "worker/sd/request_files.h"
#include "worker/sd/resize.h"
#include "worker/sd/snapshot.h"

/* What the part to be repainted begins with, in A1111's words: the picture itself, colours
 * from round it; over those (of A1111's samplers) new noise, or nothing. */
enum inpaint_fill { INPAINT_ORIGINAL, INPAINT_FILL, INPAINT_NOISE, INPAINT_NOTHING };

/* A second pass over the picture enlarged (hires.h): so many times, or to this size. */
struct hires_request {
    double scale;
    size_t width, height;           /* with scale 0; all 0: no second pass */
    const char *upscaler;           /* "Latent", "Lanczos" */
    size_t steps;                   /* 0: as many as the first has */
    double cfg;                     /* 0: likewise */
    const char *sampler, *schedule; /* NULL: likewise */
};

/* Another model, which goes on with the latents of the first. */
struct refiner_request {
    const struct model_files *model; /* borrowed; NULL: none */
    const char *name;                /* in messages */
    double at; /* share of the way after which it does, 0 to 1 exclusively */
};

/* One image. Texts and pictures are borrowed; negative NULL: none was given, which SDXL
 * tells from an empty one. Images rendered together may differ in prompt, negative
 * and seed only. */
struct image_request {
    const char *prompt, *negative;
    uint64_t seed;
    size_t steps;
    double cfg;
    size_t width, height;                                   /* 0: the model's own */
    size_t original_width, original_height, crop_x, crop_y; /* SDXL; 0x0: the size */
    double aesthetic;                                       /* SDXL's refiner; 6 */
    const char *prediction, *zsnr; /* "v", "on"; NULL or "auto": what the model says */
    size_t class; /* of models that know classes, from 0; others do not look at it */
    const char *sampler, *schedule;
    const char *syntax; /* of prompts: "a1111", "comfy", "plain", "auto" or NULL */
    double eta, guidance_rescale;
    struct draws_options noise;       /* its seed is `seed`; batch 0 is 1 */
    size_t noise_width, noise_height; /* pixels the noise is drawn for; 0: the size */
    unsigned clip_skip;               /* 1: last layer */
    const struct pixels *init; /* image to image begins with it; NULL: with noise */
    double strength;           /* share of the steps that is run, with init or hires */
    struct hires_request hires;
    struct refiner_request refiner; /* of the second pass, where there are two */
    const struct pixels *mask;      /* inpainting: white is repainted; init's size */
    double mask_blur;               /* deviation in pixels of the mask */
    bool mask_invert;               /* black is repainted */
    bool full_res; /* only the part round the mask is worked on, at width x height, */
    size_t
        full_res_padding; /* so many pixels wider; the image is then of init's size */
    enum inpaint_fill inpaint_fill;
    const struct pixels *image;      /* InstructPix2Pix: the picture to be edited */
    double image_cfg;                /* how strongly it is followed */
    const struct adapter_use *loras; /* borrowed */
    size_t lora_count;
    const struct embedding_file *embeddings; /* borrowed */
    size_t embedding_count;
    const char *vae_path, *vae_name; /* another autoencoder; NULL: the model's own */
    const char *safety_path, *safety_name; /* what judges the picture (safety.h); NULL:
                                              nothing does */
    bool tile; /* the VAE in tiles (tiles.h), also where it would fit */
    /* Goes on from there; NULL: from the beginning. All of a batch stand at one step. */
    const struct snapshot *resume;
};

/* Whether two differ in texts and seed only; whether they ask for the same LoRAs,
 * embeddings, VAE and safety checker, which is a part of that. */
bool image_request_alike(const struct image_request *a, const struct image_request *b);
bool image_request_same_files(const struct image_request *a,
                              const struct image_request *b);

struct image {
    size_t width, height;
    uint8_t *rgb;                     /* height x width x 3, heap */
    size_t asked_width, asked_height; /* of the first pass */
    uint64_t step_pixels;             /* steps asked for times pixels, of all passes */
    size_t c, h, w;
    float *latents; /* [c, h, w] as the sampler left them, heap */
    bool truncated; /* plain syntax: the text had more than 75 tokens */
    bool flagged;   /* by the safety checker: the picture is black, its latents zeros */
};
void image_clear(struct image *self);

/* What is handed out while images are rendered, each lent for the call: every keep_every
 * steps, with keep_stopped where a rendering is stopped, and with keep_last after the last
 * step, which ends it undecoded (ERROR_BUSY "stopped"), a snapshot of each image from which
 * another device can go on; every preview_every steps a picture of its latents, a
 * pixel a place, or as a tiny VAE decodes them where the model has one. 0: none. */
struct pipeline_watch {
    size_t keep_every, preview_every;
    bool keep_stopped, keep_last; /* the second: models of latents, known steps */
    void (*keep)(void *owner, size_t image, const struct snapshot *snapshot);
    void (*preview)(void *owner, size_t image, const struct pixels *picture);
    void *owner;
};

/* Called from inside rendering: images started together stand at step `done` of `of`; first
 * with 0, when the texts are encoded, last with `of`, before pixels are decoded. False
 * stops the rendering (ERROR_BUSY "stopped"). */
typedef bool pipeline_progress(void *owner, size_t done, size_t of);

struct pipeline;

/* Loads text encoder, UNet and VAE. Names the file, tensor and shape when one is wrong. */
struct pipeline *pipeline_load(struct gpu *gpu, const struct model_files *files,
                               enum dtype dtype, struct error *error);
void pipeline_destroy(struct pipeline **self);

/* Asked where the device's memory is short, before anything goes that this model's next
 * image may use again: frees memory of others and returns true, or false. */
void pipeline_on_shortage(struct pipeline *self, bool (*make_room)(void *owner),
                          void *owner);

/* Pixels per latent; the model's default size. */
size_t pipeline_factor(const struct pipeline *self);
void pipeline_default_size(const struct pipeline *self, size_t *width, size_t *height);

/* Holds from now on, also for a rendering whose progress is being told; NULL: nothing is
 * handed out. Copied. Previews are had when some were wanted at a rendering's beginning,
 * then or before. */
void pipeline_watch(struct pipeline *self, const struct pipeline_watch *watch);

/* Renders `count` images in one batch into images[0 .. count - 1]. An image's bytes do not
 * depend on its neighbours or on count. On failure no image is filled. ERROR_INPUT for what
 * the request asks wrongly, ERROR_MEMORY when a smaller batch might do. */
bool pipeline_render(struct pipeline *self, const struct image_request *requests,
                     size_t count, pipeline_progress *progress, void *owner,
                     struct image *images, struct error *error);

/* Encodes the texts of an image to come, so that its rendering finds them done. May be called
 * from another's progress, and does nothing there where that one's files are others, or where
 * the model made room for its refiner. */
bool pipeline_encode_ahead(struct pipeline *self, const struct image_request *request,
                           struct error *error);

#endif
