/* The two clocks: one that only runs forward, one that people read. */
#ifndef FARM_CLOCK_H
#define FARM_CLOCK_H

#include <stdint.h>

/* Milliseconds and microseconds since an arbitrary start; never jump back. */
int64_t clock_ms(void);
int64_t clock_us(void);

/* Seconds since 1970, as the machine believes. */
int64_t clock_unix(void);

#endif
