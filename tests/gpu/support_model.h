/* What the tests of models share: golden tensors, model folders, one pass of a graph. */
#ifndef FARM_SUPPORT_MODEL_H
#define FARM_SUPPORT_MODEL_H

#include <jansson.h>

#include "tests/gpu/support_ops.h"
#include "worker/sd/checkpoint.h"
#include "worker/sd/pipeline.h"

/* The path of a file of the model "tiny", "variant" or "emoji"; heap. */
char *model_path(const char *model, const char *file);

/* That model, in float, on the test's device. */
struct pipeline *load_pipeline(const char *model);

/* tests/golden/manifest.json. */
json_t *golden_manifest(void);
const char *golden_text(const json_t *golden, const char *key);

/* A tensor of tests/golden/FILE as PyTorch lays it out; values are heap. */
struct golden_tensor {
    size_t dims, shape[4], count;
    float *values;
};
struct golden_tensor golden_load(const char *file, const char *tensor);

/* Of one golden case: the tensor that plays the role `name` under "inputs" or "outputs". */
struct golden_tensor golden_role(const json_t *golden, const char *under,
                                 const char *name);

/* [n, c, h, w] as it lies in the file, to and from the device's [n, h, w, c]. */
struct tensor tensor_from_nchw(enum dtype dtype, const struct golden_tensor *golden);
float *tensor_values_nchw(const struct tensor *tensor);

/* |found - want| / |want|, over all values. */
double relative_distance(const float *found, const float *want, size_t count);

/* Prints the distance, and fails the test when it is `most` or more. */
void assert_golden(const char *what, const float *found,
                   const struct golden_tensor *want, double most);

#endif
