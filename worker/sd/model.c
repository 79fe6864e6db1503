#include "worker/sd/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/model_folder.h"
#include "worker/sd/model_single.h"

/* Latents in and out; a picture to edit, or a mask and a picture, may follow the latents. */
static bool check_channels(const struct model *self, struct error *error)
{
    const struct unet_config *unet = &self->unet.config;
    size_t latents = self->vae.config.latent_channels, in = unet->in_channels;
    if (unet->out_channels == latents &&
        (in == latents || in == 2 * latents || in == 2 * latents + 1))
        return true;
    return error_set_kind(error, ERROR_INPUT,
                          "the UNet takes %zu channels and gives %zu, but the VAE's "
                          "latents have %zu; expected as many, twice as many "
                          "(editing) or one more (inpainting)",
                          in, unet->out_channels, latents);
}

static bool check_guidance(const struct model *self, struct error *error)
{
    const struct unet_config *unet = &self->unet.config;
    bool edits = unet->in_channels == 2 * self->vae.config.latent_channels;
    return !unet->guidance || !edits ||
           error_set_kind(error, ERROR_INPUT,
                          "unet/config.json: time_cond_proj_dim is %zu; a UNet that "
                          "edits pictures has two guidances, expected null",
                          unet->guidance);
}

static bool check_pixels(const struct model *self, struct error *error)
{
    const struct unet_config *unet = &self->unet.config;
    return unet->in_channels == unet->out_channels + self->class_width ||
           error_set_kind(error, ERROR_INPUT,
                          "the UNet takes %zu channels and gives %zu; expected as many "
                          "besides a class's %zu (class_emb.safetensors)",
                          unet->in_channels, unet->out_channels, self->class_width);
}

static bool check_fit(const struct model *self, struct error *error)
{
    const struct unet_config *unet = &self->unet.config;
    size_t ids = self->aesthetic ? 5 : 6;
    if (self->pixels)
        return check_pixels(self, error);
    if (!check_channels(self, error) || !check_guidance(self, error))
        return false;
    if (unet->context != self->text.c)
        return error_set_kind(error, ERROR_INPUT,
                              "unet/config.json: cross_attention_dim is %zu, but the "
                              "text encoder's hidden_size is %zu",
                              unet->context, self->text.c);
    if (unet->time_ids && unet->added != self->text.pooled + ids * unet->time_ids)
        return error_set_kind(error, ERROR_INPUT,
                              "unet/config.json: projection_class_embeddings_input_dim "
                              "is %zu; expected %zu: pooled text of %zu and %zu time "
                              "ids of %zu",
                              unet->added, self->text.pooled + ids * unet->time_ids,
                              self->text.pooled, ids, unet->time_ids);
    return true;
}

bool model_load(struct model *self, struct gpu *gpu, const struct model_files *files,
                enum dtype dtype, struct error *error)
{
    *self = (struct model){.gpu = gpu, .text = {.gpu = gpu, .dtype = dtype}};
    const struct model_file *single = model_single_file(files);
    bool ok = ((single ? model_single_load(self, single, dtype, error)
                       : model_folder_load(self, files, dtype, error)) &&
               text_stack_join(&self->text, error) && check_fit(self, error)) ||
              model_files_rename(files, error);
    if (!ok)
        model_clear(self);
    return ok;
}

void model_clear(struct model *self)
{
    text_stack_clear(&self->text);
    unet_clear(&self->unet, self->gpu);
    vae_clear(&self->vae, self->gpu);
    for (size_t i = 0; i < self->files; i++)
        checkpoint_close(&self->file[i]);
    free(self->class_vectors);
    self->class_vectors = NULL;
}

void model_keep(struct model *self, struct checkpoint **from)
{
    assert(self->files < MODEL_FILES);
    self->file[self->files++] = *from;
    *from = NULL;
}

bool model_schedule(const struct model *self, const char *prediction, const char *zsnr,
                    struct schedule_config *into, struct error *error)
{
    bool asked = prediction && strcmp(prediction, "auto") != 0;
    bool zero = zsnr && strcmp(zsnr, "auto") != 0;
    if (asked && strcmp(prediction, "v") == 0)
        prediction = "v_prediction";
    *into = self->schedule;
    return (!asked ||
            schedule_config_set(into, "prediction_type", prediction, error)) &&
           (!zero ||
            schedule_config_set(into, "rescale_betas_zero_snr",
                                strcmp(zsnr, "on") == 0 ? "true" : "false", error));
}

void model_class_channels(const struct model *self, size_t class, size_t count,
                          float *into)
{
    const float *vector = self->class_vectors + class * self->class_width;
    for (size_t i = 0; i < count; i++)
        memcpy(into + i * self->class_width, vector, self->class_width * sizeof *into);
}

bool model_knows_class(const struct model *self, size_t class, struct error *error)
{
    size_t classes = self->classes ? self->classes : self->unet.config.classes;
    return !classes || class < classes ||
           error_set_kind(error, ERROR_INPUT, "class %zu: this model has 0 to %zu",
                          class, classes - 1);
}
