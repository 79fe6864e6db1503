/* FNV-1a of 64 bits (Fowler, Noll, Vo): quick, and no defence against chosen bytes. */
#ifndef FARM_HASH_H
#define FARM_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* Of the bytes behind those that gave `hash`; HASH_START: of the first ones. */
uint64_t hash_bytes(uint64_t hash, const void *data, size_t size);

#endif
