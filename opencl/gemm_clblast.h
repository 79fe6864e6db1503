/* CLBlast's product in place of our own, for f32 linear layers: FARM_GEMM=clblast.
 *
 * For devices our kernels are not tuned for. CLBlast chooses its kernel by the number of
 * rows, so a row's bytes may depend on the batch: never chosen unless asked for.
 */
#ifndef FARM_GEMM_CLBLAST_H
#define FARM_GEMM_CLBLAST_H

#include "opencl/gemm.h"

bool clblast_wanted(enum dtype dtype);

/* x W^T by CLBlast into scratch memory, the rest by a kernel. `types`: its build options. */
void run_on_clblast(struct stream *s, const struct gemm *gemm, const char *types);

#endif
