/* `farm-worker plan PATH`: what a model would take of each device's memory. */
#ifndef FARM_MEMORY_H
#define FARM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/sd/footprint.h"

/* Words: the path of a folder or file, then any of WIDTHxHEIGHT, f32 or f16 (the default is
 * f32), and how many images at once; `safety`: the file of a checker, or NULL. Prints a table a
 * device, or, with `json`, one document; gives the process's status. Nothing is taken of the
 * devices. */
int memory_show(char *const *words, size_t count, const char *safety, bool json);

/* What rendering that takes of the device, made out before anything is taken, and told in a line
 * of the log; 0 where that fails, which loading will too. */
size_t memory_plan(size_t index, const struct gpu_info *device, const char *model,
                   const struct footprint_request *request);

#endif
