/* The plans of a loaded model: a graph laid out for one size, kept for the next batch of that
 * size, the ones used last. When the device's memory is short the others go first.
 */
#ifndef FARM_PLANS_H
#define FARM_PLANS_H

#include "worker/sd/denoiser.h"
#include "worker/sd/vae_pass.h"

enum plan_kind { PLAN_DENOISER, PLAN_DECODER, PLAN_ENCODER, PLAN_KINDS };
enum { PLANS_MOST = 4 };

struct plans {
    struct gpu *gpu;
    enum dtype dtype;
    const struct unet *unet;
    const struct vae *vae;
    bool (*make_room)(
        void *owner); /* frees more memory; false: there is none. Or NULL */
    void *owner;
    void *item[PLAN_KINDS][PLANS_MOST]; /* the one used last first */
};

/* Each is borrowed until the next call of any of these. */
struct denoiser *plans_denoiser(struct plans *self, const struct denoiser_shape *shape,
                                struct error *error);
struct vae_pass *plans_vae(struct plans *self, enum vae_way way, size_t h, size_t w,
                           struct error *error);
/* A decoder for what is shown on the way: NULL where memory is short, nothing goes for it. */
struct vae_pass *plans_spare_decoder(struct plans *self, size_t h, size_t w);
void plans_drop(struct plans *self);
/* The one of its kind used last. */
void plans_drop_used(struct plans *self, enum plan_kind kind);

#endif
