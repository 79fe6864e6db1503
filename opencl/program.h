/* Kernels by file, name and build options, compiled once.
 *
 * Sources are embedded in the program; with FARM_KERNEL_DIR set, a file of that folder goes
 * before the embedded one of its name. A source may include others of its folder. Compiled
 * programs are kept in memory and in <cache>/kernels, named by a hash of device, driver,
 * source and options; a file there that is damaged or refused is rebuilt. PoCL has a cache of
 * its own, so nothing is written there for it unless FARM_KERNEL_CACHE is set.
 */
#ifndef FARM_PROGRAM_H
#define FARM_PROGRAM_H

#include "opencl/gpu.h"

struct tuning;

struct programs *programs_new(void);
void programs_destroy(struct programs **self);

/* The kernel `name` of `file` ("norm.cl") built with `options` ("-DX=1"); borrowed. The
 * same cl_kernel for the same three, so set all its arguments anew before each use. */
cl_kernel program_kernel(struct gpu *gpu, const char *file, const char *name,
                         const char *options, struct error *error);

/* Adds the line "FILE OPTIONS" to the file that FARM_KERNEL_LIST names, when it does; also
 * what a device that only plans would build. tests/offline.py compiles such a list. */
void program_list(const char *file, const char *options);

/* Whether a program that does not compile is told of in the log; true at first. */
void programs_tell(struct programs *self, bool tell);

/* What is known of the kernels' variants (tuning.h), owned by the programs from then on; NULL
 * where nothing was given, also of a device that only plans (self NULL). */
void programs_tune(struct programs *self, struct tuning *tuning);
struct tuning *programs_tuning(const struct programs *self);

/* 16 bytes that another device has only if it is of the same model, with the same driver and
 * these kernels, and works them the same way: what was measured there holds here. */
bool programs_identity(struct gpu *gpu, const char *const *files, size_t count,
                       uint8_t identity[16], struct error *error);

/* Programs compiled from source, as opposed to found in the cache. */
size_t programs_compiled(const struct programs *self);

#endif
