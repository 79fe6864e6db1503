#include "proto/job/options.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "proto/job/files.h"
#include "proto/job/option_kinds.h"

const struct option *option_find(const char *name)
{
    for (const struct option *option = options; option->name; option++)
        if (!strcmp(option->name, name))
            return option;
    return NULL;
}

char *option_text(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    va_end(arguments);
    return text;
}

char *option_copy(const char *text, size_t size)
{
    char *copy = strndup(text, size);
    if (!copy)
        abort();
    return copy;
}

void option_replace(char **field, char *text)
{
    free(*field);
    *field = text;
}

/* Text */

static bool is_utf8(const char *text)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t point;
    for (utf8proc_ssize_t used; *at; at += used)
        if ((used = utf8proc_iterate(at, -1, &point)) <= 0)
            return false;
    return true;
}

static bool set_text(const struct option *option, void *field, const char *value,
                     struct error *error)
{
    size_t size = strlen(value);
    if ((double)size < option->least)
        return error_set_kind(error, ERROR_INPUT, "%s: must not be empty",
                              option->name);
    if ((double)size > option->most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: %zu bytes, at most %.0f are taken", option->name,
                              size, option->most);
    if (!is_utf8(value))
        return error_set_kind(error, ERROR_INPUT, "%s: the text is not UTF-8",
                              option->name);
    option_replace(field, option_copy(value, size));
    return true;
}

static char *get_text(const struct option *option, const void *field)
{
    (void)option;
    const char *text = *(char *const *)field;
    return option_copy(text, strlen(text));
}

/* Counts */

bool option_digits(const char *text, const char *end, uint64_t *value)
{
    *value = 0;
    for (const char *at = text; at < end; at++)
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
            return false;
    return end > text;
}

static bool set_count(const struct option *option, void *field, const char *value,
                      struct error *error)
{
    uint64_t read, least = (uint64_t)option->least;
    uint64_t most = option->most < SEED_MOST ? (uint64_t)option->most : UINT64_MAX;
    if (!option_digits(value, value + strlen(value), &read) || read < least ||
        read > most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not a whole number from %" PRIu64
                              " to %" PRIu64,
                              option->name, value, least, most);
    *(uint64_t *)field = read;
    return true;
}

static char *get_count(const struct option *option, const void *field)
{
    (void)option;
    return option_text("%" PRIu64, *(const uint64_t *)field);
}

/* Numbers */

bool option_set_number(const struct option *option, void *field, const char *value,
                       struct error *error)
{
    char *end = NULL;
    double read = strtod(value, &end);
    /* the set of characters keeps out what strtod takes besides: inf, nan, 0x, blanks */
    if (!*value || *end || value[strspn(value, "0123456789.eE+-")] ||
        !(read >= option->least && read <= option->most))
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not a number from %g to %g",
                              option->name, value, option->least, option->most);
    *(double *)field = read + 0.0; /* -0 is 0 */
    return true;
}

char *option_get_number(const struct option *option, const void *field)
{
    (void)option;
    double value = *(const double *)field;
    for (int precision = 6;; precision++) {
        char *text = option_text("%.*g", precision, value);
        if (precision == 17 || strtod(text, NULL) == value)
            return text;
        free(text);
    }
}

/* Sizes: width, and height behind it; both 0 is the model's own */

bool option_set_size(const struct option *option, void *field, const char *value,
                     struct error *error)
{
    uint64_t *size = field;
    if (!strcmp(value, "auto")) {
        size[0] = size[1] = 0;
        return true;
    }
    uint64_t width, height;
    const char *cross = strchr(value, 'x');
    if (!cross || !option_digits(value, cross, &width) ||
        !option_digits(cross + 1, cross + strlen(cross), &height))
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not WIDTHxHEIGHT, like 512x512",
                              option->name, value);
    uint64_t least = (uint64_t)option->least, most = (uint64_t)option->most;
    if (width < least || height < least || width > most || height > most)
        return error_set_kind(
            error, ERROR_INPUT,
            "%s: \"%.40s\" is out of range: each side has from %" PRIu64 " to %" PRIu64
            " pixels",
            option->name, value, least, most);
    size[0] = width;
    size[1] = height;
    return true;
}

char *option_get_size(const struct option *option, const void *field)
{
    (void)option;
    const uint64_t *size = field;
    if (!size[0] && !size[1])
        return option_text("auto");
    return option_text("%" PRIu64 "x%" PRIu64, size[0], size[1]);
}

/* Points: x, and y behind it */

static bool set_point(const struct option *option, void *field, const char *value,
                      struct error *error)
{
    uint64_t *point = field, most = (uint64_t)option->most, x, y;
    const char *comma = strchr(value, ',');
    if (!comma || !option_digits(value, comma, &x) ||
        !option_digits(comma + 1, comma + strlen(comma), &y) || x > most || y > most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not X,Y, two whole numbers up to "
                              "%" PRIu64,
                              option->name, value, most);
    point[0] = x;
    point[1] = y;
    return true;
}

static char *get_point(const struct option *option, const void *field)
{
    (void)option;
    const uint64_t *point = field;
    return option_text("%" PRIu64 ",%" PRIu64, point[0], point[1]);
}

/* Files: kept in the one form that file_uses_text gives */

static bool set_file(const struct option *option, void *field, const char *value,
                     struct error *error)
{
    struct file_uses uses;
    if (!is_utf8(value))
        return error_set_kind(error, ERROR_INPUT, "%s: the file's name is not UTF-8",
                              option->name);
    if (!file_uses_read(&uses, option, value, error))
        return false;
    option_replace(field, file_uses_text(&uses));
    file_uses_clear(&uses);
    return true;
}

static const struct kind {
    bool (*set)(const struct option *option, void *field, const char *value,
                struct error *error);
    char *(*get)(const struct option *option, const void *field);
    bool owns;
} kinds[] = {
    [OPTION_TEXT] = {set_text, get_text, true},
    [OPTION_COUNT] = {set_count, get_count, false},
    [OPTION_NUMBER] = {option_set_number, option_get_number, false},
    [OPTION_SIZE] = {option_set_size, option_get_size, false},
    [OPTION_POINT] = {set_point, get_point, false},
    [OPTION_CHOICE] = {option_set_choice, get_text, true},
    [OPTION_SAMPLER] = {option_set_sampler, get_text, true},
    [OPTION_VARIATION] = {option_set_variation, option_get_variation, false},
    [OPTION_HIRES] = {option_set_hires, option_get_hires, false},
    [OPTION_FILE] = {set_file, get_text, true},
};

static void *field_of(const struct task *self, const struct option *option)
{
    return (char *)self + option->offset;
}

void task_init(struct task *self)
{
    *self = (struct task){0};
    for (const struct option *option = options; option->name; option++)
        if (option->least <= 0 || *option->fallback)
            kinds[option->type].set(option, field_of(self, option), option->fallback,
                                    NULL);
}

void task_clear(struct task *self)
{
    for (const struct option *option = options; option->name; option++)
        if (kinds[option->type].owns)
            option_replace(field_of(self, option), NULL);
    *self = (struct task){0};
}

void task_copy(struct task *self, const struct task *from)
{
    *self = *from;
    for (const struct option *option = options; option->name; option++)
        if (kinds[option->type].owns) {
            char **text = field_of(self, option);
            *text = *text ? option_copy(*text, strlen(*text)) : NULL;
        }
}

/* "2:Latent:20:0.5": what follows the scale are values of three other options, each of which
 * may be empty. */
static bool set_hires_whole(struct task *self, const char *value, struct error *error)
{
    static const char *const names[] = {"hires", "hires-upscaler", "hires-steps",
                                        "strength"};
    char *text = option_copy(value, strlen(value)), *rest = text;
    struct task changed = {0};
    bool ok = true;
    task_copy(&changed, self);
    for (size_t i = 0; ok && rest; i++) {
        char *part = strsep(&rest, ":");
        if (i == sizeof names / sizeof *names)
            ok = error_set_kind(error, ERROR_INPUT,
                                "hires: \"%.60s\" is more than "
                                "SCALE:UPSCALER:STEPS:STRENGTH",
                                value);
        else if (*part)
            ok = task_set(&changed, names[i], part, error);
    }
    free(text);
    if (ok) {
        struct task before = *self;
        *self = changed;
        changed = before;
    }
    task_clear(&changed);
    return ok;
}

bool task_set(struct task *self, const char *name, const char *value,
              struct error *error)
{
    const struct option *option = option_find(name);
    uint64_t padding;
    if (!option)
        return error_set_kind(error, ERROR_INPUT,
                              "there is no option \"%.60s\"; `farmctl help render` "
                              "lists them",
                              name);
    if (option->type == OPTION_HIRES && strchr(value, ':'))
        return set_hires_whole(self, value, error);
    if (strcmp(name, "inpaint-full-res") == 0 &&
        option_digits(value, value + strlen(value), &padding))
        return task_set(self, "inpaint-padding", value, error) &&
               task_set(self, name, "on", error);
    return kinds[option->type].set(option, field_of(self, option), value, error);
}

bool task_set_bytes(struct task *self, ProtobufCBinaryData name,
                    ProtobufCBinaryData value, struct error *error)
{
    if ((name.len && memchr(name.data, 0, name.len)) ||
        (value.len && memchr(value.data, 0, value.len)))
        return error_set_kind(error, ERROR_INPUT, "an option's text holds a zero");
    char *name_text = option_text("%.*s", (int)name.len, (char *)name.data);
    char *value_text = option_copy(value.len ? (char *)value.data : "", value.len);
    bool ok = task_set(self, name_text, value_text, error);
    free(value_text);
    free(name_text);
    return ok;
}

char *task_get(const struct task *self, const struct option *option)
{
    return kinds[option->type].get(option, field_of(self, option));
}
