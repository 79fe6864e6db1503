/* Any bytes as a header whose length is right, before as many bytes of data again: what is
 * recognised in it keeps its limits. */
#include "layout/single.h"
#include "tests/fuzz/tensor_bytes.h"

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
    int memory;
    char *path = tensor_bytes(data, size, &memory);
    struct error error;
    struct single single;
    struct tensor_file *file = tensor_file_open(path, &error);
    if (file && single_read(&single, file, &error))
        check(&single);
    tensor_file_close(&file);
    free(path);
    close(memory);
    return 0;
}
