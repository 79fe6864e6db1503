#include "worker/sd/lora_metadata.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* "unet." and "lora_alpha" together. */
static json_t *setting(const json_t *settings, const char *part, const char *name)
{
    char key[80];
    snprintf(key, sizeof key, "%s.%s", part, name);
    return json_object_get(settings, key);
}

/* PEFT takes them for regular expressions that a layer's name must end with. */
static bool check_patterns(const json_t *patterns, const char *part,
                           struct error *error)
{
    const char *pattern;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)patterns, pattern, value)
    {
        bool plain = json_is_number(value);
        for (const char *c = pattern; *c; c++)
            plain = plain && (isalnum((unsigned char)*c) || *c == '_' || *c == '.');
        if (!plain)
            return error_set_kind(error, ERROR_INPUT,
                                  "lora_adapter_metadata: %s.alpha_pattern %.100s: "
                                  "expected a layer's name, or its end, and a number",
                                  part, pattern);
    }
    return true;
}

bool lora_metadata_read(const struct tensor_file *file,
                        struct lora_settings settings[LORA_PARTS], struct error *error)
{
    static const char *const parts[LORA_PARTS] = {
        [LORA_TEXT] = "text_encoder", [LORA_TEXT_2] = "text_encoder_2", "unet"};
    const char *said = tensor_file_metadata(file, "lora_adapter_metadata");
    json_t *root = said ? json_loads(said, 0, NULL) : NULL;
    bool ok = true;
    for (size_t part = 0; ok && part < LORA_PARTS; part++) {
        double alpha = json_number_value(setting(root, parts[part], "lora_alpha"));
        json_t *patterns = setting(root, parts[part], "alpha_pattern");
        settings[part] = (struct lora_settings){
            .alpha = alpha > 0 ? alpha : 0,
            .stabilised = json_is_true(setting(root, parts[part], "use_rslora")),
            .patterns = json_incref(patterns)};
        ok = check_patterns(patterns, parts[part], error);
        if (ok && json_is_true(setting(root, parts[part], "lora_bias")))
            ok = error_set_kind(error, ERROR_INPUT,
                                "lora_adapter_metadata: %s.lora_bias is not supported",
                                parts[part]);
    }
    json_decref(root);
    return ok;
}

void lora_metadata_clear(struct lora_settings settings[LORA_PARTS])
{
    for (size_t part = 0; part < LORA_PARTS; part++)
        json_decref(settings[part].patterns);
}

/* Whether the tensor is of a layer whose name is the pattern or ends with it. */
static bool is_of(const char *tensor, const char *pattern)
{
    size_t length = strlen(pattern);
    for (const char *at = strstr(tensor, pattern); at; at = strstr(at + 1, pattern))
        if ((at == tensor || at[-1] == '.') && strncmp(at + length, ".lora_A", 7) == 0)
            return true;
    return false;
}

double lora_settings_alpha(const struct lora_settings *self, const char *tensor)
{
    const char *pattern;
    json_t *value;
    json_object_foreach(self->patterns, pattern, value)
    {
        if (is_of(tensor, pattern))
            return json_number_value(value);
    }
    return self->alpha;
}
