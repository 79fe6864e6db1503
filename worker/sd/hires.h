/* What lies between the two passes of a picture that is made larger: A1111's hires fix.
 *
 * The first pass's latents are resized as they are, or decoded, resized as a picture of
 * bytes, and encoded again; what sticks out of the size asked for is cut off at both ends.
 */
#ifndef FARM_HIRES_H
#define FARM_HIRES_H

#include "worker/sd/draws.h"
#include "worker/sd/pipeline.h"
#include "worker/sd/plans.h"

struct hires_size {
    size_t width, height; /* of the picture enlarged, in pixels */
    size_t h, w;          /* its latents */
    size_t top, left;     /* where those that remain begin, */
    size_t out_h, out_w;  /* and how many they are */
};

/* Whether the request wants a second pass. */
bool hires_wanted(const struct hires_request *asked);

/* What a first pass of width x height pixels becomes, `factor` pixels a latent. ERROR_INPUT
 * for an upscaler nobody knows, and for sizes it cannot make. */
bool hires_plan(struct hires_size *self, const struct hires_request *asked,
                size_t width, size_t height, size_t factor, struct error *error);

/* latents [h, w, c] of the first pass -> into [out_h, out_w, c]. The posterior of an encoded
 * picture is drawn from `draws`, or its mean where that is NULL. */
bool hires_enlarge(const struct hires_size *self, const char *upscaler,
                   const float *latents, size_t h, size_t w, size_t c,
                   struct plans *plans, bool tile, struct draws *draws, float *into,
                   struct error *error);

#endif
