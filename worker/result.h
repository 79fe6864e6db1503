/* The files of a rendered image, on their way to the spool. */
#ifndef FARM_RESULT_H
#define FARM_RESULT_H

#include "base/buffer.h"

struct rendered;

struct result {
    uint64_t epoch, counter; /* the attempt */
    uint8_t job[16];
    uint64_t index; /* of the task in its job */
    uint8_t key[32];
    struct buffer png;     /* a whole file */
    struct buffer latents; /* a whole safetensors file; empty when not asked for */
    uint8_t pixels[32];    /* BLAKE2b-256 of the RGB bytes */
    double seconds;        /* of rendering, this image's share of its batch */
    uint64_t step_pixels;
    size_t at_once; /* images of its batch */
};

/* Its files, on the heap; NULL when they cannot be written. */
struct result *result_make(const struct rendered *from, struct error *error);
void result_clear(struct result *self);

#endif
