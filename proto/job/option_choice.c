#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/job/option_kinds.h"

/* Choices: "name=other name=...|name|..." */

static char *choice_names(const struct option *option)
{
    char *names = option_copy(option->choices, strlen(option->choices)), *into = names;
    bool other = false;
    for (const char *at = option->choices; *at; at++) {
        other = (other || *at == '=') && *at != '|';
        if (!other)
            *into++ = *at;
    }
    *into = 0;
    char *listed = option_copy("", 0);
    for (char *save = NULL, *name = strtok_r(names, "|", &save); name;
         name = strtok_r(NULL, "|", &save))
        option_replace(&listed,
                       option_text("%s%s%s", listed, *listed ? ", " : "", name));
    free(names);
    return listed;
}

/* The name as the table spells it for one of its spellings of `size` bytes; its size. */
static const char *find_choice(const char *choices, const char *value, size_t size,
                               bool loosely, size_t *found)
{
    const char *name = choices;
    for (const char *at = name; size; at++) {
        size_t length = strcspn(at, "=|");
        if (length == size && !(loosely ? strncasecmp : strncmp)(at, value, size)) {
            *found = strcspn(name, "=|");
            return name;
        }
        at += length;
        if (!*at)
            break;
        if (*at == '|')
            name = at + 1;
    }
    return NULL;
}

/* The first `size` bytes of the value are the choice, the rest is kept. */
static bool set_begin(const struct option *option, void *field, const char *value,
                      size_t size, struct error *error)
{
    size_t found = 0;
    const char *name = find_choice(option->choices, value, size, false, &found);
    if (!name)
        name = find_choice(option->choices, value, size, true, &found);
    if (name) {
        option_replace(
            field, value[size] ? option_text("%.*s%s", (int)found, name, value + size)
                               : option_copy(name, found));
        return true;
    }
    char *names = choice_names(option);
    error_set_kind(error, ERROR_INPUT, "%s: there is no \"%.60s\"; there is %s",
                   option->name, value, names);
    free(names);
    return false;
}

bool option_set_choice(const struct option *option, void *field, const char *value,
                       struct error *error)
{
    return set_begin(option, field, value, strlen(value), error);
}

/* "Class(key=value,key=value)": what is in the brackets is the worker's to judge. */
static bool check_brackets(const struct option *option, const char *text,
                           struct error *error)
{
    enum { MOST = 300 };
    size_t size = strlen(text);
    if (!size ||
        (size <= MOST && text[size - 1] == ')' &&
         strspn(text + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                          "0123456789_-+.,= '\"") == size - 2))
        return true;
    return error_set_kind(error, ERROR_INPUT,
                          "%s: \"%.60s\" is not (key=value,key=value)", option->name,
                          text);
}

/* A1111 of old had the schedule in the name. */
static size_t old_schedule(const char *value, size_t size, const char **schedule)
{
    static const char *const endings[] = {"Karras", "Exponential"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t length = strlen(endings[i]);
        if (size > length + 1 && value[size - length - 1] == ' ' &&
            !strncasecmp(value + size - length, endings[i], length)) {
            *schedule = endings[i];
            return size - length - 1;
        }
    }
    return size;
}

bool option_set_sampler(const struct option *option, void *field, const char *value,
                        struct error *error)
{
    const char *schedule = NULL;
    size_t size = strcspn(value, "(");
    if (!check_brackets(option, value + size, error))
        return false;
    if (value[size])
        return set_begin(option, field, value, size, error);
    char *name = option_copy(value, old_schedule(value, size, &schedule));
    bool ok = set_begin(option, field, name, strlen(name), error);
    free(name);
    if (ok && schedule) {
        struct task *task = (struct task *)((char *)field - option->offset);
        bool is_first = option->offset == offsetof(struct task, sampler);
        option_replace(is_first ? &task->schedule : &task->hires_schedule,
                       option_copy(schedule, strlen(schedule)));
    }
    return ok;
}

/* Variations: a seed, and its share behind it */

struct variation {
    uint64_t seed;
    double strength;
};
static_assert(offsetof(struct task, variation) ==
                  offsetof(struct task, variation_seed) + sizeof(uint64_t),
              "the strength lies behind the seed");

bool option_set_variation(const struct option *option, void *field, const char *value,
                          struct error *error)
{
    struct variation read = {0};
    const char *colon = strchr(value, ':');
    struct option strength = {.name = option->name, .least = 0, .most = 1};
    if (*value && (!colon || !option_digits(value, colon, &read.seed)))
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not SEED:STRENGTH, like 7:0.2",
                              option->name, value);
    if (*value && !option_set_number(&strength, &read.strength, colon + 1, error))
        return false;
    if (!(read.strength > 0))
        read.seed = 0;
    memcpy(field, &read, sizeof read);
    return true;
}

char *option_get_variation(const struct option *option, const void *field)
{
    struct variation value;
    memcpy(&value, field, sizeof value);
    if (!(value.strength > 0))
        return option_copy("", 0);
    char *strength = option_get_number(option, (const char *)field + sizeof(uint64_t));
    char *text = option_text("%" PRIu64 ":%s", value.seed, strength);
    free(strength);
    return text;
}

/* The upscale pass: how many times larger, or the width and the height behind that */

struct hires {
    double scale;
    uint64_t size[2];
};
static_assert(offsetof(struct task, hires_width) ==
                  offsetof(struct task, hires_scale) + offsetof(struct hires, size),
              "the size lies behind the scale");

bool option_set_hires(const struct option *option, void *field, const char *value,
                      struct error *error)
{
    struct hires read = {0};
    struct option scale = {.name = option->name, .least = 1, .most = option->most};
    struct option size = {.name = option->name, .least = 8, .most = 8192};
    bool ok = true;
    if (strchr(value, 'x'))
        ok = option_set_size(&size, read.size, value, error);
    else if (*value)
        ok = option_set_number(&scale, &read.scale, value, error);
    if (ok)
        memcpy(field, &read, sizeof read);
    return ok;
}

char *option_get_hires(const struct option *option, const void *field)
{
    struct hires value;
    memcpy(&value, field, sizeof value);
    if (value.scale > 0)
        return option_get_number(option, &value.scale);
    return value.size[0] ? option_get_size(option, value.size) : option_copy("", 0);
}
