#include "worker/sd/model_config.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/path.h"

bool model_config_open(struct model_config *self, const char *path, const char *name,
                       struct error *error)
{
    *self = (struct model_config){.name = name};
    struct buffer text = {0};
    if (!path_read(path, (size_t)1 << 20, &text, error)) {
        buffer_clear(&text);
        return error_prefix(error, "%s", name);
    }
    json_error_t where;
    self->root =
        json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &where);
    buffer_clear(&text);
    if (!self->root)
        return error_set_kind(error, ERROR_INPUT, "%s: no valid JSON in line %d: %s",
                              name, where.line, where.text);
    if (!json_is_object(self->root)) {
        json_decref(self->root);
        self->root = NULL;
        return error_set_kind(error, ERROR_INPUT, "%s: holds no JSON object", name);
    }
    return true;
}

bool model_config_close(struct model_config *self, struct error *error)
{
    json_decref(self->root);
    self->root = NULL;
    if (self->failed && error)
        *error = self->error;
    return !self->failed;
}

static void refuse_value(struct model_config *self, const char *key,
                         const json_t *value, const char *why)
{
    if (self->failed)
        return;
    self->failed = true;
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    error_set_kind(&self->error, ERROR_INPUT, "%s: %s is %.80s; %s", self->name, key,
                   text ? text : "missing", why);
    free(text);
}

void model_config_refuse(struct model_config *self, const char *key, const char *format,
                         ...)
{
    char why[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    refuse_value(self, key, json_object_get(self->root, key), why);
}

bool model_config_named(const struct model_config *self, const char *key)
{
    return json_object_get(self->root, key) != NULL;
}

bool model_config_has(const struct model_config *self, const char *key)
{
    const json_t *value = json_object_get(self->root, key);
    return value && !json_is_null(value);
}

void model_config_default(struct model_config *self, const char *key, const char *json)
{
    if (!model_config_named(self, key))
        json_object_set_new(self->root, key, json_loads(json, JSON_DECODE_ANY, NULL));
}

static size_t size_of(struct model_config *self, const char *key, const json_t *value,
                      size_t fallback, size_t most)
{
    if (!value || json_is_null(value))
        return fallback;
    json_int_t number = json_integer_value(value);
    if (json_is_integer(value) && number >= 1 && (uintmax_t)number <= most)
        return (size_t)number;
    char why[100];
    snprintf(why, sizeof why, "expected a whole number from 1 to %zu", most);
    refuse_value(self, key, value, why);
    return fallback;
}

size_t model_config_size(struct model_config *self, const char *key, size_t fallback,
                         size_t most)
{
    return size_of(self, key, json_object_get(self->root, key), fallback, most);
}

static double number_of(struct model_config *self, const char *key, const json_t *value,
                        double fallback, double least, double most)
{
    if (!value || json_is_null(value))
        return fallback;
    double number = json_number_value(value);
    if (json_is_number(value) && number >= least && number <= most)
        return number;
    model_config_refuse(self, key, "expected a number from %g to %g", least, most);
    return fallback;
}

double model_config_number(struct model_config *self, const char *key, double fallback,
                           double least, double most)
{
    return number_of(self, key, json_object_get(self->root, key), fallback, least,
                     most);
}

bool model_config_numbers(struct model_config *self, const char *key, double least,
                          double most, double *values, size_t count)
{
    const json_t *list = json_object_get(self->root, key);
    if (!list || json_is_null(list))
        return false;
    if (json_array_size(list) != count) {
        model_config_refuse(self, key, "expected a list of %zu numbers", count);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        values[i] = number_of(self, key, json_array_get(list, i), least, least, most);
    return true;
}

enum activation model_config_activation(struct model_config *self, const char *key,
                                        const char *fallback)
{
    static const struct {
        const char *name;
        enum activation activation;
    } known[] = {{"silu", ACTIVATION_SILU},
                 {"swish", ACTIVATION_SILU},
                 {"mish", ACTIVATION_MISH},
                 {"gelu", ACTIVATION_GELU},
                 {"relu", ACTIVATION_RELU}};
    const json_t *value = json_object_get(self->root, key);
    const char *name = value ? json_string_value(value) : fallback;
    if (!fallback && (!value || json_is_null(value)))
        return ACTIVATION_NONE;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (name && strcasecmp(name, known[i].name) == 0)
            return known[i].activation;
    model_config_refuse(self, key, "supported are silu, swish, mish, gelu and relu");
    return ACTIVATION_SILU;
}

static bool bool_of(struct model_config *self, const char *key, const json_t *value,
                    bool fallback)
{
    if (!value || json_is_null(value))
        return fallback;
    if (!json_is_boolean(value))
        refuse_value(self, key, value, "expected true or false");
    return json_is_true(value);
}

bool model_config_bool(struct model_config *self, const char *key, bool fallback)
{
    return bool_of(self, key, json_object_get(self->root, key), fallback);
}

static size_t choice_of(struct model_config *self, const char *key, const json_t *value,
                        const char *text, const char *const *choices)
{
    char why[600] = "supported are";
    for (size_t i = 0; choices[i]; i++) {
        if (text && strcmp(text, choices[i]) == 0)
            return i;
        size_t used = strlen(why);
        snprintf(why + used, sizeof why - used, " %s%s", choices[i],
                 choices[i + 1] ? "," : "");
    }
    refuse_value(self, key, value, why);
    return 0;
}

size_t model_config_choice(struct model_config *self, const char *key,
                           const char *fallback, const char *const *choices)
{
    const json_t *value = json_object_get(self->root, key);
    return choice_of(self, key, value, value ? json_string_value(value) : fallback,
                     choices);
}

/* Entry `i` of a list of `count`, or the value itself when it is no list. */
static const json_t *entry_of(struct model_config *self, const char *key, size_t i,
                              size_t count)
{
    const json_t *value = json_object_get(self->root, key);
    if (!json_is_array(value))
        return value;
    if (json_array_size(value) != count)
        model_config_refuse(self, key, "expected one value or a list of %zu", count);
    return json_array_get(value, i);
}

void model_config_sizes(struct model_config *self, const char *key, size_t fallback,
                        size_t most, size_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = size_of(self, key, entry_of(self, key, i, count), fallback, most);
}

size_t model_config_layer_size(struct model_config *self, const char *key,
                               size_t fallback, size_t most, size_t level,
                               size_t levels, size_t i, size_t layers)
{
    const json_t *value = entry_of(self, key, level, levels);
    if (json_is_array(value) && json_array_size(value) != layers)
        model_config_refuse(self, key, "level %zu has %zu layers", level, layers);
    if (json_is_array(value))
        value = json_array_get(value, i);
    return json_is_integer(value) && !json_integer_value(value)
               ? 0
               : size_of(self, key, value, fallback, most);
}

void model_config_bools(struct model_config *self, const char *key, bool fallback,
                        bool *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = bool_of(self, key, entry_of(self, key, i, count), fallback);
}

size_t model_config_length(struct model_config *self, const char *key, size_t most)
{
    const json_t *value = json_object_get(self->root, key);
    size_t length = json_array_size(value);
    if (json_is_array(value) && length >= 1 && length <= most)
        return length;
    model_config_refuse(self, key, "expected a list of 1 to %zu entries", most);
    return 1;
}

size_t model_config_entry(struct model_config *self, const char *key, size_t i,
                          const char *const *choices)
{
    const json_t *value = json_array_get(json_object_get(self->root, key), i);
    return choice_of(self, key, value, json_string_value(value), choices);
}

void model_config_only(struct model_config *self, const struct model_config_only *table,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(self->root, table[i].key);
        if (!value)
            continue;
        json_t *wanted = json_loads(table[i].json, JSON_DECODE_ANY, NULL);
        bool same = json_is_number(value) && json_is_number(wanted)
                        ? json_number_value(value) == json_number_value(wanted)
                        : json_equal(value, wanted);
        json_decref(wanted);
        if (!same)
            model_config_refuse(self, table[i].key, "only %s is supported",
                                table[i].json);
    }
}
