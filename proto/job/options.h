/* The options of a render: one table from which the command line, the wire, the task key
 * and the PNG's text come. Adding an option is one row in option_table.c and one field here.
 */
#ifndef FARM_OPTIONS_H
#define FARM_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/farm.pb-c.h"

/* One image to be made, every option resolved. Text is on the heap, owned. */
struct task {
    char *model; /* name in jobs; manifest id as 64 hex digits once resolved */
    char *prompt;
    char *negative;
    uint64_t seed;
    uint64_t steps;
    double cfg;
    uint64_t width, height; /* 0: the model's own */
    char *sampler;          /* "DPM++ 2M" */
    char *schedule;         /* "Automatic", "Karras" */
    double eta;             /* DDIM's */
    double guidance_rescale;
    uint64_t clip_skip;
    uint64_t original_width, original_height; /* SDXL; 0: the size */
    uint64_t crop_x, crop_y;                  /* SDXL */
    double aesthetic;                         /* SDXL's refiner */
    uint64_t class_number;
    char *prediction;     /* "auto", "epsilon", "v", "sample" */
    char *zsnr;           /* "auto", "on", "off" */
    char *empty_negative; /* "none", "text" */
    char *image;          /* picture to edit; "" none */
    double image_cfg;
    char *init; /* picture to begin from; "" none */
    char *inpaint_fill;
    char *mask; /* what of init is repainted */
    double mask_blur;
    double strength;                    /* 0: the usual one */
    char *syntax;                       /* "auto", "a1111", "comfy", "plain" */
    char *rng;                          /* "torch-cpu", "comfy-batch", "philox" */
    uint64_t batch, batch_index;        /* of "comfy-batch" */
    uint64_t variation_seed;            /* and how much of its noise: */
    double variation;                   /* 0 to 1, behind the seed */
    uint64_t noise_width, noise_height; /* pixels the seed's noise is for; 0: these */
    uint64_t ensd;
    double hires_scale; /* of the upscale pass, or its size; all 0: none */
    uint64_t hires_width, hires_height;
    char *hires_upscaler;                 /* "Latent", "Lanczos" */
    uint64_t hires_steps;                 /* 0: as many */
    double hires_cfg;                     /* 0: the same */
    char *hires_sampler, *hires_schedule; /* "same", or another */
    char *inpaint_full_res;               /* "off", "on" */
    uint64_t inpaint_padding;             /* pixels round the mask, with that */
    char *refiner;                        /* model that goes on, and where; "" none */
    char *mask_invert;                    /* "off", "on" */
    char *tile;                           /* "off", "on" */
    char *embedding;                      /* files; "" none */
    char *lora;                           /* files with weights; "" none */
    char *vae;                            /* file; "": the model's own */
    char *safety_checker;                 /* file; "": none */
    char *precision;                      /* "auto", "f32", "f16" */
};

enum option_type {
    OPTION_TEXT,
    OPTION_COUNT,
    OPTION_NUMBER,
    OPTION_SIZE,
    OPTION_POINT, /* "X,Y" */
    OPTION_CHOICE,
    OPTION_SAMPLER,   /* a choice, and what follows it in brackets */
    OPTION_VARIATION, /* "SEED:STRENGTH", two fields; "": none */
    OPTION_HIRES,     /* "2" or "768x1024", three fields; "": none */
    OPTION_FILE,      /* proto/job/files.h */
};

/* Whether an option is part of the task key. What was added after keys were first kept is
 * left out where it has its default, so that keys of jobs that do without stay. */
enum option_key { KEY_NEVER, KEY_ALWAYS, KEY_UNLESS_DEFAULT };

struct option {
    const char *name; /* "clip-skip"; the command line's --clip-skip */
    enum option_type type;
    size_t offset;        /* in struct task; OPTION_SIZE: width, height follows it;
                        OPTION_POINT: likewise */
    const char *fallback; /* default, as text */
    double least,
        most; /* of counts, numbers, sizes; of texts their bytes; most files */
    const char *
        choices; /* OPTION_CHOICE, OPTION_SAMPLER: "f32|DDIM=DDIMScheduler": name=other names;
                            OPTION_FILE: the kind of its manifests */
    const char *metavar; /* for help: "N", "WxH"; NULL: given alone it means "on" */
    const char *help;
    enum option_key key;
};

/* All options, sorted by name; a null name ends them. `seed` and `prompt` are among them:
 * an axis may range over any. OPTION_COUNT_ALL is their number. */
enum { OPTION_COUNT_ALL = 49 };
extern const struct option options[];
const struct option *option_find(const char *name);

void task_init(struct task *self); /* defaults */
void task_clear(struct task *self);
void task_copy(struct task *self, const struct task *from); /* into an empty one */

/* Sets an option from text. ERROR_INPUT names option, value and what is allowed. A choice
 * is matched as it is spelt, else without regard to case, and stored as the table spells
 * it. A1111's "DPM++ 2M Karras" sets the schedule too. */
bool task_set(struct task *self, const char *name, const char *value,
              struct error *error);

/* The same with bytes from a message, which may hold anything. */
bool task_set_bytes(struct task *self, ProtobufCBinaryData name,
                    ProtobufCBinaryData value, struct error *error);

/* The option's value as text that task_set takes back unchanged; heap, the caller's. */
char *task_get(const struct task *self, const struct option *option);

#endif
