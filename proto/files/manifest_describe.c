/* What the model in a folder is, by its configurations alone. */
#include <stdio.h>
#include <string.h>

#include "proto/files/manifest_model.h"
#include "proto/wire.h"

enum { LEVELS_MOST = 7 };

void manifest_set_family(Farm__Manifest *into, const char *family, const char *reason)
{
    into->family = wire_own(wire_text(family));
    into->reason = wire_own(wire_text(reason));
}

bool manifest_set_size(Farm__Manifest *into, const char *source, uint32_t factor,
                       int64_t width, int64_t height, uint32_t scale,
                       struct error *error)
{
    int64_t most = MANIFEST_SIDE_MOST / (int64_t)scale;
    if (height < 1 || width < 1 || height > most || width > most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: sample_size %lld x %lld, expected 1 to %lld", source,
                              (long long)height, (long long)width, (long long)most);
    into->factor = factor;
    into->height = (uint32_t)height * scale;
    into->width = (uint32_t)width * scale;
    return true;
}

/* The whole number under a key; `fallback` where there is none. */
static int64_t integer(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

static const char *text_of(const json_t *object, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

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

static bool levels_of(const json_t *config, const char *source, size_t *levels,
                      struct error *error)
{
    const json_t *channels = json_object_get(config, "block_out_channels");
    const json_t *tiny = json_object_get(config, "num_decoder_blocks");
    *levels = json_array_size(channels ? channels : tiny);
    if (*levels >= 1 && *levels <= LEVELS_MOST)
        return true;
    error_set_kind(error, ERROR_INPUT,
                   "%s: block_out_channels has %zu levels, expected 1 to %d", source,
                   *levels, LEVELS_MOST);
    return false;
}

static void sample_size(const json_t *unet, int64_t fallback, int64_t *width,
                        int64_t *height)
{
    const json_t *sample = json_object_get(unet, "sample_size");
    *width = *height = integer(unet, "sample_size", fallback);
    if (json_array_size(sample) == 2) {
        *height = json_integer_value(json_array_get(sample, 0));
        *width = json_integer_value(json_array_get(sample, 1));
    }
}

/* ---- Latent diffusion */

static bool set_latent_size(Farm__Manifest *into, const json_t *unet, const json_t *vae,
                            bool xl, struct error *error)
{
    size_t levels;
    int64_t width, height;
    if (!levels_of(vae, "vae/config.json", &levels, error))
        return false;
    sample_size(unet, 64, &width, &height);
    if (!xl && is_before_0_9(unet)) {
        height = height < 64 ? 64 : height;
        width = width < 64 ? 64 : width;
    }
    uint32_t factor = 1u << (levels - 1);
    return manifest_set_size(into, "unet/config.json", factor, width, height, factor,
                             error);
}

/* What channels after the latents are for; NULL: nothing we know. */
static const char *purpose_of(int64_t channels, int64_t latents)
{
    if (channels == latents)
        return "";
    if (channels == 2 * latents)
        return " (editing by instruction)";
    return channels == 2 * latents + 1 ? " (inpainting)" : NULL;
}

static bool is_activation(const char *name)
{
    static const char *const known[] = {
        "quick_gelu", "gelu",  "gelu_new", "gelu_fast", "gelu_pytorch_tanh",
        "silu",       "swish", "mish",     "relu"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static bool set_family(Farm__Manifest *into, const char *folder, const json_t *index,
                       const json_t *unet, const json_t *vae, const json_t *scheduler,
                       struct error *error)
{
    bool second = manifest_part_class(index, "text_encoder_2");
    bool first = manifest_part_class(index, "text_encoder");
    const char *place =
        first ? "text_encoder/config.json" : "text_encoder_2/config.json";
    json_t *text = manifest_json(folder, place, error);
    if (!text)
        return false;
    int64_t channels = integer(unet, "in_channels", 4);
    const char *purpose = purpose_of(channels, integer(vae, "latent_channels", 4));
    const char *activation = text_of(text, "hidden_act", "quick_gelu");
    bool gelu = strcmp(activation, "gelu") == 0, ok = false;
    if (!purpose)
        error_set_kind(error, ERROR_INPUT,
                       "%s: a UNet with %lld input channels is of no family we know",
                       folder, (long long)channels);
    else if (!is_activation(activation))
        error_set_kind(error, ERROR_INPUT,
                       "%s/%s: hidden_act is \"%.40s\", expected quick_gelu, gelu or "
                       "another that CLIP's text encoder may have",
                       folder, place, activation);
    else {
        char reason[300];
        snprintf(reason, sizeof reason,
                 "%s, UNet with %lld channels%s and context %lld, text encoder with "
                 "%.40s, %.40s",
                 second && first ? "two text encoders"
                 : second        ? "only a second text encoder"
                                 : "one text encoder",
                 (long long)channels, purpose,
                 (long long)integer(unet, "cross_attention_dim", 0), activation,
                 text_of(scheduler, "prediction_type", "epsilon"));
        manifest_set_family(into,
                            second && first ? "sdxl"
                            : second        ? "sdxl-refiner"
                            : gelu          ? "sd2"
                                            : "sd1",
                            reason);
        ok = true;
    }
    json_decref(text);
    return ok;
}

/* ---- Pixels */

/* Every halving must come out even, so sides are multiples of two to the halvings. */
static bool describe_pixels(Farm__Manifest *into, const json_t *unet,
                            const json_t *scheduler, struct error *error)
{
    size_t levels;
    int64_t width, height;
    char reason[300];
    const json_t *classes = json_object_get(unet, "num_class_embeds");
    if (!levels_of(unet, "the UNet's config.json", &levels, error))
        return false;
    sample_size(unet, 32, &width, &height);
    snprintf(reason, sizeof reason, "UNet2DModel of pixels, %s%lld, %.40s",
             json_is_integer(classes) ? "number of classes " : "channels ",
             json_is_integer(classes) ? (long long)json_integer_value(classes)
                                      : (long long)integer(unet, "in_channels", 3),
             text_of(scheduler, "prediction_type", "epsilon"));
    manifest_set_family(into, "pixels", reason);
    return manifest_set_size(into, "the UNet's config.json", 1u << (levels - 1), width,
                             height, 1, error);
}

bool manifest_describe(Farm__Manifest *into, const char *folder, const json_t *index,
                       struct error *error)
{
    char path[100];
    bool pixels = !manifest_part_class(index, "vae"), ok = false;
    snprintf(path, sizeof path, "%sconfig.json", manifest_part_place(folder, "unet"));
    json_t *unet = manifest_json(folder, path, error), *vae = NULL;
    snprintf(path, sizeof path, "%sscheduler_config.json",
             manifest_part_place(folder, "scheduler"));
    json_t *scheduler = unet ? manifest_json(folder, path, error) : NULL;
    if (scheduler && pixels)
        ok = describe_pixels(into, unet, scheduler, error);
    else if (scheduler && (vae = manifest_json(folder, "vae/config.json", error)))
        ok = set_latent_size(into, unet, vae,
                             manifest_part_class(index, "text_encoder_2"), error) &&
             set_family(into, folder, index, unet, vae, scheduler, error);
    json_decref(scheduler);
    json_decref(unet);
    json_decref(vae);
    return ok;
}
