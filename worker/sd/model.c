#include "worker/sd/model.h"

#include <stddef.h>

#include "worker/sd/model_config.h"

static const char *need(const struct model_files *files, const char *name,
                        struct error *error)
{
    const char *path = model_files_path(files, name);
    if (!path)
        error_set_kind(error, ERROR_INPUT,
                       "%s is missing; expected a model folder as diffusers saves it",
                       name);
    return path;
}

static bool check_index(const struct model_files *files, struct error *error)
{
    static const char *const classes[] = {"StableDiffusionPipeline", NULL};
    const char *path = need(files, "model_index.json", error);
    struct model_config index;
    if (!path || !model_config_open(&index, path, "model_index.json", error))
        return false;
    model_config_choice(&index, "_class_name", NULL, classes);
    return model_config_close(&index, error);
}

static bool load_tokenizer(struct model *self, const struct model_files *files,
                           struct error *error)
{
    const char *vocabulary = need(files, "tokenizer/vocab.json", error);
    const char *merges = vocabulary ? need(files, "tokenizer/merges.txt", error) : NULL;
    if (!merges)
        return false;
    self->text.part[0].tokenizer = tokenizer_open(
        vocabulary, merges, model_files_path(files, "tokenizer/tokenizer_config.json"),
        model_files_path(files, "tokenizer/special_tokens_map.json"), error);
    return self->text.part[0].tokenizer != NULL;
}

static bool load_schedule(struct model *self, const struct model_files *files,
                          struct error *error)
{
    const char *name = "scheduler/scheduler_config.json";
    const char *path = need(files, name, error);
    if (!path)
        return false;
    schedule_config_defaults(&self->schedule);
    return schedule_config_load(&self->schedule, path, error) ||
           error_prefix(error, "%s", name);
}

/* A part with weights: its folder, its weights' names, and who loads it. */
struct part {
    const char *config;
    const char *weights[2]; /* as they are, or saved with variant="fp16" */
    bool (*load)(void *part, struct gpu *gpu, enum dtype dtype, const char *config_path,
                 const char *config_name, struct checkpoint *from, struct error *error);
    size_t offset; /* in struct model */
};

static bool load_text(void *part, struct gpu *gpu, enum dtype dtype,
                      const char *config_path, const char *config_name,
                      struct checkpoint *from, struct error *error)
{
    return text_encoder_load(part, gpu, dtype, config_path, config_name, from, error);
}

static bool load_unet(void *part, struct gpu *gpu, enum dtype dtype,
                      const char *config_path, const char *config_name,
                      struct checkpoint *from, struct error *error)
{
    return unet_load(part, gpu, dtype, config_path, config_name, from, error);
}

static bool load_vae(void *part, struct gpu *gpu, enum dtype dtype,
                     const char *config_path, const char *config_name,
                     struct checkpoint *from, struct error *error)
{
    return vae_load(part, gpu, dtype, config_path, config_name, from, error);
}

static const struct part parts[] = {
    {"text_encoder/config.json",
     {"text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors"},
     load_text,
     offsetof(struct model, text.part[0].encoder)},
    {"unet/config.json",
     {"unet/diffusion_pytorch_model.safetensors",
      "unet/diffusion_pytorch_model.fp16.safetensors"},
     load_unet,
     offsetof(struct model, unet)},
    {"vae/config.json",
     {"vae/diffusion_pytorch_model.safetensors",
      "vae/diffusion_pytorch_model.fp16.safetensors"},
     load_vae,
     offsetof(struct model, vae)},
};

static bool load_part(struct model *self, const struct part *part,
                      const struct model_files *files, enum dtype dtype,
                      struct error *error)
{
    const char *config = need(files, part->config, error);
    if (!config)
        return false;
    const char *name = part->weights[0];
    if (!model_files_path(files, name) && model_files_path(files, part->weights[1]))
        name = part->weights[1];
    const char *path = need(files, name, error);
    struct checkpoint *from = path ? checkpoint_open(path, name, error) : NULL;
    bool ok = from && part->load((char *)self + part->offset, self->gpu, dtype, config,
                                 part->config, from, error);
    checkpoint_close(&from);
    return ok;
}

static bool check_fit(const struct model *self, struct error *error)
{
    const struct unet_config *unet = &self->unet.config;
    size_t latents = self->vae.config.latent_channels;
    if (unet->in_channels != latents || unet->out_channels != latents)
        return error_set_kind(
            error, ERROR_INPUT,
            "unet/config.json: in_channels %zu and out_channels %zu, but the VAE's "
            "latents have %zu; inpainting and editing models are not supported",
            unet->in_channels, unet->out_channels, latents);
    if (unet->context != self->text.c)
        return error_set_kind(error, ERROR_INPUT,
                              "unet/config.json: cross_attention_dim is %zu, but the "
                              "text encoder's hidden_size is %zu",
                              unet->context, self->text.c);
    return true;
}

bool model_load(struct model *self, struct gpu *gpu, const struct model_files *files,
                enum dtype dtype, struct error *error)
{
    *self =
        (struct model){.gpu = gpu, .text = {.gpu = gpu, .dtype = dtype, .count = 1}};
    bool ok = check_index(files, error) && load_tokenizer(self, files, error) &&
              load_schedule(self, files, error);
    for (size_t i = 0; ok && i < sizeof parts / sizeof *parts; i++)
        ok = load_part(self, &parts[i], files, dtype, error);
    ok = (ok && text_stack_join(&self->text, error) && check_fit(self, error)) ||
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
}
