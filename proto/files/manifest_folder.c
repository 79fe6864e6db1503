/* From a diffusers folder to its manifest: which files a pipeline's parts need, and what
 * their configurations say the model is. Only what the table names travels; anything else
 * in the folder (pictures, other formats of the same weights) stays where it is.
 */
#include "proto/files/manifest.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/wire.h"

enum { JSON_MOST = 16 << 20 };

/* What a pipeline's folder is made of. A part's class must be the one we can run. */
static const struct part {
    const char *name, *class_name;
    const char *must[3], *may[4];
    const char *weights; /* file name without extension */
} parts[] = {
    {"scheduler", NULL, {"scheduler_config.json"}, {NULL}, NULL},
    {"text_encoder", "CLIPTextModel", {"config.json"}, {NULL}, "model"},
    {"tokenizer",
     NULL,
     {"vocab.json", "merges.txt"},
     {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"},
     NULL},
    {"unet",
     "UNet2DConditionModel",
     {"config.json"},
     {NULL},
     "diffusion_pytorch_model"},
    {"vae", "AutoencoderKL", {"config.json"}, {NULL}, "diffusion_pytorch_model"},
};

enum { PARTS = sizeof parts / sizeof *parts };

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

static json_t *load_json(const char *folder, const char *path, struct error *error)
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

/* The whole number under a key; `fallback` where there is none. */
static int64_t integer(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

/* Checks the class of a part in model_index.json: ["diffusers", "AutoencoderKL"]. */
static bool check_part(const json_t *index, const struct part *part, const char *folder,
                       struct error *error)
{
    const char *class_name =
        json_string_value(json_array_get(json_object_get(index, part->name), 1));
    if (!class_name)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: model_index.json names no %s; such models cannot be "
                              "rendered yet",
                              folder, part->name);
    if (part->class_name && strcmp(class_name, part->class_name) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: its %s is a %.60s, only %s can be rendered yet",
                              folder, part->name, class_name, part->class_name);
    return true;
}

/* The part's weights: f32 before f16, because storage is chosen at rendering. */
static bool add_weights(Farm__Manifest *into, const char *folder,
                        const struct part *part, struct error *error)
{
    static const char *const good[] = {".safetensors", ".fp16.safetensors"};
    static const char *const pickled[] = {".bin", ".fp16.bin", ".ckpt", ".pt"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(path, sizeof path, "%s/%s%s", part->name, part->weights, good[i]);
        if (exists(folder, path))
            return add_file(into, folder, path, error);
    }
    snprintf(path, sizeof path, "%s/%s.safetensors.index.json", part->name,
             part->weights);
    if (exists(folder, path))
        return error_set_kind(
            error, ERROR_INPUT,
            "%s/%s: weights in several files cannot be read yet; save "
            "the model with max_shard_size=\"100GB\"",
            folder, path);
    for (size_t i = 0; i < sizeof pickled / sizeof *pickled; i++) {
        const char *stem =
            strcmp(part->name, "text_encoder") == 0 ? "pytorch_model" : part->weights;
        snprintf(path, sizeof path, "%s/%s%s", part->name, stem, pickled[i]);
        if (exists(folder, path))
            return error_set_kind(
                error, ERROR_INPUT,
                "%s/%s is a pickle, which may run code when it is read; convert it "
                "with "
                "diffusers: save_pretrained(folder, safe_serialization=True)",
                folder, path);
    }
    return error_set_kind(error, ERROR_INPUT, "%s: there is no %s/%s.safetensors",
                          folder, part->name, part->weights);
}

static bool add_part(Farm__Manifest *into, const char *folder, const struct part *part,
                     struct error *error)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < 3 && part->must[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", part->name, part->must[i]);
        if (!exists(folder, path))
            return error_set_kind(error, ERROR_INPUT, "%s: there is no %s", folder,
                                  path);
        if (!add_file(into, folder, path, error))
            return false;
    }
    for (size_t i = 0; i < 4 && part->may[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", part->name, part->may[i]);
        if (exists(folder, path) && !add_file(into, folder, path, error))
            return false;
    }
    return !part->weights || add_weights(into, folder, part, error);
}

/* ---- what the model is */

/* diffusers reads a sample_size under 64 as 64 when the UNet was saved by a version before
 * 0.9, whose configurations carried a wrong number. */
static bool is_before_0_9(const json_t *unet)
{
    unsigned major = 0, minor = 0;
    const char *version =
        json_string_value(json_object_get(unet, "_diffusers_version"));
    return version && sscanf(version, "%u.%u", &major, &minor) == 2 && major == 0 &&
           minor < 9;
}

static bool set_size(Farm__Manifest *into, const char *folder, const json_t *unet,
                     const json_t *vae, struct error *error)
{
    size_t levels = json_array_size(json_object_get(vae, "block_out_channels"));
    if (levels == 0 || levels > 7)
        return error_set_kind(error, ERROR_INPUT,
                              "%s/vae/config.json: block_out_channels has %zu levels, "
                              "expected 1 to 7",
                              folder, levels);
    const json_t *sample = json_object_get(unet, "sample_size");
    int64_t height = integer(unet, "sample_size", 64), width = height;
    if (json_array_size(sample) == 2) {
        height = json_integer_value(json_array_get(sample, 0));
        width = json_integer_value(json_array_get(sample, 1));
    }
    if (is_before_0_9(unet)) {
        height = height < 64 ? 64 : height;
        width = width < 64 ? 64 : width;
    }
    into->factor = 1u << (levels - 1);
    int64_t most = MANIFEST_SIDE_MOST / (int64_t)into->factor;
    if (height < 1 || width < 1 || height > most || width > most)
        return error_set_kind(
            error, ERROR_INPUT,
            "%s/unet/config.json: sample_size %lld x %lld, expected 1 "
            "to %lld",
            folder, (long long)height, (long long)width, (long long)most);
    into->height = (uint32_t)height * into->factor;
    into->width = (uint32_t)width * into->factor;
    return true;
}

static bool set_family(Farm__Manifest *into, const char *folder, const json_t *unet,
                       const json_t *text, struct error *error)
{
    int64_t channels = integer(unet, "in_channels", 4);
    int64_t context = integer(unet, "cross_attention_dim", 0);
    const char *activation = json_string_value(json_object_get(text, "hidden_act"));
    activation = activation ? activation : "quick_gelu";
    if (channels != 4)
        return error_set_kind(
            error, ERROR_INPUT,
            "%s: a UNet with %lld input channels%s; only 4 can be rendered yet", folder,
            (long long)channels,
            channels == 9   ? " is for inpainting"
            : channels == 8 ? " is for editing by instruction"
                            : " is of no family we know");
    if (json_is_string(json_object_get(unet, "addition_embed_type")))
        return error_set_kind(error, ERROR_INPUT,
                              "%s: a UNet with an added embedding (SDXL) cannot be "
                              "rendered yet",
                              folder);
    bool second = strcmp(activation, "gelu") == 0;
    if (!second && strcmp(activation, "quick_gelu") != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "%s/text_encoder/config.json: hidden_act is \"%.40s\", "
                              "expected quick_gelu or gelu",
                              folder, activation);
    char reason[200];
    int size = snprintf(reason, sizeof reason,
                        "UNet with 4 channels and context %lld, text encoder with %s",
                        (long long)context, activation);
    into->family = wire_own(wire_text(second ? "sd2" : "sd1"));
    into->reason = wire_own(wire_bytes(reason, (size_t)size));
    return true;
}

static bool describe(Farm__Manifest *into, const char *folder, struct error *error)
{
    json_t *unet = load_json(folder, "unet/config.json", error);
    json_t *vae = unet ? load_json(folder, "vae/config.json", error) : NULL;
    json_t *text = vae ? load_json(folder, "text_encoder/config.json", error) : NULL;
    bool ok = text && set_size(into, folder, unet, vae, error) &&
              set_family(into, folder, unet, text, error);
    json_decref(unet);
    json_decref(vae);
    json_decref(text);
    return ok;
}

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
    if (!class_name || strcmp(class_name, "StableDiffusionPipeline") != 0)
        return error_set_kind(
            error, ERROR_INPUT,
            "%s: a %.60s; only StableDiffusionPipeline can be rendered "
            "yet",
            folder, class_name ? class_name : "model without a class");
    for (size_t i = 0; i < PARTS; i++)
        if (!check_part(index, &parts[i], folder, error))
            return false;
    return true;
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
            "saves it",
            folder);
        goto out;
    }
    index = load_json(folder, "model_index.json", error);
    if (!index || !check_index(index, folder, error) ||
        !add_file(self, folder, "model_index.json", error))
        goto out;
    for (size_t i = 0; i < PARTS; i++)
        if (!add_part(self, folder, &parts[i], error))
            goto out;
    if (!describe(self, folder, error))
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
