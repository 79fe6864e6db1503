/* From a diffusers folder to its manifest: which files a pipeline's parts need. Only what
 * the table names travels; anything else in the folder (pictures, other formats of the same
 * weights) stays where it is.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/files/manifest_model.h"
#include "proto/wire.h"

enum { JSON_MOST = 16 << 20 };

/* What a pipeline's folder is made of. A part's class must be one we can run. */
static const struct part {
    const char *name, *classes[3];
    const char *must[3], *may[4];
    const char *weights; /* file name without extension */
} parts[] = {
    {"scheduler", {NULL}, {"scheduler_config.json"}, {NULL}, NULL},
    {"text_encoder",
     {"CLIPTextModel", "CLIPTextModelWithProjection"},
     {"config.json"},
     {NULL},
     "model"},
    {"text_encoder_2",
     {"CLIPTextModelWithProjection", "CLIPTextModel"},
     {"config.json"},
     {NULL},
     "model"},
    {"tokenizer",
     {NULL},
     {"vocab.json", "merges.txt"},
     {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
      "tokenizer.json"},
     NULL},
    {"tokenizer_2",
     {NULL},
     {"vocab.json", "merges.txt"},
     {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
      "tokenizer.json"},
     NULL},
    {"unet",
     {"UNet2DConditionModel", "UNet2DModel"},
     {"config.json"},
     {NULL},
     "diffusion_pytorch_model"},
    {"vae",
     {"AutoencoderKL", "AutoencoderTiny"},
     {"config.json"},
     {NULL},
     "diffusion_pytorch_model"},
};

enum { PARTS = sizeof parts / sizeof *parts };

/* Pipelines we can run, and the parts each cannot do without. */
static const struct {
    const char *name;
    const char *needs[6];
} pipelines[] = {
    {"DDPMPipeline", {"scheduler", "unet"}},
    {"DDIMPipeline", {"scheduler", "unet"}},
    {"StableDiffusionPipeline",
     {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}},
    {"StableDiffusionImg2ImgPipeline",
     {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}},
    {"StableDiffusionInpaintPipeline",
     {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}},
    {"StableDiffusionInstructPix2PixPipeline",
     {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}},
    {"LatentConsistencyModelPipeline",
     {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}},
    {"LatentConsistencyModelImg2ImgPipeline",
     {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}},
    {"StableDiffusionXLPipeline",
     {"scheduler", "text_encoder_2", "tokenizer_2", "unet", "vae"}},
    {"StableDiffusionXLImg2ImgPipeline",
     {"scheduler", "text_encoder_2", "tokenizer_2", "unet", "vae"}},
    {"StableDiffusionXLInpaintPipeline",
     {"scheduler", "text_encoder_2", "tokenizer_2", "unet", "vae"}},
    {"StableDiffusionXLInstructPix2PixPipeline",
     {"scheduler", "text_encoder_2", "tokenizer_2", "unet", "vae"}},
};

enum { PIPELINES = sizeof pipelines / sizeof *pipelines };

static bool exists(const char *folder, const char *path)
{
    char *whole = path_format("%s/%s", folder, path);
    bool there = access(whole, F_OK) == 0;
    free(whole);
    return there;
}

static bool add_file(Farm__Manifest *into, const char *folder, const char *path,
                     struct error *error)
{
    char *whole = path_format("%s/%s", folder, path);
    bool ok = manifest_add_file(into, path, whole, error);
    free(whole);
    return ok;
}

/* ---- what a folder holds */

json_t *manifest_json(const char *folder, const char *path, struct error *error)
{
    char *whole = path_format("%s/%s", folder, path);
    struct buffer text = {0};
    json_error_t wrong;
    json_t *json = NULL;
    if (path_read(whole, JSON_MOST, &text, error)) {
        json = json_loadb((const char *)text.data, text.size, 0, &wrong);
        if (!json)
            error_set_kind(error, ERROR_INPUT, "%s: line %d: %s", whole, wrong.line,
                           wrong.text);
        else if (!json_is_object(json)) {
            error_set_kind(error, ERROR_INPUT, "%s: holds no JSON object", whole);
            json_decref(json);
            json = NULL;
        }
    }
    buffer_clear(&text);
    free(whole);
    return json;
}

const char *manifest_part_class(const json_t *index, const char *part)
{
    return json_string_value(json_array_get(json_object_get(index, part), 1));
}

const char *manifest_part_place(const char *folder, const char *part)
{
    static const char *const places[] = {"scheduler/", "unet/"};
    struct stat found;
    char *whole = path_format("%s/%s", folder, part);
    bool there = stat(whole, &found) == 0 && S_ISDIR(found.st_mode);
    free(whole);
    for (size_t i = 0; there && i < 2; i++)
        if (strncmp(places[i], part, strlen(part)) == 0)
            return places[i];
    return "";
}

/* Checks the class of a part in model_index.json: ["diffusers", "AutoencoderKL"]. */
static bool check_part(const char *class_name, const struct part *part,
                       const char *folder, struct error *error)
{
    bool known = !part->classes[0];
    for (size_t i = 0; i < 3 && part->classes[i]; i++)
        known = known || strcmp(class_name, part->classes[i]) == 0;
    return known || error_set_kind(error, ERROR_INPUT,
                                   "%s: its %s is a %.60s, only %s%s%s can be rendered",
                                   folder, part->name, class_name, part->classes[0],
                                   part->classes[1] ? " and " : "",
                                   part->classes[1] ? part->classes[1] : "");
}

/* ---- weights */

/* A plain name beside the index, added once. */
static bool add_shard(Farm__Manifest *into, const char *folder, const char *place,
                      const char *name, struct error *error)
{
    char path[PATH_MAX];
    if (!name || strchr(name, '/'))
        return error_set_kind(error, ERROR_INPUT,
                              "%s/%s: the index names no plain file beside it", folder,
                              place);
    snprintf(path, sizeof path, "%s%s", place, name);
    for (size_t i = 0; i < into->n_files; i++)
        if (wire_is(into->files[i]->path, path, strlen(path)))
            return true;
    if (!exists(folder, path))
        return error_set_kind(
            error, ERROR_INPUT,
            "%s: there is no %s, which the index of its weights names", folder, path);
    return add_file(into, folder, path, error);
}

/* The index and the files it names: {"weight_map": {TENSOR: FILE}}. */
static bool add_shards(Farm__Manifest *into, const char *folder, const char *place,
                       const char *index, struct error *error)
{
    json_t *json = manifest_json(folder, index, error);
    const char *tensor;
    json_t *name;
    bool ok = json && add_file(into, folder, index, error);
    json_object_foreach(json_object_get(json, "weight_map"), tensor, name) ok =
        ok && add_shard(into, folder, place, json_string_value(name), error);
    json_decref(json);
    return ok;
}

static bool refuse_pickle(const char *folder, const char *place,
                          const struct part *part, struct error *error)
{
    static const char *const endings[] = {".bin", ".fp16.bin", ".bin.index.json",
                                          ".ckpt", ".pt"};
    const char *stem =
        strcmp(part->weights, "model") == 0 ? "pytorch_model" : part->weights;
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(path, sizeof path, "%s%s%s", place, stem, endings[i]);
        if (exists(folder, path))
            return error_set_kind(
                error, ERROR_INPUT,
                "%s/%s is a pickle, which may run code when it is read; convert it "
                "with diffusers: save_pretrained(folder, safe_serialization=True)",
                folder, path);
    }
    return error_set_kind(error, ERROR_INPUT, "%s: there is no %s%s.safetensors",
                          folder, place, part->weights);
}

/* The part's weights: f32 before f16, because storage is chosen at rendering. */
static bool add_weights(Farm__Manifest *into, const char *folder, const char *place,
                        const struct part *part, struct error *error)
{
    static const char *const endings[] = {
        ".safetensors",
        ".safetensors.index.json",
        ".fp16.safetensors",
        ".safetensors.index.fp16.json",
        ".fp16.safetensors.index.json",
    };
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(path, sizeof path, "%s%s%s", place, part->weights, endings[i]);
        if (exists(folder, path))
            return strstr(endings[i], ".index.")
                       ? add_shards(into, folder, place, path, error)
                       : add_file(into, folder, path, error);
    }
    return refuse_pickle(folder, place, part, error);
}

static bool add_part(Farm__Manifest *into, const char *folder, const struct part *part,
                     bool in_root, struct error *error)
{
    char path[PATH_MAX], place[40];
    snprintf(place, sizeof place, "%s%s", in_root ? "" : part->name,
             in_root ? "" : "/");
    snprintf(path, sizeof path, "%stokenizer.json", place);
    bool newer = strncmp(part->name, "tokenizer", 9) == 0 && exists(folder, path);
    snprintf(path, sizeof path, "%smerges.txt", place);
    newer = newer && !exists(folder, path);
    for (size_t i = 0; i < 3 && part->must[i] && !newer; i++) {
        snprintf(path, sizeof path, "%s%s", place, part->must[i]);
        if (!exists(folder, path))
            return error_set_kind(error, ERROR_INPUT, "%s: there is no %s", folder,
                                  path);
        if (!add_file(into, folder, path, error))
            return false;
    }
    for (size_t i = 0; i < 4 && part->may[i]; i++) {
        snprintf(path, sizeof path, "%s%s", place, part->may[i]);
        if (exists(folder, path) && !add_file(into, folder, path, error))
            return false;
    }
    return !part->weights || add_weights(into, folder, place, part, error);
}

/* ---- the whole */

/* The last part of the folder's real path, for "." and symbolic links too. */
static char *folder_name(const char *folder)
{
    char *real = realpath(folder, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    char *name = path_format("%s", slash && slash[1] ? slash + 1 : "model");
    free(real);
    return name;
}

static bool check_index(const json_t *index, const char *folder, struct error *error)
{
    const char *class_name = json_string_value(json_object_get(index, "_class_name"));
    size_t known = 0;
    while (known < PIPELINES &&
           (!class_name || strcmp(class_name, pipelines[known].name) != 0))
        known++;
    if (known == PIPELINES)
        return error_set_kind(
            error, ERROR_INPUT,
            "%s: a %.60s cannot be rendered; Stable Diffusion 1, 2 and "
            "XL, their inpainting and editing models, and "
            "DDPMPipeline can",
            folder, class_name ? class_name : "model without a class");
    for (size_t i = 0; i < 6 && pipelines[known].needs[i]; i++)
        if (!manifest_part_class(index, pipelines[known].needs[i]))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: model_index.json names no %s, which a %s needs",
                                  folder, pipelines[known].needs[i], class_name);
    return true;
}

static bool add_parts(Farm__Manifest *into, const char *folder, const json_t *index,
                      struct error *error)
{
    bool pixels = !manifest_part_class(index, "vae");
    for (size_t i = 0; i < PARTS; i++) {
        const char *class_name = manifest_part_class(index, parts[i].name);
        bool in_root = pixels && !*manifest_part_place(folder, parts[i].name);
        if (class_name && (!check_part(class_name, &parts[i], folder, error) ||
                           !add_part(into, folder, &parts[i], in_root, error)))
            return false;
    }
    return !exists(folder, "class_emb.safetensors") ||
           add_file(into, folder, "class_emb.safetensors", error);
}

static int by_path(const void *a, const void *b)
{
    const Farm__ModelFile *const *first = a, *const *second = b;
    return manifest_compare_paths((*first)->path, (*second)->path);
}

Farm__Manifest *manifest_from_folder(const char *folder, const char *name,
                                     struct error *error)
{
    json_t *index = NULL;
    char *own_name = name ? path_format("%s", name) : folder_name(folder);
    Farm__Manifest *self = malloc(sizeof *self);
    bool ok = false;
    if (!self)
        abort();
    farm__manifest__init(self);
    self->name = wire_own(wire_text(own_name));
    self->kind = wire_own(wire_text("diffusers"));
    if (!exists(folder, "model_index.json")) {
        error_set_kind(
            error, exists(folder, ".") ? ERROR_INPUT : ERROR_NOT_FOUND,
            "%s: holds no model_index.json; a model is a folder as diffusers "
            "saves it, or one safetensors file",
            folder);
        goto out;
    }
    index = manifest_json(folder, "model_index.json", error);
    if (!index || !check_index(index, folder, error) ||
        !add_file(self, folder, "model_index.json", error) ||
        !add_parts(self, folder, index, error) ||
        !manifest_describe(self, folder, index, error))
        goto out;
    qsort(self->files, self->n_files, sizeof *self->files, by_path);
    ok = manifest_check(self, error);
out:
    json_decref(index);
    free(own_name);
    if (!ok)
        manifest_destroy(&self);
    return self;
}
