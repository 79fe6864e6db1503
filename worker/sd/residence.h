/* Which of two models are on the device: a pipeline's own, and that of its refiner.
 *
 * Both stay loaded where the device's memory holds them. Where it does not, one sleeps while
 * the other works: it is unloaded, and loaded again when it is needed.
 */
#ifndef FARM_RESIDENCE_H
#define FARM_RESIDENCE_H

#include "worker/sd/rendering.h"

/* Loads the model unless it is. What was made of it before it slept is gone; `loads` of the
 * pipeline tells. */
bool residence_wake(struct pipeline *self, struct error *error);
void residence_sleep(struct pipeline *self);

/* Where memory is short: something that is not in use goes, of other models first. False:
 * there is nothing. */
bool residence_make_room(struct pipeline *self);

/* Tries `take` until memory suffices for it: plans go first, since they are made again soonest,
 * then what residence_make_room() finds. */
bool residence_take(struct pipeline *self,
                    bool (*take)(void *owner, struct error *error), void *owner,
                    struct error *error);

/* A new one for the files, awake; NULL when they cannot be loaded. */
struct pipeline *residence_new(struct gpu *gpu, const struct model_files *files,
                               enum dtype dtype, struct pipeline *base,
                               struct error *error);

/* The pipeline of the refiner's files in self->refiner, awake. */
bool residence_refiner(struct pipeline *self, const struct refiner_request *asked,
                       struct error *error);

#endif
