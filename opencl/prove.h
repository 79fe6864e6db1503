/* A device shows that it computes what it should before it gets work.
 *
 * Every operation is run on a small fixed input, in f32 and f16, and compared with plain C
 * (reference.h). A driver that compiles wrong code, a card with broken memory and a kernel
 * cache gone bad are found here and not in somebody's picture. A matrix unit has to show more,
 * on shapes that need each of its tiles, both ways to load a row, and narrow and wide heads of
 * attention; where its kernels do not build or compute wrongly, the log says so and the device
 * works without it, as another kind.
 */
#ifndef FARM_PROVE_H
#define FARM_PROVE_H

#include "opencl/gpu.h"

/* Takes a second or two when the kernels are in the cache. ERROR_DEVICE names operation,
 * dtype and how far off it was. */
bool gpu_prove(struct gpu *gpu, struct error *error);

#endif
