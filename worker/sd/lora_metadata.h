/* What diffusers 0.35 and later write beside a LoRA's tensors. */
#ifndef FARM_LORA_METADATA_H
#define FARM_LORA_METADATA_H

#include <jansson.h>

#include "layout/tensor_file.h"
#include "worker/sd/lora_key.h"

/* Of one part of the model; all zeros says nothing. */
struct lora_settings {
    double alpha;                 /* lora_alpha; 0: not said */
    bool stabilised;              /* use_rslora: divided by the rank's root */
    struct lora_pattern *pattern; /* alpha_pattern: layers with an alpha of their own */
    size_t patterns;
};

/* The header's `lora_adapter_metadata`. ERROR_INPUT for settings that change what the tensors
 * mean and are not known here, and for patterns that are no regular expressions. To be cleared
 * in either case. */
bool lora_metadata_read(const struct tensor_file *file,
                        struct lora_settings settings[LORA_PARTS], struct error *error);
void lora_metadata_clear(struct lora_settings settings[LORA_PARTS]);

/* The alpha of a layer by the name of its lora_A; 0: not said. ERROR_INPUT for a pattern that
 * takes too long. */
bool lora_settings_alpha(const struct lora_settings *self, const char *tensor,
                         double *alpha, struct error *error);

#endif
