/* layout/single.c says what the file holds; here that becomes the configurations a folder
 * would have brought, and each part is loaded through its table of names.
 */
#include "worker/sd/model_single.h"

#include <stdio.h>
#include <string.h>

#include "worker/sd/lora_key.h"
#include "worker/sd/single_names.h"
#include "worker/sd/tokenizer_clip.h"

const struct model_file *model_single_file(const struct model_files *files)
{
    static const char ending[] = ".safetensors";
    const char *name = files->count == 1 ? files->file[0].name : "";
    size_t length = strlen(name), tail = sizeof ending - 1;
    return length > tail && strcmp(name + length - tail, ending) == 0 ? &files->file[0]
                                                                      : NULL;
}

static bool load_text(struct model *self, const struct single_text *single,
                      struct checkpoint *from, struct error *error)
{
    struct text_part *part = &self->text.part[self->text.count++];
    part->encoder = (struct text_encoder){
        .vocabulary = single->vocabulary,
        .tokens = single->tokens,
        .c = single->c,
        .inner = single->inner,
        .heads = single->heads,
        .layers = single->layers,
        .eps = 1e-5F,
        .activation = single->openclip ? ACTIVATION_GELU : ACTIVATION_QUICK_GELU,
        .end = 49407,
        .projection = single->projection,
    };
    part->tokenizer =
        tokenizer_clip_new(single->openclip ? "!" : "<|endoftext|>", error);
    checkpoint_part(from, LORA_TEXT + (unsigned)self->text.count - 1);
    checkpoint_translate(from, single_text_name, single);
    return part->tokenizer &&
           text_encoder_load(&part->encoder, self->gpu, self->text.dtype, from, error);
}

static bool load_unet(struct model *self, const struct single_unet *single,
                      enum dtype dtype, size_t sample, struct checkpoint *from,
                      struct error *error)
{
    struct unet_config *c = &self->unet.config;
    *c = (struct unet_config){
        .in_channels = single->in,
        .out_channels = single->out,
        .levels = single->levels,
        .context = single->context,
        .groups = 32,
        .eps = 1e-5F,
        .activation = ACTIVATION_SILU,
        .at_time = ACTIVATION_SILU,
        .at_end = ACTIVATION_SILU,
        .time_width = 4 * single->level[0].channels,
        .size_in = 3,
        .size_out = 3,
        .flip_sin_to_cos = true,
        .time_ids = single->time_ids,
        .added = single->added,
        .sample_height = sample,
        .sample_width = sample,
    };
    for (size_t i = 0; i < single->levels; i++) {
        const struct single_level *level = &single->level[i];
        struct unet_way_config way = {.attends =
                                          level->attends ? ATTENDS_TEXT : ATTENDS_NOT,
                                      .heads = level->heads};
        for (size_t j = 0; j <= UNET_LAYERS_MOST; j++)
            way.depth[j] = level->depth;
        c->level[i] = (struct unet_level_config){.channels = level->channels,
                                                 .layers = level->layers,
                                                 .down = way,
                                                 .up = way};
    }
    const struct single_level *last = &single->level[single->levels - 1];
    c->mid = (struct unet_mid_config){.resnets = 2,
                                      .attends = ATTENDS_TEXT,
                                      .heads = last->heads,
                                      .depth = last->depth};
    checkpoint_part(from, LORA_UNET);
    checkpoint_translate(from, single_unet_name, single);
    return unet_config_check(c, error) &&
           unet_load(&self->unet, self->gpu, dtype, from, error);
}

static bool load_vae(struct model *self, const struct single_vae *single,
                     enum dtype dtype, size_t sample, struct checkpoint *from,
                     struct error *error)
{
    enum { USUAL_FACTOR = 8 };
    struct single_vae_names names = {"first_stage_model.", single->levels};
    self->vae.config = (struct vae_config){
        .latent_channels = single->latent,
        .levels = single->levels,
        .layers = single->layers,
        .groups = 32,
        .activation = ACTIVATION_SILU,
        .mid_attends = single->attends,
        .quant = single->quant,
        .post_quant = single->post_quant,
        .scaling_factor = single->scaling_factor,
        .force_upcast = self->text.penultimate,
        .sample = sample * USUAL_FACTOR,
    };
    memcpy(self->vae.config.channels, single->channels, sizeof single->channels);
    checkpoint_part(from, LORA_PARTS);
    checkpoint_translate(from, single_vae_name, &names);
    bool ok = vae_config_check(&self->vae.config, error) &&
              vae_load(&self->vae, self->gpu,
                       self->vae.config.force_upcast ? DTYPE_F32 : dtype, from, error);
    checkpoint_translate(from, NULL, NULL);
    return ok;
}

/* The files that come with the families' folders say the same in all of them, but for
 * SDXL's spacing. */
static bool set_schedule(struct model *self, const struct single *single,
                         struct error *error)
{
    const struct {
        const char *key, *value;
    } keys[] = {
        {"beta_start", "0.00085"},
        {"beta_end", "0.012"},
        {"beta_schedule", "scaled_linear"},
        {"clip_sample", "false"},
        {"set_alpha_to_one", "false"},
        {"skip_prk_steps", "true"},
        {"steps_offset", "1"},
        {"prediction_type", single->v_prediction ? "v_prediction" : "epsilon"},
        {"rescale_betas_zero_snr", single->zero_snr ? "true" : "false"},
        {"timestep_spacing", "leading"},
    };
    size_t count = sizeof keys / sizeof *keys - !self->text.penultimate;
    schedule_config_defaults(&self->schedule);
    for (size_t i = 0; i < count; i++)
        if (!schedule_config_set(&self->schedule, keys[i].key, keys[i].value, error))
            return false;
    return true;
}

/* SD 2 uses neither its text encoder's last layer nor the projection. */
static void forgive_unused(const struct single *single, struct checkpoint *from)
{
    char layer[100];
    if (single->family != SINGLE_SD2)
        return;
    snprintf(layer, sizeof layer, "%stransformer.resblocks.%zu.",
             single->text[0].prefix, single->text[0].layers);
    checkpoint_forgive(from, layer);
    checkpoint_forgive(from, "cond_stage_model.model.text_projection");
}

bool model_single_load(struct model *self, const struct model_file *file,
                       enum dtype dtype, struct error *error)
{
    struct single single;
    struct checkpoint *from = checkpoint_open(file->path, file->name, error);
    if (!from)
        return false;
    bool ok = single_read(&single, checkpoint_file(from), error);
    if (ok) {
        self->text.penultimate =
            single.family == SINGLE_SDXL || single.family == SINGLE_REFINER;
        self->zero_negative = single.family == SINGLE_SDXL;
        self->aesthetic = single.family == SINGLE_REFINER;
    }
    if (ok)
        forgive_unused(&single, from);
    for (size_t i = 0; ok && i < single.texts; i++)
        ok = load_text(self, &single.text[i], from, error);
    ok = ok && load_unet(self, &single.unet, dtype, single.sample, from, error) &&
         load_vae(self, &single.vae, dtype, single.sample, from, error) &&
         set_schedule(self, &single, error) && checkpoint_all_used(from, error);
    checkpoint_translate(from, NULL, NULL);
    if (ok)
        model_keep(self, &from);
    checkpoint_close(&from);
    return ok;
}
