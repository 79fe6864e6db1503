/* A picture as small as a preview: at most 128 pixels a side. */
#ifndef FARM_SMALL_PICTURE_H
#define FARM_SMALL_PICTURE_H

#include "base/buffer.h"
#include "worker/sd/resize.h"

/* Appends it as a PNG file of at most WIRE_PREVIEW_LIMIT bytes. */
bool small_picture(const struct pixels *picture, struct buffer *png,
                   struct error *error);

#endif
