/* model_index.json names the pipeline's class and the parts there are:
 *
 *     {"_class_name": "StableDiffusionXLPipeline",
 *      "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], ...}
 *
 * A part that is [null, null] or not named is none. The class decides little: what a model
 * can do follows from its parts.
 */
#include "worker/sd/model_folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "worker/sd/lora_key.h"
#include "worker/sd/model_config.h"
#include "worker/sd/part_files.h"

/* What the classes we run have in common with others of their kind. */
static const struct class
{
    const char *name;
    bool xl;
} classes[] = {
    {"StableDiffusionPipeline", false},
    {"StableDiffusionImg2ImgPipeline", false},
    {"StableDiffusionInpaintPipeline", false},
    {"StableDiffusionInstructPix2PixPipeline", false},
    {"StableDiffusionXLPipeline", true},
    {"StableDiffusionXLImg2ImgPipeline", true},
    {"StableDiffusionXLInpaintPipeline", true},
    {"StableDiffusionXLInstructPix2PixPipeline", true},
};

enum { CLASSES = sizeof classes / sizeof *classes };

/* The class of a part in the index; NULL: the model has none. */
static const char *part_class(const struct model_config *index, const char *part)
{
    return json_string_value(json_array_get(json_object_get(index->root, part), 1));
}

static bool load_tokenizer(struct tokenizer **into, const struct model_files *files,
                           const char *folder, struct error *error)
{
    char *vocabulary = part_files_name(folder, "vocab.json");
    char *merges = part_files_name(folder, "merges.txt");
    char *config = part_files_name(folder, "tokenizer_config.json");
    char *special = part_files_name(folder, "special_tokens_map.json");
    const char *vocabulary_path = part_files_need(files, vocabulary, error);
    const char *merges_path =
        vocabulary_path ? part_files_need(files, merges, error) : NULL;
    if (merges_path)
        *into = tokenizer_open(vocabulary_path, merges_path,
                               model_files_path(files, config),
                               model_files_path(files, special), error);
    free(special);
    free(config);
    free(merges);
    free(vocabulary);
    return *into != NULL;
}

static bool finish(struct checkpoint **from, bool loaded, struct error *error)
{
    bool ok = loaded && checkpoint_all_used(*from, error);
    checkpoint_close(from);
    return ok;
}

/* The same for a part that adapters change. */
static bool finish_open(struct model *self, struct checkpoint **from, bool loaded,
                        struct error *error)
{
    bool ok = loaded && checkpoint_all_used(*from, error);
    if (ok)
        model_keep(self, from);
    else
        checkpoint_close(from);
    return ok;
}

static struct checkpoint *noting(struct checkpoint *from, unsigned part)
{
    if (from)
        checkpoint_part(from, part);
    return from;
}

/* `number`: "" or "_2". */
static bool load_text(struct model *self, const struct model_files *files,
                      const char *number, struct error *error)
{
    struct text_stack *text = &self->text;
    struct text_part *part = &text->part[text->count++];
    char *folder = path_format("text_encoder%s", number);
    char *tokens = path_format("tokenizer%s", number);
    char *config = part_files_name(folder, "config.json");
    const char *path = part_files_need(files, config, error);
    struct checkpoint *from = NULL;
    bool ok = path && load_tokenizer(&part->tokenizer, files, tokens, error) &&
              text_encoder_config(&part->encoder, path, config, error) &&
              (from = noting(part_files_open(files, folder, "model", error),
                             LORA_TEXT + (unsigned)text->count - 1)) &&
              finish_open(self, &from,
                          text_encoder_load(&part->encoder, text->gpu, text->dtype,
                                            from, error),
                          error);
    free(config);
    free(tokens);
    free(folder);
    return ok;
}

static bool load_unet(struct model *self, const struct model_files *files,
                      enum dtype dtype, struct error *error)
{
    const char *name = "unet/config.json";
    const char *path = part_files_need(files, name, error);
    struct checkpoint *from = NULL;
    return path && unet_config_load(&self->unet.config, path, name, error) &&
           (from =
                noting(part_files_open(files, "unet", "diffusion_pytorch_model", error),
                       LORA_UNET)) &&
           finish_open(self, &from,
                       unet_load(&self->unet, self->gpu, dtype, from, error), error);
}

static bool load_vae(struct model *self, const struct model_files *files,
                     enum dtype dtype, struct error *error)
{
    const char *name = "vae/config.json";
    const char *path = part_files_need(files, name, error);
    struct checkpoint *from = NULL;
    if (!path || !vae_config_load(&self->vae.config, path, name, error))
        return false;
    /* diffusers asks this of SDXL alone: the key is true by default. */
    if (self->text.penultimate && self->vae.config.force_upcast)
        dtype = DTYPE_F32;
    return (from = part_files_open(files, "vae", "diffusion_pytorch_model", error)) &&
           finish(&from, vae_load(&self->vae, self->gpu, dtype, from, error), error);
}

static bool load_schedule(struct model *self, const struct model_files *files,
                          struct error *error)
{
    const char *name = "scheduler/scheduler_config.json";
    const char *path = part_files_need(files, name, error);
    if (!path)
        return false;
    schedule_config_defaults(&self->schedule);
    return schedule_config_load(&self->schedule, path, error) ||
           error_prefix(error, "%s", name);
}

static bool read_index(struct model *self, struct model_config *index)
{
    const char *names[CLASSES + 1] = {NULL};
    for (size_t i = 0; i < CLASSES; i++)
        names[i] = classes[i].name;
    bool xl = classes[model_config_choice(index, "_class_name", NULL, names)].xl;
    self->text.penultimate = xl;
    self->zero_negative =
        xl && model_config_bool(index, "force_zeros_for_empty_prompt", true);
    self->aesthetic =
        xl && model_config_bool(index, "requires_aesthetics_score", false);
    return !index->failed;
}

bool model_folder_load(struct model *self, const struct model_files *files,
                       enum dtype dtype, struct error *error)
{
    const char *path = part_files_need(files, "model_index.json", error);
    struct model_config index;
    if (!path || !model_config_open(&index, path, "model_index.json", error))
        return false;
    bool first = part_class(&index, "text_encoder");
    bool second = part_class(&index, "text_encoder_2");
    if (!read_index(self, &index))
        return model_config_close(&index, error);
    model_config_close(&index, NULL);
    if (!first && !second)
        return error_set_kind(error, ERROR_INPUT,
                              "model_index.json: names no text_encoder; such models "
                              "cannot be rendered");
    return load_schedule(self, files, error) &&
           (!first || load_text(self, files, "", error)) &&
           (!second || load_text(self, files, "_2", error)) &&
           load_unet(self, files, dtype, error) && load_vae(self, files, dtype, error);
}
