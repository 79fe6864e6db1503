/* The texts that a job's pictures are described by, each as it reaches a task. */
#ifndef FARM_TEXTS_H
#define FARM_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "proto/farm.pb-c.h"

/* A text with what it is for, "prompt" or "negative", and how many bytes were read to make
 * it; false ends the walk. */
typedef bool(text_fn)(void *context, const char *option, const char *text, size_t cost,
                      struct error *error);

/* Calls `look` with every prompt of a checked job, alternatives expanded, and every negative
 * prompt, each once for where it stands in the job. False when a call was. */
bool job_each_text(const Farm__Job *job, text_fn *look, void *context,
                   struct error *error);

#endif
