/* The orientation that cameras write into pictures. */
#ifndef FARM_PICTURE_TURN_H
#define FARM_PICTURE_TURN_H

#include "proto/files/picture.h"

/* The orientation in a block of EXIF (a TIFF header and its first directory): 1 to 8, 1
 * where it says none or is broken. */
unsigned picture_orientation(const uint8_t *exif, size_t size);

/* Turns and mirrors the pixels so that they lie as they are to be seen. */
bool picture_turn(struct picture *self, unsigned orientation, struct error *error);

#endif
