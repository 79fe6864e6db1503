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

/* Sizes as the file's shapes say, the rest as the model's own VAE. */
static bool read_config(struct vae_config *config, const struct checkpoint *from,
                        const char *prefix, struct error *error)
{
    struct single_vae single = {0};
    if (!single_read_vae(&single, checkpoint_file(from), prefix, error))
        return false;
    if (single.latent != config->latent_channels || single.levels != config->levels)
        return error_set_kind(error, ERROR_INPUT,
                              "%zu latent channels and %zu levels; the model's own VAE "
                              "has %zu and %zu",
                              single.latent, single.levels, config->latent_channels,
                              config->levels);
    config->layers = single.layers;
    config->mid_attends = single.attends;
    config->quant = single.quant;
    config->post_quant = single.post_quant;
    memcpy(config->channels, single.channels, sizeof single.channels);
    return vae_config_check(config, error);
}

static bool load(struct vae_other *self, const struct model *model,
                 struct checkpoint *from, struct error *error)
{
    const char *prefix = prefix_of(from);
    struct single_vae_names names = {prefix, model->vae.config.levels};
    self->vae = (struct vae){.config = model->vae.config};
    if (prefix && !read_config(&self->vae.config, from, prefix, error))
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
