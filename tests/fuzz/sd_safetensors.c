/* Any bytes as a file; and as a header whose length is right, before as many bytes of data
 * again. Every tensor that is handed out lies inside the mapping. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/path.h"
#include "worker/sd/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t seen;

static void touch(const struct host_tensor *tensor)
{
    const uint8_t *bytes = tensor->data;
    size_t size = tensor->type == HOST_F32 ? 4 : 2;
    for (size_t i = 0; i < tensor->dims; i++)
        size *= tensor->shape[i];
    if (size)
        seen = bytes[0] ^ bytes[size - 1];
}

static void read_file(const uint8_t *bytes, size_t size)
{
    int file = memfd_create("fuzz", 0);
    char *path = path_format("/proc/self/fd/%d", file);
    if (file < 0 || write(file, bytes, size) != (ssize_t)size)
        abort();
    struct error error;
    struct safetensors *tensors = safetensors_open(path, &error);
    for (size_t i = 0; tensors && i < safetensors_count(tensors); i++) {
        struct host_tensor tensor;
        if (safetensors_get(tensors, safetensors_name(tensors, i), &tensor, &error))
            touch(&tensor);
    }
    safetensors_close(&tensors);
    free(path);
    close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_file(data, size);
    uint8_t *whole = calloc(2, size + 8);
    for (size_t i = 0; i < 8; i++)
        whole[i] = (uint8_t)((uint64_t)size >> 8 * i);
    memcpy(whole + 8, data, size);
    read_file(whole, 2 * size + 8);
    free(whole);
    return 0;
}
