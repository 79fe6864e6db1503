/* One LoRA file: what it adds to which layers.
 *
 *     W += weight alpha / rank  up down      (no alpha: alpha = rank)
 *
 * Hu et al. 2021; for convolutions as LoCon (LyCORIS) has it, down being a convolution of
 * the layer's size and up one of 1x1, with a core in between where there is a lora_mid.
 * LoHa, LoKr and DoRA take up's and down's place in lora_delta.c.
 */
#ifndef FARM_LORA_H
#define FARM_LORA_H

#include "opencl/tensor.h"
#include "worker/sd/lora_key.h"

struct lora;

/* `name` stands in messages; copied. ERROR_INPUT for a file with a key that is no LoRA's,
 * and for a layer of which a half is missing. */
struct lora *lora_open(const char *path, const char *name, struct error *error);
void lora_close(struct lora **self);

/* Layers it changes; the i-th one's part and name (lora_key.layer). */
size_t lora_count(const struct lora *self);
enum lora_part lora_layer(const struct lora *self, size_t i, const char **layer);

/* An error about its i-th layer: "NAME: key ...: what". Returns false. */
bool lora_refuse(const struct lora *self, size_t i, const char *what,
                 struct error *error);

/* Adds its i-th layer's difference times `weight` to values [out, in, size, size]; `base`
 * are the layer's own weights, of the same shape. ERROR_INPUT when the shapes do not fit. */
bool lora_add(const struct lora *self, size_t i, double weight, const float *base,
              float *values, size_t out, size_t in, size_t size, struct error *error);

/* What PEFT's lora_bias adds to a layer's bias: weight times it, to values [out]. As lora_add;
 * only where there is one. */
bool lora_has_bias(const struct lora *self, size_t i);
bool lora_add_bias(const struct lora *self, size_t i, double weight, float *values,
                   size_t out, struct error *error);

#endif
