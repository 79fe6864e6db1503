#include "worker/sd/lora_metadata.h"

#include <jansson.h>
#include <stdio.h>

/* "unet." and "lora_alpha" together. */
static const json_t *setting(const json_t *settings, const char *part, const char *name)
{
    char key[80];
    snprintf(key, sizeof key, "%s.%s", part, name);
    return json_object_get(settings, key);
}

static bool check_known(const json_t *settings, const char *part, struct error *error)
{
    static const char *const patterns[] = {"alpha_pattern", "rank_pattern"};
    static const char *const switches[] = {"use_dora", "use_rslora", "lora_bias"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (json_object_size(setting(settings, part, patterns[i])))
            return error_set_kind(error, ERROR_INPUT,
                                  "lora_adapter_metadata: %s.%s is not supported", part,
                                  patterns[i]);
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (json_is_true(setting(settings, part, switches[i])))
            return error_set_kind(error, ERROR_INPUT,
                                  "lora_adapter_metadata: %s.%s is not supported", part,
                                  switches[i]);
    return true;
}

bool lora_metadata_read(const struct tensor_file *file, double alpha[LORA_PARTS],
                        struct error *error)
{
    static const char *const parts[LORA_PARTS] = {
        [LORA_TEXT] = "text_encoder", [LORA_TEXT_2] = "text_encoder_2", "unet"};
    bool ok = true;
    const char *said = tensor_file_metadata(file, "lora_adapter_metadata");
    json_t *settings = said ? json_loads(said, 0, NULL) : NULL;
    for (size_t part = 0; part < LORA_PARTS; part++) {
        const json_t *value = setting(settings, parts[part], "lora_alpha");
        double number = json_number_value(value);
        ok = ok && check_known(settings, parts[part], error);
        alpha[part] = number > 0 ? number : 0;
    }
    json_decref(settings);
    return ok;
}
