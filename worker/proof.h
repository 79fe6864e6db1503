/* Known answers a device must give before it gets work. */
#ifndef FARM_PROOF_H
#define FARM_PROOF_H

#include "opencl/gpu.h"

/* Checks the noise this build draws and the device's ops against embedded references.
 * false: *error is one sentence on what was not as it must be. */
bool proof_of_device(struct gpu *gpu, struct error *error);

#endif
