#include "layout/single.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNET "model.diffusion_model."

enum { NAME_MOST = 200, COUNT_MOST = 256, SIDE_MOST = 16384, ROWS_MOST = 1 << 20 };

static const struct family {
    enum single_family family;
    const char *name;
    const char *mark; /* a tensor whose name begins so, tells it */
    struct {
        const char *prefix;
        bool openclip;
    } text[SINGLE_TEXTS];
    size_t sample;
    double scaling_factor;
} families[] = {
    /* SDXL's refiner has its one encoder where SDXL has CLIP */
    {SINGLE_SDXL,
     "sdxl",
     "conditioner.embedders.1.model.",
     {{"conditioner.embedders.0.transformer.", false},
      {"conditioner.embedders.1.model.", true}},
     128,
     0.13025},
    {SINGLE_REFINER,
     "sdxl-refiner",
     "conditioner.embedders.0.model.",
     {{"conditioner.embedders.0.model.", true}},
     128,
     0.13025},
    {SINGLE_SD2,
     "sd2",
     "cond_stage_model.model.",
     {{"cond_stage_model.model.", true}},
     64,
     0.18215},
    {SINGLE_SD1,
     "sd1",
     "cond_stage_model.transformer.",
     {{"cond_stage_model.transformer.", false}},
     64,
     0.18215},
};

const char *single_family_name(enum single_family family)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i].family == family)
            return families[i].name;
    return "";
}

/* ---- Asking the file */

static const struct tensor_entry *find(const struct tensor_file *file,
                                       const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const struct tensor_entry *find(const struct tensor_file *file,
                                       const char *format, ...)
{
    char name[NAME_MOST];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return tensor_file_find(file, name);
}

/* Side `at` of a tensor the model must have; *into is 0 when it is not there. */
static bool side(const struct tensor_file *file, size_t at, size_t most, size_t *into,
                 struct error *error, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
static bool side(const struct tensor_file *file, size_t at, size_t most, size_t *into,
                 struct error *error, const char *format, ...)
{
    char name[NAME_MOST];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    const struct tensor_entry *entry = tensor_file_find(file, name);
    *into = entry && at < entry->dims ? entry->shape[at] : 0;
    if (!entry)
        return error_set_kind(error, ERROR_INPUT, "%s: tensor %s: missing",
                              tensor_file_path(file), name);
    if (*into < 1 || *into > most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: tensor %s: its shape makes no sense",
                              tensor_file_path(file), name);
    return true;
}

static bool begins_with(const struct tensor_file *file, const char *prefix)
{
    for (size_t i = 0; i < tensor_file_count(file); i++)
        if (strncmp(tensor_file_at(file, i)->name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

/* How many of prefix0ending, prefix1ending, ... there are. */
static size_t run_of(const struct tensor_file *file, const char *prefix,
                     const char *ending)
{
    size_t count = 0;
    while (count < COUNT_MOST && find(file, "%s%zu%s", prefix, count, ending))
        count++;
    return count;
}

/* ---- Text encoders */

/* SD 2 was trained on the last layer but one; files of the original program hold the last
 * one too, beside the projection nobody uses. Files made from diffusers' have neither. */
static void leave_out_last(struct single_text *self, const struct tensor_file *file)
{
    bool original = find(file, "%stext_projection", self->prefix);
    if (original ? self->layers != 23 : self->layers == 24)
        self->layers--;
    self->projection = 0;
}

static bool read_openclip(struct single_text *self, const struct tensor_file *file,
                          bool projects, struct error *error)
{
    const char *p = self->prefix;
    char blocks[NAME_MOST];
    snprintf(blocks, sizeof blocks, "%stransformer.resblocks.", p);
    self->layers = run_of(file, blocks, ".ln_1.weight");
    if (!side(file, 0, ROWS_MOST, &self->vocabulary, error, "%stoken_embedding.weight",
              p) ||
        !side(file, 1, SIDE_MOST, &self->c, error, "%stoken_embedding.weight", p) ||
        !side(file, 0, SIDE_MOST, &self->tokens, error, "%spositional_embedding", p) ||
        !side(file, 0, 4 * SIDE_MOST, &self->inner, error, "%s0.mlp.c_fc.weight",
              blocks))
        return false;
    if (projects)
        return side(file, 1, SIDE_MOST, &self->projection, error, "%stext_projection",
                    p);
    leave_out_last(self, file);
    return true;
}

static bool read_clip(struct single_text *self, const struct tensor_file *file,
                      struct error *error)
{
    char p[NAME_MOST / 2], layers[NAME_MOST];
    self->inner_name =
        find(file, "%stext_model.embeddings.token_embedding.weight", self->prefix);
    snprintf(p, sizeof p, "%s%s", self->prefix, self->inner_name ? "text_model." : "");
    snprintf(layers, sizeof layers, "%sencoder.layers.", p);
    self->layers = run_of(file, layers, ".layer_norm1.weight");
    return side(file, 0, ROWS_MOST, &self->vocabulary, error,
                "%sembeddings.token_embedding.weight", p) &&
           side(file, 1, SIDE_MOST, &self->c, error,
                "%sembeddings.token_embedding.weight", p) &&
           side(file, 0, SIDE_MOST, &self->tokens, error,
                "%sembeddings.position_embedding.weight", p) &&
           side(file, 0, 4 * SIDE_MOST, &self->inner, error, "%s0.mlp.fc1.weight",
                layers);
}

static bool read_text(struct single_text *self, const struct tensor_file *file,
                      bool projects, struct error *error)
{
    if (!(self->openclip ? read_openclip(self, file, projects, error)
                         : read_clip(self, file, error)))
        return false;
    self->heads = self->c < 64 ? 1 : self->c / 64;
    if (self->layers < 1 || self->c % self->heads)
        return error_set_kind(
            error, ERROR_INPUT,
            "%s: the text encoder under %s has %zu layers and a width "
            "of %zu, which makes no sense",
            tensor_file_path(file), self->prefix, self->layers, self->c);
    return true;
}

/* ---- UNet */

static size_t depth_at(const struct tensor_file *file, const char *block)
{
    char prefix[NAME_MOST];
    snprintf(prefix, sizeof prefix, "%s.1.transformer_blocks.", block);
    return run_of(file, prefix, ".attn2.to_k.weight");
}

/* One level of the way down, from input block *at on, to the one behind its downsample. */
static bool read_level(struct single_unet *self, const struct tensor_file *file,
                       size_t *at, struct error *error)
{
    struct single_level *level = &self->level[self->levels++];
    char block[NAME_MOST / 2];
    level->first_down = *at;
    if (!side(file, 0, SIDE_MOST, &level->channels, error,
              UNET "input_blocks.%zu.0.out_layers.3.weight", *at))
        return false;
    snprintf(block, sizeof block, UNET "input_blocks.%zu", *at);
    level->depth = depth_at(file, block);
    level->attends = level->depth > 0;
    while (level->layers < COUNT_MOST &&
           find(file, UNET "input_blocks.%zu.0.in_layers.0.weight", *at)) {
        level->layers++;
        ++*at;
    }
    return true;
}

static bool read_levels(struct single_unet *self, const struct tensor_file *file,
                        struct error *error)
{
    size_t at = 1, up = 0;
    bool more = true;
    while (more) {
        if (self->levels == SINGLE_LEVELS)
            return error_set_kind(error, ERROR_INPUT, "%s: more than %d levels",
                                  tensor_file_path(file), SINGLE_LEVELS);
        if (!read_level(self, file, &at, error))
            return false;
        more = find(file, UNET "input_blocks.%zu.0.op.weight", at);
        at += more;
    }
    for (size_t i = self->levels; i-- > 0;) {
        self->level[i].first_up = up;
        up += self->level[i].layers + 1;
    }
    struct single_level *last = &self->level[self->levels - 1];
    if (!last->attends)
        last->depth = depth_at(file, UNET "middle_block");
    return true;
}

/* SD 1: eight heads; all later ones: heads of 64. */
static void set_heads(struct single *self)
{
    for (size_t i = 0; i < self->unet.levels; i++) {
        struct single_level *level = &self->unet.level[i];
        level->heads = level->channels < 64 ? 1 : level->channels / 64;
        if (self->family == SINGLE_SD1)
            level->heads = 8;
        level->depth = level->depth ? level->depth : 1;
    }
}

static bool read_added(struct single *self, const struct tensor_file *file,
                       struct error *error)
{
    size_t ids = self->family == SINGLE_REFINER ? 5 : 6;
    size_t pooled = self->text[self->texts - 1].projection;
    struct single_unet *unet = &self->unet;
    if (!side(file, 1, 4 * SIDE_MOST, &unet->added, error, UNET "label_emb.0.0.weight"))
        return false;
    if (unet->added <= pooled || (unet->added - pooled) % (2 * ids))
        return error_set_kind(error, ERROR_INPUT,
                              "%s: the added embedding takes %zu numbers, which are no "
                              "pooled text of %zu and %zu time ids",
                              tensor_file_path(file), unet->added, pooled, ids);
    unet->time_ids = (unet->added - pooled) / ids;
    return true;
}

static bool read_unet(struct single *self, const struct tensor_file *file,
                      struct error *error)
{
    struct single_unet *unet = &self->unet;
    bool xl = self->family == SINGLE_SDXL || self->family == SINGLE_REFINER;
    if (!side(file, 1, SIDE_MOST, &unet->in, error, UNET "input_blocks.0.0.weight") ||
        !side(file, 0, SIDE_MOST, &unet->out, error, UNET "out.2.weight") ||
        !side(file, 1, SIDE_MOST, &unet->context, error,
              UNET "middle_block.1.transformer_blocks.0.attn2.to_k.weight") ||
        !read_levels(unet, file, error))
        return false;
    set_heads(self);
    return !xl || read_added(self, file, error);
}

/* ---- VAE */

bool single_read_vae(struct single_vae *self, const struct tensor_file *file,
                     const char *prefix, struct error *error)
{
    char blocks[NAME_MOST];
    size_t levels = 0;
    snprintf(blocks, sizeof blocks, "%sencoder.down.", prefix);
    if (!side(file, 1, SIDE_MOST, &self->latent, error, "%sdecoder.conv_in.weight",
              prefix))
        return false;
    levels = run_of(file, blocks, ".block.0.norm1.weight");
    if (levels < 1 || levels > SINGLE_LEVELS)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: %zu levels under %s, expected 1 to %d",
                              tensor_file_path(file), levels, blocks, SINGLE_LEVELS);
    self->levels = levels;
    for (size_t i = 0; i < levels; i++)
        if (!side(file, 0, SIDE_MOST, &self->channels[i], error,
                  "%s%zu.block.0.conv2.weight", blocks, i))
            return false;
    snprintf(blocks, sizeof blocks, "%sencoder.down.0.block.", prefix);
    self->layers = run_of(file, blocks, ".norm1.weight");
    self->attends = find(file, "%sdecoder.mid.attn_1.q.weight", prefix);
    self->quant = find(file, "%squant_conv.weight", prefix);
    self->post_quant = find(file, "%spost_quant_conv.weight", prefix);
    return true;
}

/* ---- The whole */

/* The whole number a tensor holds, or the file's metadata; 0 when there is none. */
static double read_number(const struct tensor_file *file, const char *name)
{
    const struct tensor_entry *entry = tensor_file_find(file, name);
    const char *said = tensor_file_metadata(file, name);
    size_t size = entry ? entry->end - entry->begin : 0;
    int64_t whole;
    int32_t half;
    float real;
    if (said)
        return strtod(said, NULL);
    if (entry && strcmp(entry->type, "I64") == 0 && size == sizeof whole) {
        memcpy(&whole, tensor_file_data(file, entry), sizeof whole);
        return (double)whole;
    }
    if (entry && strcmp(entry->type, "I32") == 0 && size == sizeof half) {
        memcpy(&half, tensor_file_data(file, entry), sizeof half);
        return half;
    }
    if (entry && strcmp(entry->type, "F32") == 0 && size == sizeof real) {
        memcpy(&real, tensor_file_data(file, entry), sizeof real);
        return (double)real;
    }
    return 0;
}

/* Publishers mark v-prediction by a tensor; SD 2 was published in both, and tells them
 * apart by the step its training had come to. Its inpainting model predicts epsilon. */
static const char *read_prediction(struct single *self, const struct tensor_file *file)
{
    self->zero_snr = tensor_file_find(file, "ztsnr");
    self->v_prediction = tensor_file_find(file, "v_pred");
    if (self->v_prediction)
        return self->zero_snr ? "v-prediction (v_pred) with zero terminal SNR (ztsnr)"
                              : "v-prediction (v_pred)";
    if (self->family != SINGLE_SD2 || self->unet.in != self->vae.latent)
        return "epsilon";
    self->v_prediction = read_number(file, "global_step") != 875000;
    return self->v_prediction ? "v-prediction (global_step is not 875000)"
                              : "epsilon (global_step is 875000)";
}

static const struct family *family_of(const struct tensor_file *file,
                                      struct error *error)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (begins_with(file, families[i].mark) && begins_with(file, UNET))
            return &families[i];
    error_set_kind(
        error, ERROR_INPUT,
        "%s: of no family we know: expected tensors under " UNET
        " and a text encoder under cond_stage_model or conditioner.embedders",
        tensor_file_path(file));
    return NULL;
}

bool single_read(struct single *self, const struct tensor_file *file,
                 struct error *error)
{
    const struct family *family = family_of(file, error);
    if (!family)
        return false;
    *self = (struct single){.family = family->family, .sample = family->sample};
    bool xl = self->family == SINGLE_SDXL || self->family == SINGLE_REFINER;
    for (size_t i = 0; i < SINGLE_TEXTS && family->text[i].prefix; i++) {
        struct single_text *text = &self->text[self->texts++];
        text->prefix = family->text[i].prefix;
        text->openclip = family->text[i].openclip;
        if (!read_text(text, file, xl, error))
            return false;
    }
    if (!read_unet(self, file, error) ||
        !single_read_vae(&self->vae, file, "first_stage_model.", error))
        return false;
    self->vae.scaling_factor = family->scaling_factor;
    const char *prediction = read_prediction(self, file);
    if (self->family == SINGLE_SD2 && self->v_prediction)
        self->sample = 96;
    snprintf(self->reason, sizeof self->reason,
             "text encoder under %s, UNet with %zu channels and context %zu, %s",
             family->mark, self->unet.in, self->unet.context, prediction);
    return true;
}
