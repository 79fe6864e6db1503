/* A key of any bytes: refused, or a layer's name that fits and is not empty. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/lora_alias.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct unet_config config = {.levels = 3};
    struct lora_key key;
    struct error error;
    char alias[LORA_LAYER_MOST];
    char *text = calloc(1, size + 1);
    memcpy(text, data, size);
    if (lora_key_read(&key, text, &error)) {
        size_t length = strnlen(key.layer, LORA_LAYER_MOST);
        if (length == 0 || length == LORA_LAYER_MOST || strchr(key.layer, '.'))
            abort();
    }
    lora_alias(alias, &config, text);
    free(text);
    return 0;
}
