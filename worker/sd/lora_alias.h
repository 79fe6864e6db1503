/* A UNet layer's name as single files have it, which kohya's SDXL LoRAs use. */
#ifndef FARM_LORA_ALIAS_H
#define FARM_LORA_ALIAS_H

#include "worker/sd/lora_key.h"
#include "worker/sd/unet_config.h"

/* `layer` as diffusers names it ("down_blocks.1.resnets.0.conv1") -> "input_blocks.4.0.
 * in_layers.2"; false when there is none. */
bool lora_alias(char into[LORA_LAYER_MOST], const struct unet_config *config,
                const char *layer);

#endif
