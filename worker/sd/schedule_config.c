/* scheduler_config.json and options in text form, through one table of keys.
 *
 * Keys that would change the picture and that no sampler here honours are refused unless
 * they say what happens anyway; keys nobody knows are left alone, as diffusers does.
 */
#include <assert.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "worker/sd/schedule.h"

enum { FILE_LIMIT = 1 << 20 };

enum key_kind {
    KEY_FIXED,  /* has one of the values given as JSON: what the samplers do anyway */
    KEY_FLAG,   /* int: 0, 1; null is absent */
    KEY_COUNT,  /* int from least to most */
    KEY_NUMBER, /* double, between least and most; null is absent */
    KEY_NAME,   /* char [SCHEDULE_NAME]: one of the names expected; null is absent */
    KEY_CHOICE, /* enum: which of the names expected, from `least` on */
};

static const struct key {
    const char *name;
    enum key_kind kind;
    size_t offset;
    double least, most;
    const char *expected; /* names as "a, b or c", JSON as "null or 2" */
} keys[] = {
#define AT(field) offsetof(struct schedule_config, field)
    {"num_train_timesteps", KEY_COUNT, AT(train_steps), 1, 100000, "1 to 100000"},
    {"beta_start", KEY_NUMBER, AT(beta_start), 0, 1, "a number between 0 and 1"},
    {"beta_end", KEY_NUMBER, AT(beta_end), 0, 1, "a number between 0 and 1"},
    {"beta_schedule", KEY_NAME, AT(beta_schedule), 0, 0,
     "linear, scaled_linear or squaredcos_cap_v2"},
    {"prediction_type", KEY_CHOICE, AT(prediction), PREDICTION_EPSILON, 0,
     "epsilon, v_prediction or sample"},
    {"timestep_spacing", KEY_CHOICE, AT(spacing), SPACING_LEADING, 0,
     "leading, linspace or trailing"},
    {"steps_offset", KEY_COUNT, AT(steps_offset), 0, 99999, "0 or more"},
    {"clip_sample", KEY_FLAG, AT(clip_sample), 0, 0, "true or false"},
    {"clip_sample_range", KEY_NUMBER, AT(clip_sample_range), 0, 1e6,
     "a number above 0"},
    {"set_alpha_to_one", KEY_FLAG, AT(set_alpha_to_one), 0, 0, "true or false"},
    {"skip_prk_steps", KEY_FLAG, AT(skip_prk_steps), 0, 0, "true or false"},
    {"use_karras_sigmas", KEY_FLAG, AT(karras), 0, 0, "true or false"},
    {"use_exponential_sigmas", KEY_FLAG, AT(exponential), 0, 0, "true or false"},
    {"use_beta_sigmas", KEY_FLAG, AT(beta), 0, 0, "true or false"},
    {"rescale_betas_zero_snr", KEY_FLAG, AT(zero_snr), 0, 0, "true or false"},
    {"final_sigmas_type", KEY_NAME, AT(final_sigmas), 0, 0, "zero or sigma_min"},
    {"algorithm_type", KEY_NAME, AT(algorithm), 0, 0,
     "dpmsolver, dpmsolver++, sde-dpmsolver, sde-dpmsolver++ or deis"},
    {"solver_type", KEY_NAME, AT(solver), 0, 0, "midpoint, heun, bh1, bh2 or logrho"},
    {"solver_order", KEY_COUNT, AT(solver_order), 1, 3, "1, 2 or 3"},
    {"lower_order_final", KEY_FLAG, AT(lower_order_final), 0, 0, "true or false"},
    {"euler_at_final", KEY_FLAG, AT(euler_at_final), 0, 0, "true or false"},
    {"variance_type", KEY_NAME, AT(variance), 0, 0,
     "fixed_small, fixed_small_log or fixed_large"},
    {"original_inference_steps", KEY_COUNT, AT(original_steps), 1, 100000,
     "1 to 100000"},
    {"timestep_scaling", KEY_NUMBER, AT(timestep_scaling), 0, 1e6, "a number above 0"},
#undef AT
    {"trained_betas", KEY_FIXED, 0, 0, 0, "null"},
    {"lambda_min_clipped", KEY_FIXED, 0, 0, 0, "null"},
    {"thresholding", KEY_FIXED, 0, 0, 0, "false"},
    {"use_lu_lambdas", KEY_FIXED, 0, 0, 0, "false"},
    {"use_flow_sigmas", KEY_FIXED, 0, 0, 0, "false"},
    {"use_dynamic_shifting", KEY_FIXED, 0, 0, 0, "false"},
    {"predict_x0", KEY_FIXED, 0, 0, 0, "true"},
    {"solver_p", KEY_FIXED, 0, 0, 0, "null"},
    {"disable_corrector", KEY_FIXED, 0, 0, 0, "[]"},
    {"interpolation_type", KEY_FIXED, 0, 0, 0, "\"linear\""},
    {"timestep_type", KEY_FIXED, 0, 0, 0, "\"discrete\""},
    {"sigma_min", KEY_FIXED, 0, 0, 0, "null"},
    {"sigma_max", KEY_FIXED, 0, 0, 0, "null"},
};

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

/* Where `text` stands in a list like "a, b or c"; -1: nowhere. */
static int find_word(const char *text, const char *list)
{
    size_t length = strlen(text);
    for (int i = 0; *list; i++) {
        size_t word = 0;
        while (list[word] && strncmp(list + word, ", ", 2) != 0 &&
               strncmp(list + word, " or ", 4) != 0)
            word++;
        if (word == length && !strncmp(list, text, length))
            return i;
        list += word;
        list += *list == ',' ? 2 : *list ? 4 : 0;
    }
    return -1;
}

static bool set_flag(int *into, const json_t *value)
{
    *into = json_is_null(value) ? -1 : json_is_true(value);
    return json_is_null(value) || json_is_boolean(value);
}

static bool set_count(int *into, const struct key *key, const json_t *value)
{
    json_int_t count = json_integer_value(value);
    if (!json_is_integer(value) || count < (json_int_t)key->least ||
        count > (json_int_t)key->most)
        return false;
    *into = (int)count;
    return true;
}

static bool set_number(double *into, const struct key *key, const json_t *value)
{
    if (json_is_null(value))
        return true;
    *into = json_number_value(value);
    return json_is_number(value) && *into > key->least && *into < key->most;
}

static bool set_name(char *into, const struct key *key, const json_t *value)
{
    const char *name = json_is_null(value) ? "" : json_string_value(value);
    if (!name || (!json_is_null(value) && find_word(name, key->expected) < 0))
        return false;
    snprintf(into, SCHEDULE_NAME, "%s", name);
    return true;
}

static bool set_choice(int *into, const struct key *key, const json_t *value)
{
    const char *name = json_string_value(value);
    int found = name ? find_word(name, key->expected) : -1;
    *into = (int)key->least + found;
    return found >= 0;
}

static bool set_value(struct schedule_config *self, const struct key *key,
                      const json_t *value, const char *text)
{
    static_assert(sizeof(enum spacing) == sizeof(int), "choices are stored as int");
    void *field = (char *)self + key->offset;
    switch (key->kind) {
    case KEY_FLAG:
        return set_flag(field, value);
    case KEY_COUNT:
        return set_count(field, key, value);
    case KEY_NUMBER:
        return set_number(field, key, value);
    case KEY_NAME:
        return set_name(field, key, value);
    case KEY_CHOICE:
        return set_choice(field, key, value);
    default:
        return text && find_word(text, key->expected) >= 0;
    }
}

static bool set_key(struct schedule_config *self, const struct key *key,
                    const json_t *value, struct error *error)
{
    char *text =
        json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    bool good = set_value(self, key, value, text);
    if (!good)
        error_set_kind(error, ERROR_INPUT, "%s %.60s, expected %s", key->name,
                       text ? text : "?", key->expected);
    free(text);
    return good;
}

/* Python writes -Infinity, which is no JSON: lambda_min_clipped's way to say none. */
static void blank_infinity(char *text, size_t size)
{
    static const char infinity[] = ": -Infinity", null[] = ":  null    ";
    size_t length = sizeof infinity - 1;
    for (size_t i = 0; i + length <= size; i++)
        if (!memcmp(text + i, infinity, length))
            memcpy(text + i, null, length);
}

bool schedule_config_load(struct schedule_config *self, const char *path,
                          struct error *error)
{
    bool good = false;
    struct buffer file = {0};
    json_t *config = NULL, *value;
    json_error_t where;
    const char *name;
    schedule_config_defaults(self);
    if (!path_read(path, FILE_LIMIT, &file, error))
        goto out;
    blank_infinity((char *)file.data, file.size);
    config = json_loadb((char *)file.data, file.size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(config)) {
        error_set_kind(error, ERROR_INPUT, "%s: %s (line %d)", path,
                       config ? "expected an object" : where.text, where.line);
        goto out;
    }
    json_object_foreach(config, name, value)
    {
        const struct key *key = find_key(name);
        if (key && !set_key(self, key, value, error)) {
            error_prefix(error, "%s", path);
            goto out;
        }
    }
    good = true;
out:
    json_decref(config);
    buffer_clear(&file);
    return good;
}

bool schedule_config_set(struct schedule_config *self, const char *name,
                         const char *text, struct error *error)
{
    const struct key *key = find_key(name);
    if (!key)
        return error_set_kind(error, ERROR_INPUT, "no sampler option %.60s", name);
    json_t *value;
    if (!strcasecmp(text, "true") || !strcasecmp(text, "false"))
        value = json_boolean(!strcasecmp(text, "true"));
    else if (!strcasecmp(text, "none") || !strcasecmp(text, "null"))
        value = json_null();
    else if (!(value = json_loads(text, JSON_DECODE_ANY, NULL)))
        value = json_string(text);
    bool good = value ? set_key(self, key, value, error)
                      : error_set_kind(error, ERROR_INPUT, "%s: no UTF-8", key->name);
    json_decref(value);
    return good;
}
