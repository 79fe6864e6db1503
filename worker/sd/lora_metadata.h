/* What diffusers 0.35 and later write beside a LoRA's tensors. */
#ifndef FARM_LORA_METADATA_H
#define FARM_LORA_METADATA_H

#include "layout/tensor_file.h"
#include "worker/sd/lora_key.h"

/* `lora_alpha` of each part from the header's `lora_adapter_metadata`; 0 where nothing is
 * said. ERROR_INPUT for settings that change what the tensors mean and are not known here:
 * patterns by layer, rank stabilisation, DoRA. */
bool lora_metadata_read(const struct tensor_file *file, double alpha[LORA_PARTS],
                        struct error *error);

#endif
