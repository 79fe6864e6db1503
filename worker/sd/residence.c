#include "worker/sd/residence.h"

#include <stdlib.h>

enum { TEXT_BYTES = 64 << 20 }; /* of encoded texts, on the host */

/* Of this model and its refiner the other goes last. */
bool residence_make_room(struct pipeline *self)
{
    struct pipeline *owner = self->base ? self->base : self;
    struct pipeline *other = self->base ? self->base : self->refiner;
    if (owner->make_room && owner->make_room(owner->room_owner))
        return true;
    if (self->adapters && adapters_trim(self->adapters))
        return true;
    if (!other || !other->awake)
        return false;
    residence_sleep(other);
    return true;
}

static bool make_room(void *owner)
{
    return residence_make_room(owner);
}

bool residence_take(struct pipeline *self,
                    bool (*take)(void *owner, struct error *error), void *owner,
                    struct error *error)
{
    struct error first = {0};
    bool ok = take(owner, &first), freed = true;
    if (!ok && first.kind == ERROR_MEMORY)
        plans_drop(&self->plans);
    while (!ok && first.kind == ERROR_MEMORY && freed) {
        first = (struct error){0};
        ok = take(owner, &first);
        freed = ok || residence_make_room(self);
    }
    if (!ok && error)
        *error = first;
    return ok;
}

void residence_sleep(struct pipeline *self)
{
    plans_drop(&self->plans);
    conditioning_destroy(&self->conditioning);
    adapters_destroy(&self->adapters);
    embedding_cache_clear(&self->embeddings);
    vae_other_put(&self->vae, &self->model, NULL, NULL, NULL);
    vae_other_clear(&self->vae, self->gpu);
    safety_destroy(&self->safety);
    model_clear(&self->model);
    self->preview = (struct preview_map){0};
    self->awake = false;
}

static bool load(struct pipeline *self, struct error *error)
{
    self->model.gpu = self->gpu;
    if (model_load(&self->model, self->gpu, &self->files, self->dtype, error))
        self->conditioning = conditioning_new(&self->model.text, TEXT_BYTES, error);
    if (self->conditioning)
        self->adapters = adapters_new(&self->model, error);
    if (!self->adapters) {
        residence_sleep(self);
        return false;
    }
    const struct unet_config *unet = &self->model.unet.config;
    self->factor = self->model.pixels ? 1 : vae_factor(&self->model.vae);
    self->width = unet->sample_width * self->factor;
    self->height = unet->sample_height * self->factor;
    self->loads++;
    self->awake = true;
    return true;
}

bool residence_wake(struct pipeline *self, struct error *error)
{
    struct error first = {0};
    bool ok = self->awake || load(self, &first);
    while (!ok && first.kind == ERROR_MEMORY && residence_make_room(self)) {
        first = (struct error){0};
        ok = load(self, &first);
    }
    if (!ok && error)
        *error = first;
    return ok;
}

struct pipeline *residence_new(struct gpu *gpu, const struct model_files *files,
                               enum dtype dtype, struct pipeline *base,
                               struct error *error)
{
    struct pipeline *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a model");
        return NULL;
    }
    self->gpu = gpu;
    self->dtype = dtype;
    self->base = base;
    self->plans = (struct plans){.gpu = gpu,
                                 .dtype = dtype,
                                 .unet = &self->model.unet,
                                 .vae = &self->model.vae,
                                 .make_room = make_room,
                                 .owner = self};
    model_files_copy(&self->files, files);
    if (!residence_wake(self, error))
        pipeline_destroy(&self);
    return self;
}

bool residence_refiner(struct pipeline *self, const struct refiner_request *asked,
                       struct error *error)
{
    if (self->refiner && !model_files_same(&self->refiner->files, asked->model))
        pipeline_destroy(&self->refiner);
    if (!self->refiner)
        self->refiner =
            residence_new(self->gpu, asked->model, self->dtype, self, error);
    if (!self->refiner || !residence_wake(self->refiner, error))
        return error_prefix(error, "refiner %s", asked->name);
    self->refiner->watch = self->watch;
    return true;
}
