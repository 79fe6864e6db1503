/* Laying a picture over another by a mask, and filling what is masked: Pillow's arithmetic of
 * pictures with alpha, bit for bit, as A1111 and diffusers use it round inpainting.
 */
#ifndef FARM_OVERLAY_H
#define FARM_OVERLAY_H

#include "worker/sd/resize.h"

/* `over` laid on `picture` where the grey mask is black, in place; all of one size. */
void overlay_put(struct pixels *picture, const struct pixels *over,
                 const struct pixels *mask);

/* A1111's masking.fill: what the mask covers takes colours from round it, by blurs that
 * become smaller. In place. */
bool overlay_fill(struct pixels *picture, const struct pixels *mask,
                  struct error *error);

#endif
