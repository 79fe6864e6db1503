#include "worker/sd/plans.h"

#include <string.h>

struct size {
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

static bool fits_decoder(const void *plan, const void *shape)
{
    const struct size *wanted = shape;
    return decoder_fits(plan, wanted->h, wanted->w);
}

static void *make_decoder(const struct plans *self, const void *shape,
                          struct error *error)
{
    const struct size *wanted = shape;
    return decoder_new(self->gpu, self->vae->dtype, self->vae, wanted->h, wanted->w,
                       error);
}

static void drop_decoder(void *plan)
{
    struct decoder *decoder = plan;
    decoder_destroy(&decoder);
}

static bool fits_encoder(const void *plan, const void *shape)
{
    const struct size *wanted = shape;
    return encoder_fits(plan, wanted->h, wanted->w);
}

static void *make_encoder(const struct plans *self, const void *shape,
                          struct error *error)
{
    const struct size *wanted = shape;
    return encoder_new(self->gpu, self->vae->dtype, self->vae, wanted->h, wanted->w,
                       error);
}

static void drop_encoder(void *plan)
{
    struct encoder *encoder = plan;
    encoder_destroy(&encoder);
}

static const struct kind {
    size_t most; /* plans kept */
    bool (*fits)(const void *plan, const void *shape);
    void *(*make)(const struct plans *self, const void *shape, struct error *error);
    void (*drop)(void *plan);
} kinds[PLAN_KINDS] = {
    [PLAN_DENOISER] = {PLANS_MOST, fits_denoiser, make_denoiser, drop_denoiser},
    [PLAN_DECODER] = {PLANS_MOST, fits_decoder, make_decoder, drop_decoder},
    [PLAN_ENCODER] = {PLANS_MOST, fits_encoder, make_encoder, drop_encoder},
};

void plans_drop(struct plans *self)
{
    for (size_t k = 0; k < PLAN_KINDS; k++)
        for (size_t i = 0; i < kinds[k].most; i++) {
            kinds[k].drop(self->item[k][i]);
            self->item[k][i] = NULL;
        }
}

/* Brings the plan that fits to the front of its list, or makes one there: the last of a
 * full list then goes, or all of them where memory is short. */
static void *get(struct plans *self, enum plan_kind which, const void *shape,
                 struct error *error)
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
    if (!plan && first.kind == ERROR_MEMORY) {
        plans_drop(self);
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
    return get(self, PLAN_DENOISER, shape, error);
}

struct decoder *plans_decoder(struct plans *self, size_t h, size_t w,
                              struct error *error)
{
    return get(self, PLAN_DECODER, &(struct size){h, w}, error);
}

struct encoder *plans_encoder(struct plans *self, size_t h, size_t w,
                              struct error *error)
{
    return get(self, PLAN_ENCODER, &(struct size){h, w}, error);
}
