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
#include "worker/sd/tokenizer_json.h"

/* What the classes we run have in common with others of their kind. */
static const struct class
{
    const char *name;
    bool xl;
} classes[] = {
    {"DDPMPipeline", false},
    {"DDIMPipeline", false},
    {"StableDiffusionPipeline", false},
    {"StableDiffusionImg2ImgPipeline", false},
    {"StableDiffusionInpaintPipeline", false},
    {"StableDiffusionInstructPix2PixPipeline", false},
    {"LatentConsistencyModelPipeline", false},
    {"LatentConsistencyModelImg2ImgPipeline", false},
    {"StableDiffusionXLPipeline", true},
    {"StableDiffusionXLImg2ImgPipeline", true},
    {"StableDiffusionXLInpaintPipeline", true},
    {"StableDiffusionXLInstructPix2PixPipeline", true},
};

enum { CLASSES = sizeof classes / sizeof *classes };
enum { CLASSES_MOST = 100000, CLASS_WIDTH_MOST = 1024 };

/* The class of a part in the index; NULL: the model has none. */
static const char *part_class(const struct model_config *index, const char *part)
{
    return json_string_value(json_array_get(json_object_get(index->root, part), 1));
}

static bool load_tokenizer(struct tokenizer **into, const struct model_files *files,
                           const char *folder, struct error *error)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json"};
    const char *path[5];
    for (size_t i = 0; i < 5; i++) {
        char *name = part_files_name(folder, names[i]);
        path[i] = model_files_path(files, name);
        free(name);
    }
    if (path[0] && path[1])
        *into = tokenizer_open(path[0], path[1], path[3], path[4], error);
    else if (path[2])
        *into = tokenizer_open_json(path[2], path[3], path[4], error);
    else
        error_set_kind(
            error, ERROR_INPUT,
            "%s/%s is missing; expected a model folder as diffusers saves it", folder,
            path[0] ? names[1] : names[0]);
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

/* The folder of a part; the root where a model of pixels has all its files there. */
static const char *folder_of(const struct model_files *files, const char *part,
                             const char *file)
{
    char *name = part_files_name(part, file);
    bool there = model_files_path(files, name);
    free(name);
    return there || !model_files_path(files, file) ? part : "";
}

static bool load_unet(struct model *self, const struct model_files *files,
                      enum dtype dtype, struct error *error)
{
    const char *folder = folder_of(files, "unet", "config.json");
    char *name = part_files_name(folder, "config.json");
    const char *path = part_files_need(files, name, error);
    struct checkpoint *from = NULL;
    bool ok =
        path && unet_config_load(&self->unet.config, path, name, error) &&
        (from = noting(part_files_open(files, folder, "diffusion_pytorch_model", error),
                       LORA_UNET)) &&
        finish_open(self, &from, unet_load(&self->unet, self->gpu, dtype, from, error),
                    error);
    free(name);
    return ok;
}

/* class_emb.safetensors in the root: class_emb.weight [classes, width], appended to the
 * pixels' channels as in Hugging Face's course. Its sizes are the tensor's. */
static bool load_class_vectors(struct model *self, const struct model_files *files,
                               struct error *error)
{
    static const char name[] = "class_emb.safetensors", tensor[] = "class_emb.weight";
    const char *path = model_files_path(files, name);
    struct checkpoint *from = path ? checkpoint_open(path, name, error) : NULL;
    struct host_tensor table;
    if (!from)
        return !path;
    const struct tensor_entry *entry = tensor_file_find(checkpoint_file(from), tensor);
    size_t shape[2] = {entry && entry->dims == 2 ? entry->shape[0] : 1,
                       entry && entry->dims == 2 ? entry->shape[1] : 1};
    bool ok = checkpoint_get(from, tensor, shape, 2, &table, error);
    if (ok && (shape[0] < 1 || shape[0] > CLASSES_MOST || shape[1] < 1 ||
               shape[1] > CLASS_WIDTH_MOST))
        ok = error_set_kind(error, ERROR_INPUT, "%s: %zu classes of width %zu", name,
                            shape[0], shape[1]);
    if (ok) {
        self->classes = shape[0];
        self->class_width = shape[1];
        self->class_vectors = calloc(shape[0] * shape[1], sizeof *self->class_vectors);
        ok = self->class_vectors ||
             error_set_kind(error, ERROR_MEMORY, "no memory for classes");
    }
    if (ok)
        host_tensor_floats(&table, 0, shape[0] * shape[1], self->class_vectors);
    return finish(&from, ok, error);
}

static bool load_vae(struct model *self, const struct model_files *files,
                     enum dtype dtype, struct error *error)
{
    const char *name = "vae/config.json";
    const char *path = part_files_need(files, name, error);
    struct checkpoint *from = NULL;
    if (!path || !vae_config_load(&self->vae.config, path, name, error))
        return false;
    /* diffusers asks these of SDXL alone: force_upcast is true by default. */
    self->vae.config.normalised &= self->text.penultimate;
    if (self->text.penultimate && self->vae.config.force_upcast)
        dtype = DTYPE_F32;
    return (from = part_files_open(files, "vae", "diffusion_pytorch_model", error)) &&
           finish(&from, vae_load(&self->vae, self->gpu, dtype, from, error), error);
}

static bool load_schedule(struct model *self, const struct model_files *files,
                          struct error *error)
{
    const char *folder = folder_of(files, "scheduler", "scheduler_config.json");
    char *name = part_files_name(folder, "scheduler_config.json");
    const char *path = part_files_need(files, name, error);
    schedule_config_defaults(&self->schedule);
    bool ok = path && (schedule_config_load(&self->schedule, path, error) ||
                       error_prefix(error, "%s", name));
    free(name);
    return ok;
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
    self->pixels = !part_class(&index, "vae");
    if (!read_index(self, &index))
        return model_config_close(&index, error);
    model_config_close(&index, NULL);
    if (!load_schedule(self, files, error))
        return false;
    if (self->pixels)
        return load_unet(self, files, dtype, error) &&
               load_class_vectors(self, files, error) &&
               (!self->unet.config.context ||
                error_set_kind(error, ERROR_INPUT,
                               "model_index.json: names no vae, which a UNet that "
                               "attends to text needs"));
    if (!first && !second)
        return error_set_kind(error, ERROR_INPUT,
                              "model_index.json: names no text_encoder; such models "
                              "cannot be rendered");
    return (!first || load_text(self, files, "", error)) &&
           (!second || load_text(self, files, "_2", error)) &&
           load_unet(self, files, dtype, error) && load_vae(self, files, dtype, error);
}
