/* File names of results, from a template: "{index:05}-{seed}". */
#ifndef FARM_NAMES_H
#define FARM_NAMES_H

#include "base/error.h"
#include "proto/job/job.h"

#define NAMES_DEFAULT "{index:05}-{seed}"

/* Fields: index, and every option's name; ":05" fills numbers up with zeros. Two results
 * would overwrite each other without {index}: a template without it, in a job of several
 * tasks, gets it put behind. ERROR_INPUT for unknown fields and for a slash. */
bool names_check(const char *template, struct error *error);

/* The name without its ending, for one task; heap. What file systems or shells might
 * stumble over in values becomes an underscore. */
char *names_make(const char *template, const struct task *task, uint64_t index,
                 bool several);

#endif
