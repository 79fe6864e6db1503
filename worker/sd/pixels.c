#include "worker/sd/pixels.h"

#include <math.h>

bool pixels_to_rgb(const float *x, size_t places, size_t c, uint8_t *rgb)
{
    for (size_t i = 0; i < places; i++)
        for (size_t k = 0; k < 3; k++) {
            float value = x[i * c + (k < c ? k : c - 1)];
            if (!isfinite(value))
                return false;
            float unit = fminf(fmaxf(value * 0.5F + 0.5F, 0), 1);
            rgb[i * 3 + k] = (uint8_t)rintf(unit * 255);
        }
    return true;
}
