/* Any bytes as a JPEG file: pixels, or one sentence that says why not. The first bytes are put
 * there, so that the whole input is looked at. */
#include <stdlib.h>
#include <string.h>

#include "proto/files/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t start[] = {0xff, 0xd8, 0xff};
    struct picture picture = {0};
    struct error error;
    uint8_t *whole = malloc(size + sizeof start);
    if (!whole)
        return 0;
    memcpy(whole, start, sizeof start);
    if (size)
        memcpy(whole + sizeof start, data, size);
    if (picture_read(whole, size + sizeof start, &picture, &error))
        picture_clear(&picture);
    free(whole);
    return 0;
}
