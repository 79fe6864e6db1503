/* A pattern of PEFT's is a regular expression for the end of a layer's name, from a point or
 * its beginning on; of several that match the first counts. They come with the file: each is
 * given so much work and no more.
 */
#include "worker/sd/lora_metadata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pattern.h"

enum { PATTERNS_MOST = 1024, PATTERN_MOST = 400, WORK_MOST = 100000, HEAP_KIB = 1024 };

struct lora_pattern {
    struct pattern *pattern;
    double alpha;
};

/* "unet." and "lora_alpha" together. */
static json_t *setting(const json_t *settings, const char *part, const char *name)
{
    char key[80];
    snprintf(key, sizeof key, "%s.%s", part, name);
    return json_object_get(settings, key);
}

static bool compile(struct lora_pattern *into, const char *pattern)
{
    char whole[PATTERN_MOST + 40];
    if (strlen(pattern) > PATTERN_MOST)
        return false;
    snprintf(whole, sizeof whole, "(?:.*\\.)?(?:%s)$", pattern);
    into->pattern = pattern_new(whole, PATTERN_OF_NAMES, NULL);
    return into->pattern;
}

static bool read_patterns(struct lora_settings *self, const json_t *patterns,
                          const char *part, struct error *error)
{
    const char *pattern;
    json_t *value;
    if (json_object_size(patterns) > PATTERNS_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "lora_adapter_metadata: %s.alpha_pattern has %zu "
                              "patterns, at most %d are taken",
                              part, json_object_size(patterns), PATTERNS_MOST);
    self->pattern = calloc(json_object_size(patterns) + 1, sizeof *self->pattern);
    if (!self->pattern)
        return error_set_kind(error, ERROR_MEMORY, "no memory for patterns");
    json_object_foreach((json_t *)(uintptr_t)patterns, pattern, value)
    {
        struct lora_pattern *into = &self->pattern[self->patterns];
        if (!json_is_number(value) || !compile(into, pattern))
            return error_set_kind(error, ERROR_INPUT,
                                  "lora_adapter_metadata: %s.alpha_pattern %.100s: "
                                  "expected a pattern of layers' names and a number",
                                  part, pattern);
        into->alpha = json_number_value(value);
        self->patterns++;
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
        settings[part] = (struct lora_settings){
            .alpha = alpha > 0 ? alpha : 0,
            .stabilised = json_is_true(setting(root, parts[part], "use_rslora"))};
        ok = read_patterns(&settings[part], setting(root, parts[part], "alpha_pattern"),
                           parts[part], error);
    }
    json_decref(root);
    return ok;
}

void lora_metadata_clear(struct lora_settings settings[LORA_PARTS])
{
    for (size_t part = 0; part < LORA_PARTS; part++) {
        for (size_t i = 0; i < settings[part].patterns; i++)
            pattern_destroy(&settings[part].pattern[i].pattern);
        free(settings[part].pattern);
    }
}

bool lora_settings_alpha(const struct lora_settings *self, const char *tensor,
                         double *alpha, struct error *error)
{
    const char *point = strchr(tensor, '.'), *layer = point ? point + 1 : tensor;
    const char *end = strstr(layer, ".lora_A");
    *alpha = self->alpha;
    for (size_t i = 0; end && i < self->patterns; i++) {
        struct pattern_meter meter = {.most = WORK_MOST};
        enum pattern_found found = pattern_look(
            self->pattern[i].pattern, layer, (size_t)(end - layer), HEAP_KIB, &meter);
        if (found == PATTERN_FOUND) {
            *alpha = self->pattern[i].alpha;
            return true;
        }
        if (found == PATTERN_UNDECIDED)
            return error_set_kind(error, ERROR_INPUT,
                                  "lora_adapter_metadata: alpha_pattern %zu takes too "
                                  "much work to tell whether it means %.*s",
                                  i + 1, (int)(end - layer), layer);
    }
    return true;
}
