/* Any bytes as the UNet's config.json: an error, or a configuration within its limits. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/path.h"
#include "worker/sd/unet_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unet_config config;
    struct error error = {0};
    int file = memfd_create("fuzz", 0);
    char *path = path_format("/proc/self/fd/%d", file);
    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    if (unet_config_load(&config, path, "config.json", &error)) {
        if (!config.levels || config.levels > UNET_LEVELS_MOST)
            abort();
        for (size_t l = 0; l < config.levels; l++)
            if (!config.level[l].channels || config.level[l].layers > UNET_LAYERS_MOST)
                abort();
    } else if (!*error.text) {
        abort();
    }
    free(path);
    close(file);
    return 0;
}
