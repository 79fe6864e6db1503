/* The pictures that a batch's tasks name, read from their files. */
#ifndef FARM_BROUGHT_H
#define FARM_BROUGHT_H

#include "worker/inputs.h"
#include "worker/sd/pipeline.h"

/* rgb NULL: the task names none. */
struct brought {
    struct pixels init, mask, image;
};

/* ERROR_INPUT names the option of a file that is no picture. */
bool brought_read(struct brought *self, const struct inputs *inputs,
                  const struct task *task, struct error *error);
void brought_clear(struct brought *self);

/* Fills the request's fields of pictures; they are borrowed from self. */
void brought_request(const struct brought *self, const struct task *task,
                     struct image_request *into);

#endif
