#include "worker/rendered.h"

#include <stdlib.h>

struct rendered *rendered_new(const struct attempt *attempt, struct image *image)
{
    struct rendered *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    const struct snapshot *start = &attempt->start.snapshot;
    if (attempt->start.state == START_HERE) /* of what was done here */
        image->step_pixels =
            image->step_pixels / start->steps * (start->steps - start->step);
    struct attempt begun = *attempt;
    begun.start = (struct attempt_start){0};
    attempt_copy(&self->attempt, &begun);
    self->image = *image;
    *image = (struct image){0};
    return self;
}

void rendered_destroy(struct rendered **self)
{
    if (!*self)
        return;
    attempt_copy_clear(&(*self)->attempt);
    image_clear(&(*self)->image);
    free((*self)->model_name);
    free((*self)->refiner);
    free(*self);
    *self = NULL;
}
