/* What the readers of picture files share. */
#ifndef FARM_PICTURE_PRIVATE_H
#define FARM_PICTURE_PRIVATE_H

#include "proto/files/picture.h"

/* At most 64 Mpixel and 65535 a side; ERROR_INPUT names the format. */
bool picture_check_size(const char *format, size_t width, size_t height,
                        struct error *error);

bool picture_read_jpeg(const void *data, size_t size, struct picture *into,
                       struct error *error);

#endif
