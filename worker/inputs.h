/* The files that a batch's tasks name, where they lie on this machine. */
#ifndef FARM_INPUTS_H
#define FARM_INPUTS_H

#include "proto/files/blob.h"
#include "proto/job/files.h"
#include "worker/sd/model_files.h"

struct input {
    uint8_t id[BLOB_ID];
    char *name; /* in its manifest: "cat-style.safetensors"; heap, owned */
    char *path; /* where it lies; heap, owned; NULL: it is a model, of these files */
    struct model_files files;
    char hash[11]; /* of a model */
};
struct inputs {
    struct input item[INPUTS_MOST];
    size_t count;
};

/* Copies the texts. */
void inputs_add(struct inputs *self, const uint8_t id[BLOB_ID], const char *name,
                const char *path);
void inputs_add_model(struct inputs *self, const uint8_t id[BLOB_ID], const char *name,
                      const char *hash, const struct model_files *files);
void inputs_copy(struct inputs *self,
                 const struct inputs *from); /* into an empty one */
void inputs_clear(struct inputs *self);

/* One use of a file by an option, as the task says it. Texts are borrowed. */
struct input_use {
    const char *name, *path;
    const struct model_files *model; /* of a model, which has no path; else NULL */
    const char *hash;                /* likewise */
    double weight;
};

/* The files that the value of the option names, in its order: *count of at most FILES_MOST,
 * 0 where it names none. ERROR_INPUT when one is not among the inputs, or a model where a
 * file is wanted. */
bool inputs_of(const struct inputs *self, const struct option *option,
               const char *value, struct input_use uses[FILES_MOST], size_t *count,
               struct error *error);

#endif
