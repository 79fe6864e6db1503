/* IEEE 754 half precision on the host, by table-free bit work. */
#ifndef FARM_HALF_H
#define FARM_HALF_H

#include <stdint.h>

float half_to_float(uint16_t half);

/* Rounds to nearest, ties to even; beyond 65504 becomes infinity, NaN stays NaN. */
uint16_t half_from_float(float value);

#endif
