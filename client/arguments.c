#include "client/arguments.h"

#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "proto/job/options.h"

const struct flag flags_common[] = {
    {"json", 0, NULL, "print one JSON document (streams: one object a line)"},
    {"farm", 0, "NAME",
     "the joined farm to use; default: $CLFARM_FARM or the only one"},
    {"local", 0, NULL, "use a private farm on this machine, started when needed"},
    {"quiet", 'q', NULL, "no progress"},
    {"help", 'h', NULL, "explain the command"},
    {NULL, 0, NULL, NULL},
};

/* An option that is known: its name and whether a value follows. */
struct known {
    const char *name;
    bool takes;
};

static bool is_named(const struct flag *flag, const char *name, size_t size)
{
    return strlen(flag->name) == size && !memcmp(flag->name, name, size);
}

static bool find_in(const struct flag *flags, const char *name, size_t size,
                    char letter, struct known *found)
{
    for (const struct flag *flag = flags; flag && flag->name; flag++)
        if (letter ? flag->letter == letter : is_named(flag, name, size)) {
            *found = (struct known){flag->name, flag->metavar != NULL};
            return true;
        }
    return false;
}

/* By name, or by letter where that is not 0. */
static bool find(const struct command *command, const char *name, size_t size,
                 char letter, struct known *found)
{
    if (find_in(flags_common, name, size, letter, found) ||
        find_in(command->flags, name, size, letter, found))
        return true;
    for (const struct option *option = options;
         command->makes_jobs && !letter && option->name; option++)
        if (strlen(option->name) == size && !memcmp(option->name, name, size)) {
            *found = (struct known){option->name, option->metavar != NULL};
            return strcmp(option->name, "prompt") != 0;
        }
    return false;
}

static void take(struct arguments *self, const char *name, const char *value)
{
    self->given[self->count++] = (struct argument){name, value};
    self->json = self->json || !strcmp(name, "json");
    self->quiet = self->quiet || !strcmp(name, "quiet");
    self->local = self->local || !strcmp(name, "local");
    if (!strcmp(name, "farm"))
        self->farm = value;
}

static bool unknown(const struct command *command, const char *given,
                    struct error *error)
{
    return error_set_kind(error, ERROR_INPUT,
                          "%s has no option %.*s; `farmctl help %s` lists its options",
                          command->name, (int)strcspn(given, "="), given,
                          command->name);
}

static bool no_value(const char *given, struct error *error)
{
    return error_set_kind(error, ERROR_INPUT, "%s needs a value after it", given);
}

/* --name, --name=value, --name value */
static bool read_long(struct arguments *self, char **argv, int argc, int *at,
                      struct error *error)
{
    const char *given = argv[*at], *name = given + 2;
    size_t size = strcspn(name, "=");
    struct known known;
    if (!find(self->command, name, size, 0, &known))
        return unknown(self->command, given, error);
    const char *value = name[size] ? name + size + 1 : NULL;
    if (!known.takes && value)
        return error_set_kind(error, ERROR_INPUT, "--%s takes no value", known.name);
    if (known.takes && !value && ++*at < argc)
        value = argv[*at];
    if (known.takes && !value)
        return no_value(given, error);
    take(self, known.name, value);
    return true;
}

/* -q, -n 4, -n4; letters without values may stand together */
static bool read_letters(struct arguments *self, char **argv, int argc, int *at,
                         struct error *error)
{
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        struct known known;
        if (!find(self->command, NULL, 0, *letter, &known))
            return unknown(self->command, argv[*at], error);
        if (!known.takes) {
            take(self, known.name, NULL);
            continue;
        }
        if (letter[1])
            take(self, known.name, letter + 1);
        else if (*at + 1 < argc)
            take(self, known.name, argv[++*at]);
        else
            return no_value(argv[*at], error);
        break;
    }
    return true;
}

static bool check_number(const struct arguments *self, struct error *error)
{
    const struct command *command = self->command;
    if (arguments_has(self, "help"))
        return true;
    if (self->rest_count < command->least)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: something is missing; usage: farmctl %s %s",
                              command->name, command->name, command->usage);
    if (self->rest_count > command->most)
        return error_set_kind(
            error, ERROR_INPUT, "%s: \"%s\" is too much; usage: farmctl %s %s",
            command->name, self->rest[command->most], command->name, command->usage);
    return true;
}

bool arguments_read(struct arguments *self, const struct command *command, int argc,
                    char **argv, struct error *error)
{
    *self = (struct arguments){.command = command};
    self->given = calloc((size_t)argc * 8 + 8, sizeof *self->given);
    self->rest = calloc((size_t)argc + 1, sizeof *self->rest);
    if (!self->given || !self->rest)
        abort();
    bool ok = true, only_rest = false;
    for (int at = 1; ok && at < argc; at++) {
        const char *given = argv[at];
        bool negative = given[0] == '-' && given[1] >= '0' && given[1] <= '9';
        if (only_rest || negative || given[0] != '-' || !given[1])
            self->rest[self->rest_count++] = argv[at];
        else if (!strcmp(given, "--"))
            only_rest = true;
        else if (given[1] == '-')
            ok = read_long(self, argv, argc, &at, error);
        else if (strlen(given) > 8)
            ok = unknown(command, given, error);
        else
            ok = read_letters(self, argv, argc, &at, error);
    }
    return ok && check_number(self, error);
}

void arguments_clear(struct arguments *self)
{
    free(self->given);
    free(self->rest);
    *self = (struct arguments){0};
}

const char *arguments_next(const struct arguments *self, const char *name, size_t *at)
{
    while (*at < self->count) {
        const struct argument *argument = &self->given[(*at)++];
        if (!strcmp(argument->name, name))
            return argument->value;
    }
    return NULL;
}

bool arguments_has(const struct arguments *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++) {
        const char *given = self->given[i].name;
        if (given && !strcmp(given, name))
            return true;
    }
    return false;
}

const char *arguments_value(const struct arguments *self, const char *name,
                            const char *fallback)
{
    size_t at = 0;
    for (const char *value; (value = arguments_next(self, name, &at));)
        fallback = value;
    return fallback;
}

bool arguments_number(const struct arguments *self, const char *name, long least,
                      long most, long *value, struct error *error)
{
    const char *text = arguments_value(self, name, NULL);
    if (!text)
        return true;
    char *end = NULL;
    *value = strtol(text, &end, 10);
    if (!*text || *end || text[strspn(text, "0123456789")] || *value < least ||
        *value > most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.40s\" is not a whole number from %ld to %ld",
                              name, text, least, most);
    return true;
}

static bool read_whole(const char *name, const char *text, long least, long most,
                       long *value, struct error *error)
{
    char *end = NULL;
    *value = strtol(text, &end, 10);
    if (*text && !*end && text[strspn(text, "+-0123456789")] == 0 && *value >= least &&
        *value <= most)
        return true;
    return error_set_kind(error, ERROR_INPUT,
                          "%s: \"%.40s\" is not a whole number from %ld to %ld", name,
                          text, least, most);
}

bool argument_priority(const char *text, int32_t *priority, struct error *error)
{
    long value;
    bool ok = read_whole("priority", text, -1000, 1000, &value, error);
    *priority = (int32_t)value;
    return ok;
}

bool argument_steps(const char *text, uint32_t *steps, struct error *error)
{
    long value;
    bool ok = read_whole("checkpoint-every", text, 0, 100000, &value, error);
    *steps = (uint32_t)value;
    return ok;
}
