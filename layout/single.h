/* What a Stable Diffusion model in one file is, by its tensors' names and shapes alone.
 *
 * Such files have no configuration: they keep the names of the program that trained them
 * (Rombach et al.'s latent diffusion, Stability AI's generative-models). Names tell the
 * family, shapes all sizes; what neither says is the family's convention.
 */
#ifndef FARM_SINGLE_H
#define FARM_SINGLE_H

#include "layout/tensor_file.h"

enum single_family { SINGLE_SD1, SINGLE_SD2, SINGLE_SDXL, SINGLE_REFINER };
enum { SINGLE_LEVELS = 8, SINGLE_TEXTS = 2 };

struct single_text {
    const char *prefix; /* of its tensors' names */
    bool openclip;      /* else CLIP as transformers names it */
    bool inner_name;    /* "text_model." follows the prefix */
    size_t vocabulary, tokens, c, inner, heads, layers;
    size_t projection; /* 0: none */
};

/* One resolution of the UNet, finest first. */
struct single_level {
    size_t channels, layers, heads, depth;
    bool attends;
    size_t first_down, first_up; /* its input_blocks and output_blocks begin there */
};

struct single_unet {
    size_t in, out, context, levels;
    struct single_level level[SINGLE_LEVELS];
    size_t added, time_ids; /* SDXL's added embedding; 0: none */
};

struct single_vae {
    size_t latent, levels, layers, channels[SINGLE_LEVELS];
    bool attends, quant, post_quant;
    double scaling_factor;
};

struct single {
    enum single_family family;
    size_t texts;
    struct single_text text[SINGLE_TEXTS];
    struct single_unet unet;
    struct single_vae vae;
    bool v_prediction, zero_snr;
    size_t sample;    /* default side in latents */
    char reason[300]; /* what it was recognised by */
};

/* "sd1", "sd2", "sdxl", "sdxl-refiner". */
const char *single_family_name(enum single_family family);

/* ERROR_INPUT naming the tensor that is missing or the shape that makes no sense. */
bool single_read(struct single *self, const struct tensor_file *file,
                 struct error *error);

/* The VAE alone; its names begin with `prefix` ("first_stage_model." in a whole model). */
bool single_read_vae(struct single_vae *self, const struct tensor_file *file,
                     const char *prefix, struct error *error);

#endif
