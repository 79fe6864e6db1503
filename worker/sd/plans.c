#include "worker/sd/plans.h"

#include <string.h>

struct size {
    enum vae_way way;
    size_t h, w;
};

static bool fits_denoiser(const void *plan, const void *shape)
{
    return denoiser_fits(plan, shape);
}

static void *make_denoiser(const struct plans *self, const void *shape,
                           struct error *error)
{
    return denoiser_new(self->gpu, self->dtype, self->unet, shape, error);
}

static void drop_denoiser(void *plan)
{
    struct denoiser *denoiser = plan;
    denoiser_destroy(&denoiser);
}

static bool fits_pass(const void *plan, const void *shape)
{
    const struct size *wanted = shape;
    return vae_pass_fits(plan, wanted->h, wanted->w);
}

static void *make_pass(const struct plans *self, const void *shape, struct error *error)
{
    const struct size *wanted = shape;
    return vae_pass_new(self->gpu, self->vae, wanted->way, wanted->h, wanted->w, error);
}

static void drop_pass(void *plan)
{
    struct vae_pass *pass = plan;
    vae_pass_destroy(&pass);
}

static const struct kind {
    size_t most; /* plans kept */
    bool (*fits)(const void *plan, const void *shape);
    void *(*make)(const struct plans *self, const void *shape, struct error *error);
    void (*drop)(void *plan);
} kinds[PLAN_KINDS] = {
    [PLAN_DENOISER] = {PLANS_MOST, fits_denoiser, make_denoiser, drop_denoiser},
    [PLAN_DECODER] = {PLANS_MOST, fits_pass, make_pass, drop_pass},
    [PLAN_ENCODER] = {PLANS_MOST, fits_pass, make_pass, drop_pass},
};

void plans_drop(struct plans *self)
{
    for (size_t k = 0; k < PLAN_KINDS; k++)
        for (size_t i = 0; i < kinds[k].most; i++) {
            kinds[k].drop(self->item[k][i]);
            self->item[k][i] = NULL;
        }
}

void plans_drop_used(struct plans *self, enum plan_kind kind)
{
    void **list = self->item[kind];
    kinds[kind].drop(list[0]);
    memmove(list, list + 1, (kinds[kind].most - 1) * sizeof *list);
    list[kinds[kind].most - 1] = NULL;
}

/* Brings the plan that fits to the front of its list, or makes one there: the last of a
 * full list then goes, or all of them where memory is short and it is not `spare`. */
static void *get(struct plans *self, enum plan_kind which, const void *shape,
                 bool spare, struct error *error)
{
    const struct kind *kind = &kinds[which];
    void **list = self->item[which];
    size_t i = 0;
    while (i + 1 < kind->most && list[i] && !kind->fits(list[i], shape))
        i++;
    if (list[i] && !kind->fits(list[i], shape)) {
        kind->drop(list[i]);
        list[i] = NULL;
    }
    void *plan = list[i];
    memmove(list + 1, list, i * sizeof *list);
    list[0] = plan;
    struct error first = {0};
    if (!plan)
        plan = kind->make(self, shape, &first);
    if (!plan && !spare && first.kind == ERROR_MEMORY) {
        plans_drop(self);
        first = (struct error){0};
        plan = kind->make(self, shape, &first);
    }
    while (!plan && !spare && first.kind == ERROR_MEMORY && self->make_room &&
           self->make_room(self->owner)) {
        first = (struct error){0};
        plan = kind->make(self, shape, &first);
    }
    if (!plan && error)
        *error = first;
    return list[0] = plan;
}

struct denoiser *plans_denoiser(struct plans *self, const struct denoiser_shape *shape,
                                struct error *error)
{
    return get(self, PLAN_DENOISER, shape, false, error);
}

struct vae_pass *plans_vae(struct plans *self, enum vae_way way, size_t h, size_t w,
                           struct error *error)
{
    enum plan_kind kind = way == VAE_ENCODES ? PLAN_ENCODER : PLAN_DECODER;
    return get(self, kind, &(struct size){way, h, w}, false, error);
}

struct vae_pass *plans_spare_decoder(struct plans *self, size_t h, size_t w)
{
    return get(self, PLAN_DECODER, &(struct size){VAE_DECODES, h, w}, true, NULL);
}
