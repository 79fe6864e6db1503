#include "worker/sd/lora_metadata.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MOST = 8 << 20 };

/* The header's bytes, heap; NULL where the file cannot be read. */
static char *read_header(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint64_t length = 0;
    char *text = NULL;
    if (file && fread(&length, sizeof length, 1, file) == 1 && length > 0 &&
        length <= HEADER_MOST && (text = malloc((size_t)length)) &&
        fread(text, (size_t)length, 1, file) != 1) {
        free(text);
        text = NULL;
    }
    if (file)
        fclose(file);
    *size = (size_t)length;
    return text;
}

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

bool lora_metadata_read(const char *path, double alpha[LORA_PARTS], struct error *error)
{
    static const char *const parts[LORA_PARTS] = {
        [LORA_TEXT] = "text_encoder", [LORA_TEXT_2] = "text_encoder_2", "unet"};
    size_t size;
    bool ok = true;
    char *text = read_header(path, &size);
    json_t *header = text ? json_loadb(text, size, 0, NULL) : NULL;
    const char *said = json_string_value(json_object_get(
        json_object_get(header, "__metadata__"), "lora_adapter_metadata"));
    json_t *settings = said ? json_loads(said, 0, NULL) : NULL;
    for (size_t part = 0; part < LORA_PARTS; part++) {
        const json_t *value = setting(settings, parts[part], "lora_alpha");
        double number = json_number_value(value);
        ok = ok && check_known(settings, parts[part], error);
        alpha[part] = number > 0 ? number : 0;
    }
    json_decref(settings);
    json_decref(header);
    free(text);
    return ok;
}
