/* The tasks of one job, one after another: what they share is worked out once, so that the
 * next seed costs next to nothing.
 */
#ifndef FARM_EXPANSION_H
#define FARM_EXPANSION_H

#include "proto/job/job.h"

struct expansion;

/* Of a checked job (job_check), which is borrowed; NULL with the error of a job that is
 * not. */
struct expansion *expansion_new(const Farm__Job *job, struct error *error);
void expansion_destroy(struct expansion **self);

/* The task at `index`, borrowed until the next call. The caller may fill in what it leaves
 * open, the same way for tasks that differ in their seed alone: it may be found filled in.
 * NULL with ERROR_NOT_FOUND beyond the last. */
struct task *expansion_task(struct expansion *self, uint64_t index,
                            struct error *error);

/* Tasks of equal numbers differ in prompt and seed alone. */
uint64_t expansion_axes(const struct expansion *self, uint64_t index);

#endif
