#include "worker/small_picture.h"

#include "proto/files/picture.h"
#include "proto/wire.h"

enum { SIDE_MOST = 128 };

bool small_picture(const struct pixels *picture, struct buffer *png,
                   struct error *error)
{
    size_t longer = picture->width > picture->height ? picture->width : picture->height;
    size_t part = (longer + SIDE_MOST - 1) / SIDE_MOST;
    struct pixels small = {(picture->width + part - 1) / part,
                           (picture->height + part - 1) / part, NULL};
    bool ok = pixels_resize(&small, picture, RESIZE_BILINEAR, error);
    struct picture made = {small.width, small.height, small.rgb};
    png->limit = png->size + WIRE_PREVIEW_LIMIT;
    ok = ok && picture_write_png(&made, NULL, 0, png, error);
    pixels_clear(&small);
    return ok;
}
