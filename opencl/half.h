/* IEEE 754 half precision on the host, by table-free bit work. */
#ifndef FARM_HALF_H
#define FARM_HALF_H

#include <stddef.h>
#include <stdint.h>

float half_to_float(uint16_t half);

/* Rounds to nearest, ties to even; beyond 65504 becomes infinity, NaN stays NaN. */
uint16_t half_from_float(float value);

/* The same for `count` of them. */
void halves_to_floats(float *into, const uint16_t *from, size_t count);
void halves_from_floats(uint16_t *into, const float *from, size_t count);

#endif
