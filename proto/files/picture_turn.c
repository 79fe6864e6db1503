#include "proto/files/picture_turn.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_ORIENTATION = 0x112, TYPE_SHORT = 3, ENTRY = 12 };

struct tiff {
    const uint8_t *data;
    size_t size;
    bool big; /* byte order */
};

/* 0 beyond the end. */
static uint32_t number(const struct tiff *self, size_t at, size_t bytes)
{
    uint32_t value = 0;
    if (at > self->size || bytes > self->size - at)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | self->data[at + (self->big ? i : bytes - 1 - i)];
    return value;
}

unsigned picture_orientation(const uint8_t *exif, size_t size)
{
    struct tiff tiff = {exif, size, size >= 8 && exif[0] == 'M'};
    if (size < 8 || memcmp(exif, tiff.big ? "MM" : "II", 2) != 0 ||
        number(&tiff, 2, 2) != 42)
        return 1;
    size_t directory = number(&tiff, 4, 4);
    size_t entries = number(&tiff, directory, 2);
    for (size_t i = 0; i < entries; i++) {
        size_t at = directory + 2 + i * ENTRY;
        if (number(&tiff, at, 2) != TAG_ORIENTATION ||
            number(&tiff, at + 2, 2) != TYPE_SHORT)
            continue;
        unsigned value = number(&tiff, at + 8, 2);
        return value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}

bool picture_turn(struct picture *self, unsigned orientation, struct error *error)
{
    /* What the camera did: rows and columns exchanged, then mirrored either way. */
    bool exchanged = orientation >= 5;
    bool mirrored =
        orientation == 2 || orientation == 3 || orientation == 7 || orientation == 6;
    bool flipped =
        orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    if (orientation <= 1)
        return true;
    size_t width = exchanged ? self->height : self->width;
    size_t height = exchanged ? self->width : self->height;
    uint8_t *turned = malloc(width * height * 3);
    if (!turned)
        return error_set_kind(error, ERROR_MEMORY, "no memory to turn a picture");
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            size_t across = mirrored ? width - 1 - x : x;
            size_t down = flipped ? height - 1 - y : y;
            size_t from =
                exchanged ? across * self->width + down : down * self->width + across;
            memcpy(turned + (y * width + x) * 3, self->rgb + from * 3, 3);
        }
    free(self->rgb);
    *self = (struct picture){width, height, turned};
    return true;
}
