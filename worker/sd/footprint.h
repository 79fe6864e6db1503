/* What a model takes of a device's memory to render one size, known before any of it is
 * taken: by the passes that plan it, made on a gpu that only plans. So is what a safety
 * checker takes beside it.
 *
 * Of the files the headers are read, hardly any weights.
 */
#ifndef FARM_FOOTPRINT_H
#define FARM_FOOTPRINT_H

#include "worker/sd/pipeline.h"

enum footprint_phase {
    FOOTPRINT_TEXT,
    FOOTPRINT_UNET,
    FOOTPRINT_VAE,
    FOOTPRINT_SAFETY,
    FOOTPRINT_PHASES
};
extern const char *const footprint_phase_name[FOOTPRINT_PHASES];

/* Bytes. */
struct footprint {
    struct footprint_part {
        size_t weights;
        size_t arena, live; /* of its plan, and the most of it alive at one time */
        size_t own; /* inputs, results and, where they are kept, transformed weights */
    } part[FOOTPRINT_PHASES];
    size_t weights;       /* of all parts */
    size_t whole;         /* with every part's plan, as a device with room keeps them */
    size_t least;         /* with that of UNet or VAE at a time, as it does without */
    size_t width, height; /* pixels */
    bool tiled; /* the VAE in tiles (tiles.h), since it does not fit otherwise */
};

/* Guided images without pictures and masks. */
struct footprint_request {
    const struct model_files *files;
    enum dtype dtype;
    size_t width, height;                  /* 0: the model's own */
    size_t images;                         /* at once */
    const char *safety_path, *safety_name; /* NULL: none judges them */
};

/* ERROR_MEMORY where a tensor is larger than the device allows. */
bool footprint_plan(struct footprint *into, size_t device,
                    const struct footprint_request *request, struct error *error);

#endif
