/* A1111's generation parameters text: written into PNGs, read back by `farmctl info`. */
#ifndef FARM_PARAMS_H
#define FARM_PARAMS_H

#include "base/buffer.h"
#include "proto/job/options.h"

/* Stands behind what params_write wrote where a prompt was cut. */
#define PARAMS_TRUNCATED "Truncated: text beyond 75 tokens was dropped"

/* Likewise where the picture is black. */
#define PARAMS_FLAGGED "Flagged: by the safety checker"

/* Appends
 *     prompt
 *     Negative prompt: ...                                 (when not empty)
 *     Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1,
 *     Size: 512x512, Model hash: ..., Model: name, RNG: CPU, ..., Version: clfarm 0.1.0
 * (the last in one line). Values with comma, colon or newline stand as JSON strings. */
struct params_models {
    const char *name, *hash;
    const char *refiner; /* "name [hash]"; "": none */
};
bool params_write(const struct task *task, const struct params_models *models,
                  struct buffer *into, struct error *error);

/* The field's name of an option that names files: "Init file" of `init`. */
enum { PARAMS_NAME = 40 };
void params_file_name(const struct option *option, char name[PARAMS_NAME]);

struct params_field {
    char *name, *value;
};

/* What such a text says; prompts and fields are heap copies. */
struct params {
    char *prompt, *negative;
    struct params_field *field;
    size_t count;
};

/* Reads text of A1111 or ours. Never fails on odd text: what is no "Name: value" line is
 * part of the prompt, as A1111 reads it. ERROR_MEMORY only. */
bool params_read(const char *text, struct params *into, struct error *error);
void params_clear(struct params *self);

/* Fields of options that are written only when they are set: name, option; a null name ends
 * them. */
extern const char *const params_rare[][2];

#endif
