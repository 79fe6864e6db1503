#include "worker/sd/vae_other.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/single_names.h"

static void exchange(struct vae_other *self, struct model *model)
{
    struct vae vae = model->vae;
    model->vae = self->vae;
    self->vae = vae;
    self->on = !self->on;
}

bool vae_other_differs(const struct vae_other *self, const char *path)
{
    return path ? !self->on || strcmp(self->path, path) != 0 : self->on;
}

/* The names' beginning in a file of single files' names; NULL: they are diffusers'. */
static const char *prefix_of(const struct checkpoint *from)
{
    static const char *const prefixes[] = {"first_stage_model.", ""};
    for (size_t i = 0; i < 2; i++) {
        char name[80];
        snprintf(name, sizeof name, "%sdecoder.mid.block_1.conv1.weight", prefixes[i]);
        if (checkpoint_has(from, name))
            return prefixes[i];
    }
    return NULL;
}

static bool check_fit(const struct vae_config *config, size_t latents, size_t levels,
                      struct error *error)
{
    return (latents == config->latent_channels && levels == config->levels) ||
           error_set_kind(error, ERROR_INPUT,
                          "%zu latent channels and %zu levels; the model's own VAE has "
                          "%zu and %zu",
                          latents, levels, config->latent_channels, config->levels);
}

/* Sizes as the file's shapes say, the rest as the model's own VAE. */
static bool read_config(struct vae_config *config, const struct checkpoint *from,
                        const char *prefix, struct error *error)
{
    struct single_vae single = {0};
    if (!single_read_vae(&single, checkpoint_file(from), prefix, error) ||
        !check_fit(config, single.latent, single.levels, error))
        return false;
    config->layers = single.layers;
    config->mid_attends = single.attends;
    config->quant = single.quant;
    config->post_quant = single.post_quant;
    memcpy(config->channels, single.channels, sizeof single.channels);
    return vae_config_check(config, error);
}

/* What the model's own VAE would be like, were it no tiny one. */
static void forget_tiny(struct vae_config *config, const struct model *model)
{
    bool xl = model->text.penultimate;
    *config = (struct vae_config){.latent_channels = config->latent_channels,
                                  .levels = config->levels,
                                  .groups = 32,
                                  .activation = ACTIVATION_SILU,
                                  .force_upcast = xl,
                                  .scaling_factor = xl ? 0.13025 : 0.18215};
}

/* How the original's files name a tiny VAE's tensors: both sides in one, or one alone. */
static const struct vae_tiny_form {
    const char *mark, *not ; /* a tensor it has, and one it has not */
    struct vae_tiny_names names;
} tiny_forms[] = {
    {"taesd_decoder.1.weight", "", {"taesd_encoder.", "taesd_decoder."}},
    {"decoder.1.weight", "", {"encoder.", "decoder."}},
    {"taesd_encoder.0.weight", "", {"taesd_encoder.", "taesd_decoder."}},
    {"1.weight", "0.weight", {"no encoder.", ""}},
    {"0.weight", "1.weight", {"", "no decoder."}},
};

/* A tiny VAE's file: whether it is one, translated to diffusers' names. */
static bool find_tiny(struct checkpoint *from)
{
    if (checkpoint_has(from, "decoder.layers.0.weight") ||
        checkpoint_has(from, "encoder.layers.0.weight"))
        return true;
    for (size_t i = 0; i < sizeof tiny_forms / sizeof *tiny_forms; i++)
        if (checkpoint_has(from, tiny_forms[i].mark) &&
            !checkpoint_has(from, tiny_forms[i].not )) {
            checkpoint_translate(from, vae_tiny_name, &tiny_forms[i].names);
            return true;
        }
    return false;
}

/* Its latents are those the UNet sees: it has no scaling factor. */
static bool read_tiny(struct vae_config *config, const struct checkpoint *from,
                      struct error *error)
{
    struct vae_config tiny = {.tiny = true,
                              .activation = ACTIVATION_RELU,
                              .scaling_factor = 1,
                              .sample = config->sample};
    size_t latents = 0;
    if (!vae_tiny_read(&tiny.tiny_encoder, from, false, &tiny.latent_channels, error) ||
        !vae_tiny_read(&tiny.tiny_decoder, from, true, &latents, error))
        return false;
    if (!tiny.tiny_decoder.c)
        return error_set_kind(error, ERROR_INPUT,
                              "is a TAESD's encoder alone; pictures need its decoder");
    tiny.levels = tiny.tiny_decoder.levels;
    if (tiny.tiny_encoder.c &&
        !check_fit(config, tiny.latent_channels, tiny.tiny_encoder.levels, error))
        return false;
    tiny.latent_channels = latents;
    if (!check_fit(config, latents, tiny.levels, error))
        return false;
    *config = tiny;
    return true;
}

static bool load(struct vae_other *self, const struct model *model,
                 struct checkpoint *from, struct error *error)
{
    const char *prefix = prefix_of(from);
    struct vae_config *config = &self->vae.config;
    struct single_vae_names names = {prefix, model->vae.config.levels};
    self->vae = (struct vae){.config = model->vae.config};
    if (find_tiny(from)) {
        if (!read_tiny(config, from, error))
            return false;
    } else if (config->tiny && !prefix) {
        return error_set_kind(error, ERROR_INPUT,
                              "the model's own VAE is an AutoencoderTiny, which says "
                              "nothing of the sizes of another; give that as a single "
                              "file, with names like decoder.mid.block_1.conv1.weight");
    } else if (config->tiny) {
        forget_tiny(config, model);
    }
    if (prefix && !read_config(config, from, prefix, error))
        return false;
    if (prefix)
        checkpoint_translate(from, single_vae_name, &names);
    if (!vae_load(&self->vae, model->gpu, model->vae.dtype, from, error))
        return false;
    return checkpoint_all_used(from, error);
}

bool vae_other_put(struct vae_other *self, struct model *model, const char *path,
                   const char *name, struct error *error)
{
    if (self->on)
        exchange(self, model);
    if (!path)
        return true;
    if (!self->path || strcmp(self->path, path) != 0) {
        vae_other_clear(self, model->gpu);
        struct checkpoint *from = checkpoint_open(path, name, error);
        if (!from)
            return false;
        bool ok = load(self, model, from, error);
        checkpoint_close(&from);
        if (!ok) {
            vae_other_clear(self, model->gpu);
            return error_prefix(error, "vae %s", name);
        }
        self->path = strdup(path);
        if (!self->path) {
            vae_other_clear(self, model->gpu);
            return error_set_kind(error, ERROR_MEMORY, "vae %s: no memory", name);
        }
    }
    exchange(self, model);
    return true;
}

void vae_other_clear(struct vae_other *self, struct gpu *gpu)
{
    vae_clear(&self->vae, gpu);
    free(self->path);
    *self = (struct vae_other){0};
}
