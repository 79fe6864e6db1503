/* A rendered image on its way from the render actor, which hands out pixels, to the I/O actor,
 * which makes files of them while the device goes on. */
#ifndef FARM_RENDERED_H
#define FARM_RENDERED_H

#include "worker/attempts.h"
#include "worker/sd/pipeline.h"

/* An image as it left the device, and all that goes into its files. */
struct rendered {
    struct attempt attempt;     /* a copy, without where it began */
    char *model_name, *refiner; /* heap; of the refiner "name [hash]", "" without */
    char model_hash[11];
    size_t at_once;
    double seconds;
    struct image image;
};

/* Copies the attempt and takes what is in *image over. */
struct rendered *rendered_new(const struct attempt *attempt, struct image *image);
void rendered_destroy(struct rendered **self);

#endif
