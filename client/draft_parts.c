#include "client/draft_parts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/arguments.h"
#include "client/deadline.h"
#include "proto/wire.h"

enum { AXIS_FILE_MOST = 1 << 20 };

static void *grow(void *list, size_t count, size_t size)
{
    void *grown = realloc(list, (count + 1) * size);
    if (!grown)
        abort();
    return grown;
}

void draft_add_prompt(Farm__Job *job, const char *prompt)
{
    job->prompts = grow(job->prompts, job->n_prompts, sizeof *job->prompts);
    job->prompts[job->n_prompts++] = wire_own(wire_text(prompt));
}

void draft_clear_seeds(Farm__Job *job)
{
    for (size_t i = 0; i < job->n_seeds; i++)
        farm__seed_range__free_unpacked(job->seeds[i], NULL);
    free(job->seeds);
    job->seeds = NULL;
    job->n_seeds = 0;
}

void draft_set_label(Farm__Job *job, const char *label)
{
    free(job->label.data);
    job->label = wire_own(wire_text(label));
}

void draft_set(Farm__Job *job, const char *name, const char *value)
{
    for (size_t i = 0; i < job->n_settings; i++)
        if (!strcmp((const char *)job->settings[i]->name.data, name)) {
            free(job->settings[i]->value.data);
            job->settings[i]->value = wire_own(wire_text(value));
            return;
        }
    Farm__Setting *setting = grow(NULL, 0, sizeof *setting);
    farm__setting__init(setting);
    setting->name = wire_own(wire_text(name));
    setting->value = wire_own(wire_text(value));
    job->settings = grow(job->settings, job->n_settings, sizeof *job->settings);
    job->settings[job->n_settings++] = setting;
}

static Farm__Axis *add_axis(Farm__Job *job, char *name)
{
    Farm__Axis *axis = grow(NULL, 0, sizeof *axis);
    farm__axis__init(axis);
    axis->name = (ProtobufCBinaryData){strlen(name), (uint8_t *)name};
    job->axes = grow(job->axes, job->n_axes, sizeof *job->axes);
    job->axes[job->n_axes++] = axis;
    return axis;
}

static void add_value(Farm__Axis *axis, const char *value)
{
    axis->values = grow(axis->values, axis->n_values, sizeof *axis->values);
    axis->values[axis->n_values++] = wire_own(wire_text(value));
}

/* Values parted by commas; "\," is a comma. */
static void add_values(Farm__Axis *axis, const char *text)
{
    char *value = path_format("%s", text), *into = value;
    for (const char *at = text;; at++) {
        if (*at == '\\' && at[1] == ',') {
            *into++ = *++at;
        } else if (*at && *at != ',') {
            *into++ = *at;
        } else {
            *into = 0;
            add_value(axis, value);
            into = value;
            if (!*at)
                break;
        }
    }
    free(value);
}

static bool add_lines(Farm__Axis *axis, const char *path, struct error *error)
{
    struct buffer text = {0};
    bool ok = path_read(path, AXIS_FILE_MOST, &text, error);
    if (!ok)
        error->kind = ERROR_INPUT;
    char *rest = (char *)buffer_text(&text);
    for (char *save = NULL, *line = ok ? strtok_r(rest, "\r\n", &save) : NULL; line;
         line = strtok_r(NULL, "\r\n", &save))
        add_value(axis, line);
    buffer_clear(&text);
    return ok;
}

bool draft_add_axis(Farm__Job *job, const char *text, struct error *error)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return error_set_kind(error, ERROR_INPUT,
                              "axis: \"%.60s\" is not KEY=V1,V2 or KEY=@FILE, like "
                              "cfg=4,7,10",
                              text);
    Farm__Axis *axis = add_axis(job, path_format("%.*s", (int)(equals - text), text));
    if (equals[1] == '@')
        return add_lines(axis, equals + 2, error);
    add_values(axis, equals + 1);
    return true;
}

/* A text or number of JSON as an option's text; NULL for anything else. Heap. */
static char *value_text(const json_t *value)
{
    if (json_is_string(value))
        return path_format("%s", json_string_value(value));
    if (json_is_integer(value))
        return path_format("%lld", (long long)json_integer_value(value));
    if (json_is_real(value))
        return path_format("%.17g", json_real_value(value));
    return NULL;
}

/* Calls add with the text of the value, or of each of an array's. */
static bool each_text(const char *key, const json_t *value,
                      bool (*add)(void *owner, const char *text, struct error *error),
                      void *owner, struct error *error)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < count; i++) {
        char *text =
            value_text(json_is_array(value) ? json_array_get(value, i) : value);
        if (!text)
            return error_set_kind(error, ERROR_INPUT,
                                  "\"%.60s\" must be a text, a number, or an array of "
                                  "them",
                                  key);
        bool ok = add(owner, text, error);
        free(text);
        if (!ok)
            return false;
    }
    return true;
}

static bool take_prompt(void *owner, const char *text, struct error *error)
{
    (void)error;
    draft_add_prompt(owner, text);
    return true;
}

static bool take_seed(void *owner, const char *text, struct error *error)
{
    Farm__Job *job = owner;
    return seeds_parse(text, &job->seeds, &job->n_seeds, error);
}

static bool take_axis_value(void *owner, const char *text, struct error *error)
{
    (void)error;
    add_value(owner, text);
    return true;
}

static bool take_axes(Farm__Job *job, const json_t *axes, struct error *error)
{
    const char *name;
    json_t *values;
    if (!json_is_object(axes))
        return error_set_kind(error, ERROR_INPUT,
                              "\"axis\" must be an object of arrays, like "
                              "{\"cfg\": [4, 7]}");
    json_object_foreach((json_t *)axes, name,
                        values) if (!each_text(name, values, take_axis_value,
                                               add_axis(job, path_format("%s", name)),
                                               error)) return false;
    return true;
}

static bool take_flag(const char *key, const json_t *value, protobuf_c_boolean *flag,
                      struct error *error)
{
    *flag = json_is_true(value);
    return json_is_boolean(value) ||
           error_set_kind(error, ERROR_INPUT, "\"%s\" must be true or false", key);
}

static bool take_key(Farm__Job *job, const char *key, const json_t *value,
                     struct error *error)
{
    if (!strcmp(key, "prompt"))
        return each_text(key, value, take_prompt, job, error);
    if (!strcmp(key, "seed"))
        return each_text(key, value, take_seed, job, error);
    if (!strcmp(key, "axis"))
        return take_axes(job, value, error);
    if (!strcmp(key, "latents"))
        return take_flag(key, value, &job->latents, error);
    if (!strcmp(key, "force"))
        return take_flag(key, value, &job->force, error);
    if (!strcmp(key, "same-device-kind"))
        return take_flag(key, value, &job->same_device_kind, error);
    bool label = !strcmp(key, "label"), priority = !strcmp(key, "priority");
    bool every = !strcmp(key, "checkpoint-every"), due = !strcmp(key, "deadline");
    if (!label && !priority && !every && !due && !option_find(key))
        return error_set_kind(
            error, ERROR_INPUT,
            "there is no option \"%.60s\"; `farmctl help render` lists "
            "them",
            key);
    char *text = value_text(value);
    if (!text)
        return error_set_kind(error, ERROR_INPUT, "\"%s\" must be a text or a number",
                              key);
    bool ok = (!priority || argument_priority(text, &job->priority, error)) &&
              (!due || deadline_read(text, clock_unix(), &job->deadline, error)) &&
              (!every || argument_steps(text, &job->checkpoint_every, error));
    if (label)
        draft_set_label(job, text);
    else if (!priority && !every && !due)
        draft_set(job, key, text);
    free(text);
    return ok;
}

bool draft_take_json(Farm__Job *job, const char *text, struct error *error)
{
    json_error_t wrong;
    json_t *whole = json_loads(text, JSON_REJECT_DUPLICATES, &wrong);
    if (!whole)
        return error_set_kind(error, ERROR_INPUT, "line %d: %.200s", wrong.line,
                              wrong.text);
    bool ok = json_is_object(whole) ||
              error_set_kind(error, ERROR_INPUT,
                             "holds no object, like {\"prompt\": \"a red cat\"}");
    const char *key;
    json_t *value;
    json_object_foreach(whole, key, value)
    {
        ok = take_key(job, key, value, error);
        if (!ok)
            break;
    }
    json_decref(whole);
    return ok;
}
