/* Any bytes as a PNG (or JPEG): pixels and text are read, or one sentence says why not. */
#include "proto/files/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct picture picture = {0};
    struct buffer text = {0};
    struct error error;
    if (picture_read(data, size, &picture, &error))
        picture_clear(&picture);
    picture_read_text(data, size, "parameters", &text, &error);
    buffer_clear(&text);
    return 0;
}
