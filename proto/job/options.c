#include "proto/job/options.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "proto/job/files.h"
#include "proto/job/option_kinds.h"

#define FIELD(name) offsetof(struct task, name)
#define SEED_MOST   18446744073709551615.0
#define TEXT_MOST   65536

/* Names as tables of choices have them. */
#define SAMPLERS                                                                       \
    "Euler|Euler a|Heun|LMS|DPM2|DPM2 a|DPM++ 2S a|DPM++ 2M|DPM++ SDE"                 \
    "|DPM++ 2M SDE|DPM++ 2M SDE Heun|DPM++ 3M SDE|DPM fast|DPM adaptive|Restart"       \
    "|DDIM|DDIM CFG++|PLMS|UniPC|LCM|euler|euler_cfg_pp|euler_ancestral"               \
    "|euler_ancestral_cfg_pp|heun|heunpp2|exp_heun_2_x0|exp_heun_2_x0_sde|dpm_2"       \
    "|dpm_2_ancestral|lms|dpm_fast|dpm_adaptive|dpmpp_2s_ancestral"                    \
    "|dpmpp_2s_ancestral_cfg_pp|dpmpp_sde|dpmpp_2m|dpmpp_2m_cfg_pp|dpmpp_2m_sde"       \
    "|dpmpp_2m_sde_heun|dpmpp_3m_sde|ddpm|lcm|ipndm|ipndm_v|deis|res_multistep"        \
    "|res_multistep_cfg_pp|res_multistep_ancestral"                                    \
    "|res_multistep_ancestral_cfg_pp|gradient_estimation"                              \
    "|gradient_estimation_cfg_pp|er_sde|seeds_2|seeds_3|sa_solver|sa_solver_pece|ddim" \
    "|uni_pc|uni_pc_bh2"                                                               \
    "|DDIMScheduler|DDPMScheduler=DDPM|DEISMultistepScheduler=DEISMultistep"           \
    "|DPMSolverMultistepScheduler=DPMSolverMultistep"                                  \
    "|DPMSolverSDEScheduler=DPMSolverSDE"                                              \
    "|DPMSolverSinglestepScheduler=DPMSolverSinglestep"                                \
    "|EulerAncestralDiscreteScheduler=EulerAncestralDiscrete"                          \
    "|EulerDiscreteScheduler=EulerDiscrete|HeunDiscreteScheduler=HeunDiscrete"         \
    "|KDPM2AncestralDiscreteScheduler=KDPM2AncestralDiscrete"                          \
    "|KDPM2DiscreteScheduler=KDPM2Discrete|LCMScheduler"                               \
    "|LMSDiscreteScheduler=LMSDiscrete|PNDMScheduler=PNDM"                             \
    "|UniPCMultistepScheduler=UniPCMultistep"
#define SCHEDULES                                                                      \
    "Automatic|Normal|Karras|Exponential|Beta|Uniform|Polyexponential"                 \
    "|SGM Uniform=sgm_uniform|KL Optimal=kl_optimal"                                   \
    "|Align Your Steps=align_your_steps|Simple|DDIM=ddim_uniform|Turbo"                \
    "|Linear Quadratic=linear_quadratic"

const struct option options[OPTION_COUNT_ALL + 1] = {
    {"aesthetic", OPTION_NUMBER, FIELD(aesthetic), "6", 0, 10, NULL, "X",
     "score SDXL's refiner aims at; 2.5 for the negative prompt", KEY_ALWAYS},
    {"batch", OPTION_COUNT, FIELD(batch), "1", 1, 64, NULL, "N",
     "with --rng comfy-batch: images drawn as one batch", KEY_ALWAYS},
    {"batch-index", OPTION_COUNT, FIELD(batch_index), "0", 0, 63, NULL, "N",
     "and which of them this is, from 0", KEY_ALWAYS},
    {"cfg", OPTION_NUMBER, FIELD(cfg), "7", 0, 100, NULL, "X",
     "guidance: how strongly the prompt is followed; 1: not guided", KEY_ALWAYS},
    {"class", OPTION_COUNT, FIELD(class_number), "0", 0, 99999, NULL, "N",
     "what to draw, in models that know classes", KEY_ALWAYS},
    {"clip-skip", OPTION_COUNT, FIELD(clip_skip), "1", 1, 12, NULL, "N",
     "text encoder layer to stop at, counted from the last", KEY_ALWAYS},
    {"crop", OPTION_POINT, FIELD(crop_x), "0,0", 0, 65535, NULL, "X,Y",
     "the corner SDXL takes the picture to be cut from", KEY_ALWAYS},
    {"embedding", OPTION_FILE, FIELD(embedding), "", 0, 16, "embedding", "FILE",
     "textual inversion: the file's name without its ending is a word; repeatable",
     KEY_ALWAYS},
    {"empty-negative", OPTION_CHOICE, FIELD(empty_negative), "none", 0, 0, "none|text",
     "NAME", "what SDXL takes an empty negative prompt for: none at all, or a text",
     KEY_ALWAYS},
    {"ensd", OPTION_COUNT, FIELD(ensd), "0", 0, 4294967295.0, NULL, "N",
     "added to the seed of the steps' noise (eta noise seed delta)", KEY_ALWAYS},
    {"eta", OPTION_NUMBER, FIELD(eta), "0", 0, 1, NULL, "X",
     "share of fresh noise in each step of DDIM", KEY_ALWAYS},
    {"guidance-rescale", OPTION_NUMBER, FIELD(guidance_rescale), "0", 0, 1, NULL, "X",
     "share of the guided output that is scaled back to the text's deviation",
     KEY_ALWAYS},
    {"hires", OPTION_HIRES, FIELD(hires_scale), "", 0, 8, NULL,
     "SCALE|WxH[:UPSCALER:STEPS:STRENGTH]",
     "a second pass over the picture enlarged so many times, or to this size; the rest "
     "as the options below and --strength",
     KEY_UNLESS_DEFAULT},
    {"hires-cfg", OPTION_NUMBER, FIELD(hires_cfg), "0", 0, 100, NULL, "X",
     "its guidance; 0: as --cfg", KEY_UNLESS_DEFAULT},
    {"hires-sampler", OPTION_SAMPLER, FIELD(hires_sampler), "same", 0, 0,
     "same|" SAMPLERS, "NAME", "its sampling method", KEY_UNLESS_DEFAULT},
    {"hires-schedule", OPTION_CHOICE, FIELD(hires_schedule), "same", 0, 0,
     "same|" SCHEDULES, "NAME", "its noise schedule", KEY_UNLESS_DEFAULT},
    {"hires-steps", OPTION_COUNT, FIELD(hires_steps), "0", 0, 1000, NULL, "N",
     "its steps; 0: as --steps", KEY_UNLESS_DEFAULT},
    {"hires-upscaler", OPTION_CHOICE, FIELD(hires_upscaler), "Latent", 0, 0,
     "Latent|Latent (antialiased)|Latent (bicubic)|Latent (bicubic antialiased)"
     "|Latent (nearest)|Latent (nearest-exact)|Lanczos|Nearest|None",
     "NAME", "how it enlarges: latents, or the decoded picture", KEY_UNLESS_DEFAULT},
    {"image", OPTION_FILE, FIELD(image), "", 0, 1, "picture", "FILE",
     "the picture to edit, for models that edit by instruction (InstructPix2Pix)",
     KEY_ALWAYS},
    {"image-cfg", OPTION_NUMBER, FIELD(image_cfg), "1.5", 0, 100, NULL, "X",
     "how closely --image is followed", KEY_ALWAYS},
    {"init", OPTION_FILE, FIELD(init), "", 0, 1, "picture", "FILE",
     "the picture to begin from, instead of noise alone: PNG or JPEG", KEY_ALWAYS},
    {"inpaint-fill", OPTION_CHOICE, FIELD(inpaint_fill), "original", 0, 0,
     "original|fill|latent-noise=latent noise|latent-nothing=latent nothing", "NAME",
     "what the part to be repainted begins with", KEY_ALWAYS},
    {"inpaint-full-res", OPTION_CHOICE, FIELD(inpaint_full_res), "off", 0, 0,
     "off=Whole picture|on=Only masked", NULL,
     "repaint the part round the mask alone, at the full size; a number: on, with that "
     "--inpaint-padding",
     KEY_UNLESS_DEFAULT},
    {"inpaint-padding", OPTION_COUNT, FIELD(inpaint_padding), "32", 0, 1024, NULL, "N",
     "pixels of the picture round the mask that are seen then", KEY_UNLESS_DEFAULT},
    {"lora", OPTION_FILE, FIELD(lora), "", 0, 8, "lora", "FILE[:WEIGHT]",
     "a LoRA to render with; repeatable; weight 0: for <lora:NAME:WEIGHT> in prompts",
     KEY_ALWAYS},
    {"mask", OPTION_FILE, FIELD(mask), "", 0, 1, "picture", "FILE",
     "what of --init is repainted: where this picture is white", KEY_ALWAYS},
    {"mask-blur", OPTION_NUMBER, FIELD(mask_blur), "0", 0, 256, NULL, "X",
     "blurs the mask first; a deviation in pixels", KEY_ALWAYS},
    {"mask-invert", OPTION_CHOICE, FIELD(mask_invert), "off", 0, 0,
     "off=Inpaint masked|on=Inpaint not masked", NULL, "repaint where --mask is black",
     KEY_UNLESS_DEFAULT},
    {"model", OPTION_TEXT, FIELD(model), "emoji", 1, 255, NULL, "NAME",
     "a model the farm knows, or a folder or file to add to it first", KEY_ALWAYS},
    {"negative", OPTION_TEXT, FIELD(negative), "", 0, TEXT_MOST, NULL, "TEXT",
     "what the picture should not show", KEY_ALWAYS},
    {"original-size", OPTION_SIZE, FIELD(original_width), "auto", 1, 65535, NULL, "WxH",
     "the size SDXL takes the picture to have had; auto: its own", KEY_ALWAYS},
    {"precision", OPTION_CHOICE, FIELD(precision), "auto", 0, 0, "auto|f32|f16", "NAME",
     "storage on the device", KEY_ALWAYS},
    {"prediction", OPTION_CHOICE, FIELD(prediction), "auto", 0, 0,
     "auto|epsilon|v=v_prediction|sample", "NAME",
     "what the model predicts; auto: what its files say", KEY_ALWAYS},
    {"prompt", OPTION_TEXT, FIELD(prompt), "", 0, TEXT_MOST, NULL, "TEXT",
     "what the picture should show", KEY_ALWAYS},
    {"refiner", OPTION_FILE, FIELD(refiner), "", 0, 1, "model", "MODEL[:SWITCH]",
     "another model that goes on with the picture, from this share of the way; 0.8",
     KEY_UNLESS_DEFAULT},
    {"rng", OPTION_CHOICE, FIELD(rng), "torch-cpu", 0, 0,
     "torch-cpu=CPU|comfy-batch|philox=NV", "NAME", "which noise a seed means",
     KEY_ALWAYS},
    {"sampler", OPTION_SAMPLER, FIELD(sampler), "DPM++ 2M", 0, 0, SAMPLERS, "NAME",
     "the sampling method: A1111's, ComfyUI's or diffusers' name, each with its "
     "program's "
     "ways; a class may be followed by (key=value,...)",
     KEY_ALWAYS},
    {"schedule", OPTION_CHOICE, FIELD(schedule), "Automatic", 0, 0, SCHEDULES, "NAME",
     "the noise schedule; diffusers' classes take the first five", KEY_ALWAYS},
    {"seed", OPTION_COUNT, FIELD(seed), "0", 0, SEED_MOST, NULL, "LIST",
     "7, 0..15, 1,5,9, random:8 or -1 (random); one image each", KEY_ALWAYS},
    {"seed-resize", OPTION_SIZE, FIELD(noise_width), "auto", 8, 8192, NULL, "WxH",
     "the size of picture the seed's noise is drawn for; auto: this one's", KEY_ALWAYS},
    {"size", OPTION_SIZE, FIELD(width), "auto", 8, 8192, NULL, "WxH",
     "pixels; auto: the model's own size", KEY_ALWAYS},
    {"steps", OPTION_COUNT, FIELD(steps), "20", 1, 1000, NULL, "N", "denoising steps",
     KEY_ALWAYS},
    {"strength", OPTION_NUMBER, FIELD(strength), "0", 0, 1, NULL, "X",
     "share of the steps that is run on --init or in the second pass of --hires; 0: "
     "0.8, 1 with --mask, 0.7 with --hires",
     KEY_ALWAYS},
    {"syntax", OPTION_CHOICE, FIELD(syntax), "auto", 0, 0, "auto|a1111|comfy|plain",
     "NAME", "how prompts are read; auto: as where the sampler's name comes from",
     KEY_ALWAYS},
    {"tile", OPTION_CHOICE, FIELD(tile), "off", 0, 0, "off|on", NULL,
     "encode and decode in tiles, as is done anyhow where memory is short", KEY_ALWAYS},
    {"vae", OPTION_FILE, FIELD(vae), "", 0, 1, "vae", "FILE",
     "another autoencoder in the place of the model's", KEY_ALWAYS},
    {"variation", OPTION_VARIATION, FIELD(variation_seed), "", 0, 1, NULL,
     "SEED:STRENGTH", "another seed's noise, mixed in by so much", KEY_ALWAYS},
    {"zsnr", OPTION_CHOICE, FIELD(zsnr), "auto", 0, 0, "auto|on|off", "NAME",
     "noise to the last step of training; auto: what the model's files say",
     KEY_ALWAYS},
    {NULL, OPTION_TEXT, 0, NULL, 0, 0, NULL, NULL, NULL, KEY_NEVER},
};

const struct option *option_find(const char *name)
{
    for (const struct option *option = options; option->name; option++)
        if (!strcmp(option->name, name))
            return option;
    return NULL;
}

char *option_text(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    va_end(arguments);
    return text;
}

char *option_copy(const char *text, size_t size)
{
    char *copy = strndup(text, size);
    if (!copy)
        abort();
    return copy;
}

void option_replace(char **field, char *text)
{
    free(*field);
    *field = text;
}

/* Text */

static bool is_utf8(const char *text)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t point;
    for (utf8proc_ssize_t used; *at; at += used)
        if ((used = utf8proc_iterate(at, -1, &point)) <= 0)
            return false;
    return true;
}

static bool set_text(const struct option *option, void *field, const char *value,
                     struct error *error)
{
    size_t size = strlen(value);
    if ((double)size < option->least)
        return error_set_kind(error, ERROR_INPUT, "%s: must not be empty",
                              option->name);
    if ((double)size > option->most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: %zu bytes, at most %.0f are taken", option->name,
                              size, option->most);
    if (!is_utf8(value))
        return error_set_kind(error, ERROR_INPUT, "%s: the text is not UTF-8",
                              option->name);
    option_replace(field, option_copy(value, size));
    return true;
}

static char *get_text(const struct option *option, const void *field)
{
    (void)option;
    const char *text = *(char *const *)field;
    return option_copy(text, strlen(text));
}

/* Counts */

bool option_digits(const char *text, const char *end, uint64_t *value)
{
    *value = 0;
    for (const char *at = text; at < end; at++)
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
            return false;
    return end > text;
}

static bool set_count(const struct option *option, void *field, const char *value,
                      struct error *error)
{
    uint64_t read, least = (uint64_t)option->least;
    uint64_t most = option->most < SEED_MOST ? (uint64_t)option->most : UINT64_MAX;
    if (!option_digits(value, value + strlen(value), &read) || read < least ||
        read > most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not a whole number from %" PRIu64
                              " to %" PRIu64,
                              option->name, value, least, most);
    *(uint64_t *)field = read;
    return true;
}

static char *get_count(const struct option *option, const void *field)
{
    (void)option;
    return option_text("%" PRIu64, *(const uint64_t *)field);
}

/* Numbers */

bool option_set_number(const struct option *option, void *field, const char *value,
                       struct error *error)
{
    char *end = NULL;
    double read = strtod(value, &end);
    /* the set of characters keeps out what strtod takes besides: inf, nan, 0x, blanks */
    if (!*value || *end || value[strspn(value, "0123456789.eE+-")] ||
        !(read >= option->least && read <= option->most))
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not a number from %g to %g",
                              option->name, value, option->least, option->most);
    *(double *)field = read + 0.0; /* -0 is 0 */
    return true;
}

char *option_get_number(const struct option *option, const void *field)
{
    (void)option;
    double value = *(const double *)field;
    for (int precision = 6;; precision++) {
        char *text = option_text("%.*g", precision, value);
        if (precision == 17 || strtod(text, NULL) == value)
            return text;
        free(text);
    }
}

/* Sizes: width, and height behind it; both 0 is the model's own */

bool option_set_size(const struct option *option, void *field, const char *value,
                     struct error *error)
{
    uint64_t *size = field;
    if (!strcmp(value, "auto")) {
        size[0] = size[1] = 0;
        return true;
    }
    uint64_t width, height;
    const char *cross = strchr(value, 'x');
    if (!cross || !option_digits(value, cross, &width) ||
        !option_digits(cross + 1, cross + strlen(cross), &height))
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not WIDTHxHEIGHT, like 512x512",
                              option->name, value);
    uint64_t least = (uint64_t)option->least, most = (uint64_t)option->most;
    if (width < least || height < least || width > most || height > most)
        return error_set_kind(
            error, ERROR_INPUT,
            "%s: \"%.40s\" is out of range: each side has from %" PRIu64 " to %" PRIu64
            " pixels",
            option->name, value, least, most);
    size[0] = width;
    size[1] = height;
    return true;
}

char *option_get_size(const struct option *option, const void *field)
{
    (void)option;
    const uint64_t *size = field;
    if (!size[0] && !size[1])
        return option_text("auto");
    return option_text("%" PRIu64 "x%" PRIu64, size[0], size[1]);
}

/* Points: x, and y behind it */

static bool set_point(const struct option *option, void *field, const char *value,
                      struct error *error)
{
    uint64_t *point = field, most = (uint64_t)option->most, x, y;
    const char *comma = strchr(value, ',');
    if (!comma || !option_digits(value, comma, &x) ||
        !option_digits(comma + 1, comma + strlen(comma), &y) || x > most || y > most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not X,Y, two whole numbers up to "
                              "%" PRIu64,
                              option->name, value, most);
    point[0] = x;
    point[1] = y;
    return true;
}

static char *get_point(const struct option *option, const void *field)
{
    (void)option;
    const uint64_t *point = field;
    return option_text("%" PRIu64 ",%" PRIu64, point[0], point[1]);
}

/* Files: kept in the one form that file_uses_text gives */

static bool set_file(const struct option *option, void *field, const char *value,
                     struct error *error)
{
    struct file_uses uses;
    if (!is_utf8(value))
        return error_set_kind(error, ERROR_INPUT, "%s: the file's name is not UTF-8",
                              option->name);
    if (!file_uses_read(&uses, option, value, error))
        return false;
    option_replace(field, file_uses_text(&uses));
    file_uses_clear(&uses);
    return true;
}

static const struct kind {
    bool (*set)(const struct option *option, void *field, const char *value,
                struct error *error);
    char *(*get)(const struct option *option, const void *field);
    bool owns;
} kinds[] = {
    [OPTION_TEXT] = {set_text, get_text, true},
    [OPTION_COUNT] = {set_count, get_count, false},
    [OPTION_NUMBER] = {option_set_number, option_get_number, false},
    [OPTION_SIZE] = {option_set_size, option_get_size, false},
    [OPTION_POINT] = {set_point, get_point, false},
    [OPTION_CHOICE] = {option_set_choice, get_text, true},
    [OPTION_SAMPLER] = {option_set_sampler, get_text, true},
    [OPTION_VARIATION] = {option_set_variation, option_get_variation, false},
    [OPTION_HIRES] = {option_set_hires, option_get_hires, false},
    [OPTION_FILE] = {set_file, get_text, true},
};

static void *field_of(const struct task *self, const struct option *option)
{
    return (char *)self + option->offset;
}

void task_init(struct task *self)
{
    *self = (struct task){0};
    for (const struct option *option = options; option->name; option++)
        if (option->least <= 0 || *option->fallback)
            kinds[option->type].set(option, field_of(self, option), option->fallback,
                                    NULL);
}

void task_clear(struct task *self)
{
    for (const struct option *option = options; option->name; option++)
        if (kinds[option->type].owns)
            option_replace(field_of(self, option), NULL);
    *self = (struct task){0};
}

void task_copy(struct task *self, const struct task *from)
{
    *self = *from;
    for (const struct option *option = options; option->name; option++)
        if (kinds[option->type].owns) {
            char **text = field_of(self, option);
            *text = *text ? option_copy(*text, strlen(*text)) : NULL;
        }
}

/* "2:Latent:20:0.5": what follows the scale are values of three other options, each of which
 * may be empty. */
static bool set_hires_whole(struct task *self, const char *value, struct error *error)
{
    static const char *const names[] = {"hires", "hires-upscaler", "hires-steps",
                                        "strength"};
    char *text = option_copy(value, strlen(value)), *rest = text;
    struct task changed = {0};
    bool ok = true;
    task_copy(&changed, self);
    for (size_t i = 0; ok && rest; i++) {
        char *part = strsep(&rest, ":");
        if (i == sizeof names / sizeof *names)
            ok = error_set_kind(error, ERROR_INPUT,
                                "hires: \"%.60s\" is more than "
                                "SCALE:UPSCALER:STEPS:STRENGTH",
                                value);
        else if (*part)
            ok = task_set(&changed, names[i], part, error);
    }
    free(text);
    if (ok) {
        struct task before = *self;
        *self = changed;
        changed = before;
    }
    task_clear(&changed);
    return ok;
}

bool task_set(struct task *self, const char *name, const char *value,
              struct error *error)
{
    const struct option *option = option_find(name);
    uint64_t padding;
    if (!option)
        return error_set_kind(error, ERROR_INPUT,
                              "there is no option \"%.60s\"; `farmctl help render` "
                              "lists them",
                              name);
    if (option->type == OPTION_HIRES && strchr(value, ':'))
        return set_hires_whole(self, value, error);
    if (strcmp(name, "inpaint-full-res") == 0 &&
        option_digits(value, value + strlen(value), &padding))
        return task_set(self, "inpaint-padding", value, error) &&
               task_set(self, name, "on", error);
    return kinds[option->type].set(option, field_of(self, option), value, error);
}

bool task_set_bytes(struct task *self, ProtobufCBinaryData name,
                    ProtobufCBinaryData value, struct error *error)
{
    if ((name.len && memchr(name.data, 0, name.len)) ||
        (value.len && memchr(value.data, 0, value.len)))
        return error_set_kind(error, ERROR_INPUT, "an option's text holds a zero");
    char *name_text = option_text("%.*s", (int)name.len, (char *)name.data);
    char *value_text = option_copy(value.len ? (char *)value.data : "", value.len);
    bool ok = task_set(self, name_text, value_text, error);
    free(value_text);
    free(name_text);
    return ok;
}

char *task_get(const struct task *self, const struct option *option)
{
    return kinds[option->type].get(option, field_of(self, option));
}
