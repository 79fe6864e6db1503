#include "worker/sd/lora_key.h"

#include <stdio.h>
#include <string.h>

struct ending {
    const char *text;
    enum lora_role role;
};

static const struct ending endings[] = {
    {".lora_down.weight", LORA_DOWN},
    {".lora_up.weight", LORA_UP},
    {".lora_mid.weight", LORA_MID},
    {".alpha", LORA_ALPHA},
    {".lora_A.weight", LORA_DOWN},
    {".lora_B.weight", LORA_UP},
    {".lora_B.bias", LORA_BIAS},
    {".lora_B.default.bias", LORA_BIAS},
    {".lora_A.default.weight", LORA_DOWN},
    {".lora_B.default.weight", LORA_UP},
    {".lora.down.weight", LORA_DOWN},
    {".lora.up.weight", LORA_UP},
    {".lora_linear_layer.down.weight", LORA_DOWN},
    {".lora_linear_layer.up.weight", LORA_UP},
    {"_lora.down.weight", LORA_DOWN},
    {"_lora.up.weight", LORA_UP},
    {".dora_scale", LORA_MAGNITUDE},
    {".lora_magnitude_vector", LORA_MAGNITUDE},
    {".lora_magnitude_vector.weight", LORA_MAGNITUDE},
    {".lora_magnitude_vector.default.weight", LORA_MAGNITUDE},
    {".hada_w1_a", HADA_W1_A},
    {".hada_w1_b", HADA_W1_B},
    {".hada_w2_a", HADA_W2_A},
    {".hada_w2_b", HADA_W2_B},
    {".hada_t1", HADA_T1},
    {".hada_t2", HADA_T2},
    {".lokr_w1", LOKR_W1},
    {".lokr_w1_a", LOKR_W1_A},
    {".lokr_w1_b", LOKR_W1_B},
    {".lokr_w2", LOKR_W2},
    {".lokr_w2_a", LOKR_W2_A},
    {".lokr_w2_b", LOKR_W2_B},
    {".lokr_t2", LOKR_T2},
};

static const struct beginning {
    const char *text;
    enum lora_part part;
} beginnings[] = {
    {"lora_unet_", LORA_UNET},
    {"lora_te1_", LORA_TEXT},
    {"lora_te2_", LORA_TEXT_2},
    {"lora_te_", LORA_TEXT},
    {"unet.", LORA_UNET},
    {"text_encoder.", LORA_TEXT},
    {"text_encoder_2.", LORA_TEXT_2},
    {"base_model.model.", LORA_UNET},
    {"down_blocks.", LORA_UNET},
    {"mid_block.", LORA_UNET},
    {"up_blocks.", LORA_UNET},
};

/* Kinds of adapters that are none of ours, by what only their keys have. */
static const struct foreign {
    const char *part, *kind;
} foreign[] = {
    {".oft_", "OFT"},     {".boft_", "BOFT"},      {".diff", "a full difference"},
    {".on_input", "IA3"}, {".a1.weight", "GLoRA"}, {".w_norm", "a norm"},
    {".ia3_", "IA3"},
};

static bool refuse(const char *key, struct error *error)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (strstr(key, foreign[i].part))
            return error_set_kind(
                error, ERROR_INPUT,
                "key %.200s: this is %s, which is not supported; LoRA, LoCon, "
                "LoHa, LoKr and DoRA are",
                key, foreign[i].kind);
    return error_set_kind(error, ERROR_INPUT,
                          "key %.200s: expected a LoRA's, as kohya's scripts, PEFT or "
                          "diffusers name them",
                          key);
}

static const struct ending *ending_of(const char *key, size_t length)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t tail = strlen(endings[i].text);
        if (length > tail && strcmp(key + length - tail, endings[i].text) == 0)
            return &endings[i];
    }
    return NULL;
}

/* "attn1_processor_to_out" of diffusers' old attention processors. */
static void fold_processor(char *layer)
{
    static const char mark[] = "_processor_to_";
    char *at = strstr(layer, mark);
    if (!at)
        return;
    memmove(at + 1, at + strlen("_processor_"), strlen(at + strlen("_processor_")) + 1);
    size_t length = strlen(layer);
    static const char out[] = "_to_out";
    if (strcmp(layer + length - strlen(out), out) == 0 && length + 2 < LORA_LAYER_MOST)
        memcpy(layer + length, "_0", 3);
}

bool lora_layer_name(char into[LORA_LAYER_MOST], const char *layer)
{
    size_t length = strlen(layer);
    if (length == 0 || length >= LORA_LAYER_MOST)
        return false;
    for (size_t i = 0; i <= length; i++)
        into[i] = layer[i] == '.' ? '_' : layer[i];
    return true;
}

static void cut(char *layer, const char *beginning)
{
    size_t length = strlen(beginning);
    if (strncmp(layer, beginning, length) == 0)
        memmove(layer, layer + length, strlen(layer + length) + 1);
}

bool lora_key_read(struct lora_key *self, const char *key, struct error *error)
{
    size_t length = strlen(key);
    const struct ending *ending = ending_of(key, length);
    const struct beginning *beginning = NULL;
    for (size_t i = 0; !beginning && i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(key, beginnings[i].text, strlen(beginnings[i].text)) == 0)
            beginning = &beginnings[i];
    if (!ending || !beginning)
        return refuse(key, error);
    size_t tail = strlen(ending->text), head = strlen(beginning->text);
    bool bare = strstr(beginning->text, "blocks.") || strstr(beginning->text, "block.");
    head = bare ? 0 : head;
    if (head + tail >= length || length - head - tail >= LORA_LAYER_MOST)
        return refuse(key, error);
    char layer[LORA_LAYER_MOST];
    snprintf(layer, sizeof layer, "%.*s", (int)(length - head - tail), key + head);
    *self = (struct lora_key){.part = beginning->part, .role = ending->role};
    if (!lora_layer_name(self->layer, layer))
        return refuse(key, error);
    cut(self->layer, "base_model_model_");
    if (self->part != LORA_UNET)
        cut(self->layer, "text_model_");
    fold_processor(self->layer);
    return *self->layer || refuse(key, error);
}
