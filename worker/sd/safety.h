/* StableDiffusionSafetyChecker: whether a picture is near what is not wanted.
 *
 * CLIP's vision transformer (Radford et al. 2021) looks at the picture; what comes out is
 * compared with a few concepts, as diffusers does:
 *
 *     score = round(cosine - threshold + adjustment, 3 digits)
 *
 * A special concept with a score above 0 makes the adjustment 0.01 for what comes after it;
 * any other with a score above 0 flags the picture. It belongs to the thread that owns the
 * gpu.
 */
#ifndef FARM_SAFETY_H
#define FARM_SAFETY_H

#include "opencl/stream.h"
#include "worker/sd/resize.h"

enum { SAFETY_CONCEPTS = 64 };

struct safety;

/* The checker of a safetensors file: sizes are those of its tensors, heads 64 wide, as all of
 * OpenAI's are. Computes in f32, so that devices agree. `name` stands in messages;
 * ERROR_INPUT names file and tensor. */
struct safety *safety_load(struct gpu *gpu, const char *path, const char *name,
                           struct error *error);
void safety_destroy(struct safety **self);

/* What it runs on, to be asked of its memory; bytes of its input and result beside that. */
const struct stream *safety_stream(const struct safety *self);
size_t safety_beside(const struct safety *self);

/* Whether it is that file's. */
bool safety_is(const struct safety *self, const char *path);

struct safety_finding {
    bool flagged;
    size_t specials, concepts;                                 /* how many there are */
    double special[SAFETY_CONCEPTS], concept[SAFETY_CONCEPTS]; /* scores */
};

/* The picture's shorter side is made as long as the transformer's picture is wide, and the
 * middle is looked at. */
bool safety_check(struct safety *self, const struct pixels *picture,
                  struct safety_finding *into, struct error *error);

#endif
