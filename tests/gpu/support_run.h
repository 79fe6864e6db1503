/* What the tests of whole runs share: a run's request, how far its picture is from the
 * golden one, the farthest of many. */
#ifndef FARM_SUPPORT_RUN_H
#define FARM_SUPPORT_RUN_H

#include "tests/gpu/support_model.h"

/* A number of a golden run; what is absent is `fallback`. */
double run_number(const json_t *run, const char *key, double fallback);

/* What every golden run says of itself: prompts, seed, steps, cfg, size, sampler, ...; its
 * texts stay the run's. */
struct image_request run_request(const json_t *run);

/* The model "tiny", with the UNet of another folder of goldens unless that is itself. */
struct pipeline *load_variant(const char *unet);

/* Fails unless images have the same bytes alone and in batches of 4 and 8. */
void assert_same_in_batches(struct pipeline *pipeline, struct image_request request);

/* "a red apple" in 4 Euler steps, 64x64: the run of the adapters' goldens. */
struct image_request apple_request(void);

/* The picture a golden run takes as `role`; heap, empty where it takes none. */
struct pixels golden_pixels(const json_t *golden, const char *role);

/* Mean difference of two pictures, of 255; frees the golden one. */
double pixel_distance(const struct image *image, struct golden_tensor want);

/* Fails unless the request is refused as a user's mistake, in words with `says` among them. */
void assert_render_refused(struct pipeline *pipeline,
                           const struct image_request *request, const char *says);

/* The farthest of all runs, and where. */
struct worst {
    double latents, pixels;
    size_t runs;
    char where[200];
};

/* Renders the run and keeps what is farther than all before. */
void worst_render(struct worst *worst, struct pipeline *pipeline, const json_t *run,
                  const struct image_request *request);

/* Fails with fewer runs than `least`, latents (relative L2) or pixels beyond tolerance. */
void worst_check(const struct worst *worst, size_t least);

/* The same for all runs of `cases` of a model and mode, each with its own pictures. */
typedef struct image_request run_request_of(const json_t *run,
                                            const struct pixels *picture,
                                            const struct pixels *mask);
void worst_of_mode(json_t *cases, run_request_of *request_of, const char *model,
                   const char *mode, size_t least);

#endif
