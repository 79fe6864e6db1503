/* The names of tensors in LoRA files, in all their spellings.
 *
 *     kohya       lora_unet_down_blocks_0_..._to_q.lora_down.weight, .lora_up.weight, .alpha
 *     PEFT        unet.down_blocks.0....to_q.lora_A.weight, .lora_B.weight
 *     diffusers   unet.down_blocks.0....to_q.lora.down.weight, .lora.up.weight
 *                 text_encoder....q_proj.lora_linear_layer.down.weight
 *                 down_blocks.0....attn1.processor.to_q_lora.down.weight
 *     LyCORIS     lora_unet_..._to_q.hada_w1_a, .lokr_w2, .dora_scale
 */
#ifndef FARM_LORA_KEY_H
#define FARM_LORA_KEY_H

#include <stddef.h>

#include "base/error.h"

enum lora_part { LORA_TEXT, LORA_TEXT_2, LORA_UNET, LORA_PARTS };
enum lora_role {
    LORA_DOWN,
    LORA_UP,
    LORA_MID,
    LORA_BIAS, /* of the up, PEFT's lora_bias */
    LORA_ALPHA,
    LORA_MAGNITUDE, /* DoRA */
    HADA_W1_A,      /* LoHa */
    HADA_W1_B,
    HADA_W2_A,
    HADA_W2_B,
    HADA_T1,
    HADA_T2,
    LOKR_W1, /* LoKr */
    LOKR_W1_A,
    LOKR_W1_B,
    LOKR_W2,
    LOKR_W2_A,
    LOKR_W2_B,
    LOKR_T2,
    LORA_ROLES
};
enum { LORA_LAYER_MOST = 200 };

struct lora_key {
    enum lora_part part;
    enum lora_role role;
    /* with underscores for points: "down_blocks_0_attentions_0_proj_in"; of text encoders
     * without "text_model_" before it */
    char layer[LORA_LAYER_MOST];
};

/* ERROR_INPUT for what is no LoRA's: OFT, GLoRA and others are called by their names. */
bool lora_key_read(struct lora_key *self, const char *key, struct error *error);

/* A layer's name as lora_key.layer has it; false when it is too long. */
bool lora_layer_name(char into[LORA_LAYER_MOST], const char *layer);

#endif
