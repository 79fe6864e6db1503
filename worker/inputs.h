/* The files that a batch's tasks name, where they lie on this machine. */
#ifndef FARM_INPUTS_H
#define FARM_INPUTS_H

#include "proto/files/blob.h"
#include "proto/job/files.h"

struct input {
    uint8_t id[BLOB_ID];
    char *name; /* in its manifest: "cat-style.safetensors"; heap, owned */
    char *path; /* where it lies; heap, owned */
};
struct inputs {
    struct input item[INPUTS_MOST];
    size_t count;
};

/* Copies the texts. */
void inputs_add(struct inputs *self, const uint8_t id[BLOB_ID], const char *name,
                const char *path);
void inputs_clear(struct inputs *self);

/* One use of a file by an option, as the task says it. Texts are borrowed. */
struct input_use {
    const char *name, *path;
    double weight;
};

/* The files that the value of the option names, in its order: *count of at most FILES_MOST,
 * 0 where it names none. ERROR_INPUT when one is not among the inputs. */
bool inputs_of(const struct inputs *self, const struct option *option,
               const char *value, struct input_use uses[FILES_MOST], size_t *count,
               struct error *error);

#endif
