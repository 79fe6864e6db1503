/* Small pictures of latents without the VAE: a linear map from a place's channels to RGB.
 *
 * The map is the least squares fit to what the model's own VAE makes of random latents,
 * averaged over the pixels of a place: one small decoding when a preview is first wanted,
 * and nothing that has to be known of a model beforehand.
 */
#ifndef FARM_PREVIEW_H
#define FARM_PREVIEW_H

#include "worker/sd/plans.h"

enum { PREVIEW_CHANNELS_MOST = 64 };

struct preview_map {
    size_t c;                                   /* 0: not fitted yet */
    float weight[PREVIEW_CHANNELS_MOST + 1][3]; /* of each channel; last the constant */
};

bool preview_fit(struct preview_map *self, struct plans *plans, struct error *error);

/* latents [places, c] -> rgb [places, 3] */
void preview_draw(const struct preview_map *self, const float *latents, size_t places,
                  uint8_t *rgb);

#endif
