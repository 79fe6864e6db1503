/* A safetensors file in memory whose header is any bytes, its length right, before as many
 * bytes of data again. */
#ifndef CLFARM_TESTS_FUZZ_TENSOR_BYTES_H
#define CLFARM_TESTS_FUZZ_TENSOR_BYTES_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/path.h"

/* Its path, owned by the caller, good until `*memory`, also theirs, is closed. */
static inline char *tensor_bytes(const uint8_t *data, size_t size, int *memory)
{
    size_t length = 2 * size + 8;
    uint8_t *whole = calloc(1, length);
    for (size_t i = 0; i < 8; i++)
        whole[i] = (uint8_t)((uint64_t)size >> 8 * i);
    if (size)
        memcpy(whole + 8, data, size);
    *memory = memfd_create("fuzz", 0);
    if (*memory < 0 || write(*memory, whole, length) != (ssize_t)length)
        abort();
    free(whole);
    return path_format("/proc/self/fd/%d", *memory);
}

#endif
