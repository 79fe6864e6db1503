/* Another autoencoder in the place of the model's own: `--vae FILE`.
 *
 * A file of a VAE's weights, in diffusers' names or those of single files, with or without
 * "first_stage_model." before them; or a TAESD's, in diffusers' names or the original's, both
 * sides or the decoder alone. The scaling factor stays the model's, latents mean what its
 * UNet was trained on; TAESD has none.
 */
#ifndef FARM_VAE_OTHER_H
#define FARM_VAE_OTHER_H

#include "worker/sd/model.h"

/* All zeros: none was asked for yet. */
struct vae_other {
    char *path;     /* of the one that was loaded last; NULL: none */
    struct vae vae; /* whichever of the two is not in the model */
    bool on;
};

/* Whether the model has not got the VAE of that file (NULL: its own) now: plans made with
 * what it has must be dropped before vae_other_put. */
bool vae_other_differs(const struct vae_other *self, const char *path);

/* Puts it there. `name` stands in messages. ERROR_INPUT names what does not fit; the model
 * then has its own. */
bool vae_other_put(struct vae_other *self, struct model *model, const char *path,
                   const char *name, struct error *error);

/* After the model got its own back. */
void vae_other_clear(struct vae_other *self, struct gpu *gpu);

#endif
