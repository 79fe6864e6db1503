/* Any bytes as a header whose length is right, before as many bytes of data again: what is
 * recognised in it keeps its limits. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/path.h"
#include "layout/single.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct single *single)
{
    if (single->texts > SINGLE_TEXTS || single->unet.levels > SINGLE_LEVELS ||
        single->vae.levels > SINGLE_LEVELS || !single->unet.levels ||
        !single->vae.levels)
        abort();
    for (size_t i = 0; i < single->texts; i++)
        if (!single->text[i].layers || !single->text[i].heads)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *whole = calloc(2, size + 8);
    for (size_t i = 0; i < 8; i++)
        whole[i] = (uint8_t)((uint64_t)size >> 8 * i);
    memcpy(whole + 8, data, size);
    int memory = memfd_create("fuzz", 0);
    char *path = path_format("/proc/self/fd/%d", memory);
    if (memory < 0 || write(memory, whole, 2 * size + 8) != (ssize_t)(2 * size + 8))
        abort();
    struct error error;
    struct single single;
    struct tensor_file *file = tensor_file_open(path, &error);
    if (file && single_read(&single, file, &error))
        check(&single);
    tensor_file_close(&file);
    free(path);
    close(memory);
    free(whole);
    return 0;
}
