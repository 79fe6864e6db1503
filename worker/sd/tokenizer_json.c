#include "worker/sd/tokenizer_json.h"

#include <string.h>

#include "base/path.h"

enum { FILE_LIMIT = 64 << 20 };

static json_t *load_object(const char *path, struct error *error)
{
    struct buffer file = {0};
    json_error_t where = {0};
    json_t *object = NULL;
    if (path_read(path, FILE_LIMIT, &file, error)) {
        object = json_loadb((char *)file.data, file.size, 0, &where);
        if (!json_is_object(object)) {
            error_set_kind(error, ERROR_INPUT, "%s: %s (line %d)", path,
                           object ? "expected an object" : where.text, where.line);
            json_decref(object);
            object = NULL;
        }
    }
    buffer_clear(&file);
    return object;
}

/* A line each, as merges.txt has them: from "left right" or ["left", "right"]. */
static bool write_merges(const json_t *merges, const char *path, struct buffer *into,
                         struct error *error)
{
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i);
        const char *whole = json_string_value(merge);
        const char *left = json_string_value(json_array_get(merge, 0));
        const char *right = json_string_value(json_array_get(merge, 1));
        if (!whole && (!left || !right))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: merge %zu: expected two tokens", path, i);
        if (!(whole ? buffer_printf(into, error, "%s\n", whole)
                    : buffer_printf(into, error, "%s %s\n", left, right)))
            return false;
    }
    return true;
}

/* The list of added tokens in the form tokenizer_config.json has them in, where that file
 * does not say it itself. */
static void add_tokens(json_t *config, const json_t *added)
{
    if (json_object_get(config, "added_tokens_decoder"))
        return;
    json_t *decoder = json_object();
    for (size_t i = 0; i < json_array_size(added); i++) {
        json_t *token = json_array_get(added, i);
        const char *content = json_string_value(json_object_get(token, "content"));
        if (content)
            json_object_set(decoder, content, token);
    }
    json_object_set_new(config, "added_tokens_decoder", decoder);
}

struct tokenizer *tokenizer_open_json(const char *path, const char *config,
                                      const char *special, struct error *error)
{
    struct tokenizer *self = NULL;
    struct buffer merges = {0};
    struct tokenizer_parts parts = {.vocabulary_name = path, .merges_name = path};
    json_t *root = load_object(path, error);
    const json_t *model = json_object_get(root, "model");
    if (!root || (config && !(parts.config = load_object(config, error))) ||
        (special && !(parts.special = load_object(special, error))) ||
        !write_merges(json_object_get(model, "merges"), path, &merges, error))
        goto out;
    parts.vocabulary = json_object_get(model, "vocab");
    parts.merges = merges.size ? buffer_text(&merges) : "";
    if (!parts.config)
        parts.config = json_object();
    if (!json_is_object(parts.vocabulary)) {
        error_set_kind(error, ERROR_INPUT, "%s: holds no model with a vocabulary",
                       path);
        goto out;
    }
    add_tokens(parts.config, json_object_get(root, "added_tokens"));
    self = tokenizer_new(&parts, error);
out:
    json_decref(root);
    json_decref(parts.config);
    json_decref(parts.special);
    buffer_clear(&merges);
    return self;
}
