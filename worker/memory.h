/* `farm-worker plan PATH`: what a model would take of each device's memory. */
#ifndef FARM_MEMORY_H
#define FARM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/sd/footprint.h"

/* Words: the path of a folder or file, then any of WIDTHxHEIGHT, f32 or f16 (the default is
 * f32), and how many images at once. Prints a table a device, or, with `json`, one document;
 * gives the process's status. Nothing is taken of the devices. */
int memory_show(char *const *words, size_t count, bool json);

/* One line on it for the log. */
void memory_line(const struct footprint *plan, const struct gpu_info *device,
                 char *into, size_t size);

#endif
