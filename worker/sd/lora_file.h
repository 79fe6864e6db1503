/* The inside of a LoRA file, for lora.c and lora_delta.c alone. */
#ifndef FARM_LORA_FILE_H
#define FARM_LORA_FILE_H

#include "worker/sd/lora.h"
#include "worker/sd/lora_metadata.h"
#include "worker/sd/safetensors.h"

struct lora_layer {
    struct lora_key key;
    const char *tensor[LORA_ROLES]; /* names in the file, borrowed; NULL: none */
};

struct lora {
    struct safetensors *file;
    char *name;
    struct lora_settings settings[LORA_PARTS];
    size_t count;
    struct lora_layer *layer; /* sorted by part and name */
};

#endif
