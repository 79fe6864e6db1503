/* The files that a batch's tasks name alike, read where they are pictures. */
#ifndef FARM_BROUGHT_H
#define FARM_BROUGHT_H

#include "worker/inputs.h"
#include "worker/sd/pipeline.h"

struct brought {
    struct pixels init, mask, image;             /* rgb NULL: the task names none */
    struct embedding_file embedding[FILES_MOST]; /* texts borrowed from the inputs */
    size_t embeddings;
    const char *vae_path, *vae_name; /* likewise; NULL: none */
    const char *safety_path, *safety_name;
    struct refiner_request refiner; /* likewise */
    char refiner_title[300];        /* "name [hash]"; "": none */
};

/* ERROR_INPUT names the option of a file that is no picture. */
bool brought_read(struct brought *self, const struct inputs *inputs,
                  const struct task *task, struct error *error);
void brought_clear(struct brought *self);

/* Fills the request's fields of these, and what is made of them or of a first pass; they are
 * borrowed from self, texts from the task. */
void brought_request(const struct brought *self, const struct task *task,
                     struct image_request *into);

#endif
