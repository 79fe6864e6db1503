/* Diffusers' names of tensors as single files have them: what checkpoint_translate takes. */
#ifndef FARM_SINGLE_NAMES_H
#define FARM_SINGLE_NAMES_H

#include "layout/single.h"
#include "worker/sd/checkpoint.h"

/* `owner`: struct single_unet. */
bool single_unet_name(const void *owner, const char *tensor, struct stored *into);

/* `owner`: struct single_text. */
bool single_text_name(const void *owner, const char *tensor, struct stored *into);

/* `owner`: struct single_vae_names. */
struct single_vae_names {
    const char *prefix; /* "first_stage_model." */
    size_t levels;
};
bool single_vae_name(const void *owner, const char *tensor, struct stored *into);

#endif
