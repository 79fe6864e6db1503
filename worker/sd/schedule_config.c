/* scheduler_config.json and options in text form, through one table of keys.
 *
 * Keys that would change the picture and that no sampler here honours are refused unless
 * they say what happens anyway; keys nobody knows are left alone, as diffusers does.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "worker/sd/schedule.h"

enum { FILE_LIMIT = 1 << 20 };

typedef bool config_setter(struct schedule_config *self, const json_t *value);

static bool set_train_steps(struct schedule_config *self, const json_t *value)
{
    json_int_t steps = json_integer_value(value);
    self->train_steps = (size_t)steps;
    return steps >= 1 && steps <= 100000;
}

static bool set_steps_offset(struct schedule_config *self, const json_t *value)
{
    json_int_t offset = json_integer_value(value);
    self->steps_offset = (int)offset;
    return json_is_integer(value) && offset >= 0 && offset < 100000;
}

static bool set_number(double *into, const json_t *value)
{
    *into = json_number_value(value);
    return json_is_number(value) && *into > 0 && isfinite(*into);
}

static bool set_beta_start(struct schedule_config *self, const json_t *value)
{
    return set_number(&self->beta_start, value) && self->beta_start < 1;
}

static bool set_beta_end(struct schedule_config *self, const json_t *value)
{
    return set_number(&self->beta_end, value) && self->beta_end < 1;
}

static bool set_clip_range(struct schedule_config *self, const json_t *value)
{
    return set_number(&self->clip_sample_range, value);
}

static bool set_flag(int *into, const json_t *value)
{
    *into = json_is_null(value) ? -1 : json_is_true(value);
    return json_is_null(value) || json_is_boolean(value);
}

static bool set_clip_sample(struct schedule_config *self, const json_t *value)
{
    return set_flag(&self->clip_sample, value);
}

static bool set_alpha_to_one(struct schedule_config *self, const json_t *value)
{
    return set_flag(&self->set_alpha_to_one, value);
}

static bool set_skip_prk_steps(struct schedule_config *self, const json_t *value)
{
    return set_flag(&self->skip_prk_steps, value);
}

static bool set_karras(struct schedule_config *self, const json_t *value)
{
    return set_flag(&self->karras, value);
}

static bool set_beta_schedule(struct schedule_config *self, const json_t *value)
{
    const char *name = json_string_value(value);
    if (!name || strlen(name) >= sizeof self->beta_schedule)
        return false;
    strcpy(self->beta_schedule, name);
    return !strcmp(name, "linear") || !strcmp(name, "scaled_linear") ||
           !strcmp(name, "squaredcos_cap_v2");
}

/* The index of the string `value` in the names, -1 when it is none of them. */
static int find_name(const json_t *value, const char *const *names, int count)
{
    const char *name = json_string_value(value);
    for (int i = 0; name && i < count; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static bool set_prediction(struct schedule_config *self, const json_t *value)
{
    static const char *const names[] = {"epsilon", "v_prediction", "sample"};
    int found = find_name(value, names, 3);
    self->prediction = found < 0 ? PREDICTION_EPSILON : (enum prediction)found;
    return found >= 0;
}

static bool set_spacing(struct schedule_config *self, const json_t *value)
{
    static const char *const names[] = {"leading", "linspace", "trailing"};
    int found = find_name(value, names, 3);
    self->spacing = found < 0 ? SPACING_DEFAULT : SPACING_LEADING + (enum spacing)found;
    return found >= 0;
}

/* Keys with a setter are read; the others must have one of the values given as JSON:
 * what the samplers do, or what diffusers reads as that. */
static const struct key {
    const char *name;
    config_setter *set;
    const char *expected;
} keys[] = {
    {"num_train_timesteps", set_train_steps, "1 to 100000"},
    {"beta_start", set_beta_start, "a number between 0 and 1"},
    {"beta_end", set_beta_end, "a number between 0 and 1"},
    {"beta_schedule", set_beta_schedule, "linear, scaled_linear or squaredcos_cap_v2"},
    {"prediction_type", set_prediction, "epsilon, v_prediction or sample"},
    {"timestep_spacing", set_spacing, "leading, linspace or trailing"},
    {"steps_offset", set_steps_offset, "0 or more"},
    {"clip_sample", set_clip_sample, "true or false"},
    {"clip_sample_range", set_clip_range, "a number above 0"},
    {"set_alpha_to_one", set_alpha_to_one, "true or false"},
    {"skip_prk_steps", set_skip_prk_steps, "true or false"},
    {"use_karras_sigmas", set_karras, "true or false"},
    {"trained_betas", NULL, "null"},
    {"thresholding", NULL, "false"},
    {"rescale_betas_zero_snr", NULL, "false"},
    {"use_exponential_sigmas", NULL, "false"},
    {"use_beta_sigmas", NULL, "false"},
    {"use_lu_lambdas", NULL, "false"},
    {"use_flow_sigmas", NULL, "false"},
    {"euler_at_final", NULL, "false"},
    {"interpolation_type", NULL, "\"linear\""},
    {"timestep_type", NULL, "\"discrete\""},
    {"final_sigmas_type", NULL, "\"zero\""},
    {"algorithm_type", NULL, "\"dpmsolver++\" or \"deis\""},
    {"solver_type", NULL, "\"midpoint\" or \"bh1\" or \"bh2\" or \"logrho\""},
    {"solver_order", NULL, "2"},
    {"variance_type", NULL, "null"},
    {"sigma_min", NULL, "null"},
    {"sigma_max", NULL, "null"},
};

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

/* Whether `text` is one of the words of `list`. */
static bool is_among(const char *text, const char *list, const char *between)
{
    size_t length = strlen(text);
    while (list) {
        const char *end = strstr(list, between);
        if (!strncmp(list, text, length) &&
            list + length == (end ? end : strchr(list, 0)))
            return true;
        list = end ? end + strlen(between) : NULL;
    }
    return false;
}

static bool set_key(struct schedule_config *self, const struct key *key,
                    const json_t *value, struct error *error)
{
    char *text =
        json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    bool good = key->set ? key->set(self, value)
                         : text && is_among(text, key->expected, " or ");
    if (!good)
        error_set_kind(error, ERROR_INPUT, "%s %.60s, expected %s", key->name,
                       text ? text : "?", key->expected);
    free(text);
    return good;
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
