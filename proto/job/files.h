/* What the value of a file option says: "FILE[:WEIGHT];FILE...", one file or several.
 *
 * FILE is a path on the command line, a refiner's that of a model; a client adds it to the
 * farm as a manifest of one file or of a model, and puts the manifest's id (64 hexadecimal digits) in its place, which is what a
 * task holds: the content decides the pixels, not the name.
 */
#ifndef FARM_FILES_H
#define FARM_FILES_H

#include "proto/job/options.h"

enum { FILES_MOST = 16, FILE_NAME_MOST = 4096, INPUTS_MOST = 64 };

struct file_use {
    char *file; /* heap, owned */
    double weight;
};
struct file_uses {
    struct file_use item[FILES_MOST];
    size_t count;
    double usual; /* the weight where none is said */
};

/* Reads a value of the option; "" is no file. A weight is what stands behind the last
 * colon, where the option's kind has weights and it is a number: a LoRA's from -100 to 100,
 * else 1; a refiner's, where it goes on, from 0.01 to 0.99, else 0.8. ERROR_INPUT for an
 * empty name, for more files than the option takes, and for a refiner's beyond those. */
bool file_uses_read(struct file_uses *self, const struct option *option,
                    const char *value, struct error *error);
void file_uses_clear(struct file_uses *self);

/* The value again, in the one form that task keys are made of; heap, the caller's. */
char *file_uses_text(const struct file_uses *self);

/* The ids of all files the task's options name, each once, in the order of the options.
 * ERROR_INPUT for one that is no id, and above INPUTS_MOST. */
bool task_inputs(const struct task *self, uint8_t ids[INPUTS_MOST][32], size_t *count,
                 struct error *error);

#endif
