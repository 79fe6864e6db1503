#include "config/config.h"

#include <ctype.h>
#include <czmq.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/path.h"

enum { FILE_LIMIT = 1 << 20 };

static void *field_of(void *settings, const struct setting *setting)
{
    return (uint8_t *)settings + setting->offset;
}

static bool is_string(const struct setting *setting)
{
    return setting->type == SETTING_TEXT || setting->type == SETTING_PATH;
}

static const struct setting *setting_find(const struct config_program *program,
                                          const char *name, size_t length)
{
    for (const struct setting *s = program->settings; s->name; s++)
        if (strlen(s->name) == length && strncmp(s->name, name, length) == 0)
            return s;
    return NULL;
}

/* "@state/worker" -> "/home/me/.local/state/clfarm/worker" */
static char *expand_path(const char *value)
{
    static const struct {
        const char *name;
        char *(*folder)(void);
    } places[] = {
        {"@state", path_state}, {"@config", path_config}, {"@cache", path_cache}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        size_t length = strlen(places[i].name);
        if (strncmp(value, places[i].name, length) == 0) {
            char *folder = places[i].folder();
            char *path = path_format("%s%s", folder, value + length);
            free(folder);
            return path;
        }
    }
    const char *home = getenv("HOME");
    if (value[0] == '~' && value[1] == '/' && home)
        return path_format("%s%s", home, value + 1);
    char *here = value[0] && value[0] != '/' ? getcwd(NULL, 0) : NULL;
    char *path = here ? path_format("%s/%s", here, value) : path_format("%s", value);
    free(here);
    return path;
}

static bool set_count(int64_t *into, const struct setting *setting, const char *value,
                      struct error *error)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno || end == value || *end || number < setting->least ||
        number > setting->most)
        return error_set_kind(error, ERROR_INPUT,
                              "%s is \"%.60s\", expected a number from %" PRId64
                              " to %" PRId64,
                              setting->name, value, setting->least, setting->most);
    *into = number;
    return true;
}

static bool set_choice(unsigned *into, const struct setting *setting, const char *value,
                       struct error *error)
{
    size_t length = strlen(value);
    unsigned position = 0;
    for (const char *at = setting->choices; at; position++) {
        const char *end = strchrnul(at, '|');
        if ((size_t)(end - at) == length && strncasecmp(at, value, length) == 0) {
            *into = position;
            return true;
        }
        at = *end ? end + 1 : NULL;
    }
    return error_set_kind(error, ERROR_INPUT, "%s is \"%.60s\", expected %s",
                          setting->name, value, setting->choices);
}

static bool set_flag(bool *into, const struct setting *setting, const char *value,
                     struct error *error)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return error_set_kind(error, ERROR_INPUT, "%s is \"%.60s\", expected yes or no",
                              setting->name, value);
    *into = yes;
    return true;
}

static bool set_value(void *settings, const struct setting *setting, const char *value,
                      struct error *error)
{
    void *field = field_of(settings, setting);
    switch (setting->type) {
    case SETTING_COUNT:
        return set_count(field, setting, value, error);
    case SETTING_CHOICE:
        return set_choice(field, setting, value, error);
    case SETTING_FLAG:
        return set_flag(field, setting, value, error);
    default: {
        if (setting->type == SETTING_PATH && !value[0] && setting->fallback[0])
            return error_set_kind(error, ERROR_INPUT, "%s is empty, expected a path",
                                  setting->name);
        char *text = setting->type == SETTING_PATH ? expand_path(value)
                                                   : path_format("%s", value);
        free(*(char **)field);
        *(char **)field = text;
        return true;
    }
    }
}

static bool unknown(const struct config_program *program, const char *name,
                    struct error *error)
{
    return error_set_kind(error, ERROR_INPUT,
                          "there is no setting \"%.60s\"; %s --help lists them", name,
                          program->name);
}

/* zconfig says no more than that something is wrong: each line must be one it takes. */
static bool check_lines(const char *text, size_t size, const char *path,
                        struct error *error)
{
    size_t number = 0, length;
    if (memchr(text, 0, size))
        return error_set_kind(error, ERROR_INPUT, "%s: is no text file", path);
    for (const char *line = text; *line; line += length + (line[length] == '\n')) {
        length = strcspn(line, "\n");
        number++;
        size_t blank = strspn(line, " \t\r"), name = strcspn(line, " =\r\n");
        const char *after = line + name + strspn(line + name, " ");
        if (blank < length && line[blank] != '#' && (!name || *after != '='))
            return error_set_kind(
                error, ERROR_INPUT,
                "%s: line %zu: \"%.*s\" is not of the form `name = value`", path,
                number, (int)(length < 60 ? length : 60), line);
    }
    return true;
}

/* ZPL, the format of zconfig: `name = value` lines and comments. */
static bool load_file(const struct config_program *program, void *settings,
                      const char *path, bool must_exist, struct error *error)
{
    struct buffer text = {0};
    struct error read_error = {0};
    zconfig_t *root = NULL;
    bool ok = false;
    if (!path_read(path, FILE_LIMIT, &text, &read_error)) {
        ok = read_error.kind == ERROR_NOT_FOUND && !must_exist;
        if (!ok && error)
            *error = read_error;
        goto out;
    }
    if (!check_lines(buffer_text(&text), text.size, path, error))
        goto out;
    zsys_set_logstream(stderr); /* stdout is for answers */
    root = zconfig_str_load(buffer_text(&text));
    if (!root) {
        error_set_kind(error, ERROR_INPUT, "%s: not of the form `name = value`", path);
        goto out;
    }
    for (zconfig_t *item = zconfig_child(root); item; item = zconfig_next(item)) {
        const char *name = zconfig_name(item), *value = zconfig_value(item);
        const struct setting *setting = setting_find(program, name, strlen(name));
        if (setting ? !set_value(settings, setting, value ? value : "", error)
                    : !unknown(program, name, error)) {
            error_prefix(error, "%s", path);
            goto out;
        }
    }
    ok = true;
out:
    zconfig_destroy(&root);
    buffer_clear(&text);
    return ok;
}

static bool load_environment(const struct config_program *program, void *settings,
                             struct error *error)
{
    for (const struct setting *s = program->settings; s->name; s++) {
        char *name = path_format("%s%s", program->environment, s->name);
        for (char *c = name; *c; c++)
            *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        const char *value = getenv(name);
        bool ok = !value || set_value(settings, s, value, error) ||
                  error_prefix(error, "%s", name);
        free(name);
        if (!ok)
            return false;
    }
    return true;
}

/* One argument that begins with "--"; *at moves past a value that stood alone. */
static bool take_option(const struct config_program *program, void *settings, int argc,
                        char **argv, int *at, struct error *error)
{
    const char *name = argv[*at] + 2;
    size_t length = strcspn(name, "=");
    const struct setting *setting = setting_find(program, name, length);
    if (!setting)
        return unknown(program, argv[*at], error);
    const char *value = name[length] ? name + length + 1 : NULL;
    if (!value && setting->type == SETTING_FLAG)
        value = "yes";
    if (!value && *at + 1 < argc)
        value = argv[++*at];
    if (!value)
        return error_set_kind(error, ERROR_INPUT, "--%s needs a value", setting->name);
    return set_value(settings, setting, value, error) ||
           error_prefix(error, "--%s", name);
}

static bool load_arguments(const struct config_program *program, void *settings,
                           int *argc, char **argv, struct error *error)
{
    int kept = 1;
    bool options = true;
    for (int i = 1; i < *argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (!options || strncmp(argv[i], "--", 2) != 0)
            argv[kept++] = argv[i];
        else if (!take_option(program, settings, *argc, argv, &i, error))
            return false;
    }
    *argc = kept;
    argv[kept] = NULL;
    return true;
}

static void show_help(const struct config_program *program)
{
    printf("%s %s\n%s\n\n", program->name, program->synopsis, program->purpose);
    for (const struct setting *s = program->settings; s->name; s++) {
        printf("  --%s", s->name);
        if (s->type == SETTING_CHOICE)
            printf(" %s", s->choices);
        else if (s->type == SETTING_COUNT)
            printf(" N");
        else if (s->type != SETTING_FLAG)
            printf(s->type == SETTING_PATH ? " PATH" : " TEXT");
        printf("\n      %s", s->help);
        if (s->type == SETTING_COUNT)
            printf("; %" PRId64 " to %" PRId64, s->least, s->most);
        if (s->fallback[0])
            printf(" [%s]", s->fallback);
        printf("\n");
    }
    printf("  --config FILE\n      settings file instead of %s.conf in the"
           " configuration folder\n"
           "  --sample\n      print such a file\n"
           "  --help, --version\n",
           program->name);
}

/* Whether one of the options that print and end was there, and answered. */
static bool show(const struct config_program *program, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program->name, FARM_VERSION);
        } else if (strcmp(argv[i], "--help") == 0) {
            show_help(program);
        } else if (strcmp(argv[i], "--sample") == 0) {
            struct buffer text = {0};
            config_sample(program, &text, NULL);
            fputs(buffer_text(&text), stdout);
            buffer_clear(&text);
        } else {
            continue;
        }
        return true;
    }
    return false;
}

/* Takes --config FILE or --config=FILE out of the arguments; heap, or NULL. */
static char *take_config(int *argc, char **argv)
{
    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        int used = strncmp(argv[i], "--config=", 9) == 0               ? 1
                   : strcmp(argv[i], "--config") == 0 && i + 1 < *argc ? 2
                                                                       : 0;
        if (!used)
            continue;
        char *path = path_format("%s", used == 1 ? argv[i] + 9 : argv[i + 1]);
        for (int j = i + used; j < *argc; j++)
            argv[j - used] = argv[j];
        *argc -= used;
        return path;
    }
    return NULL;
}

enum config_result config_load(const struct config_program *program, void *into,
                               int *argc, char **argv, struct error *error)
{
    if (argc && show(program, *argc, argv))
        return CONFIG_SHOWN;
    for (const struct setting *s = program->settings; s->name; s++) {
        if (is_string(s))
            *(char **)field_of(into, s) = NULL;
        struct error wrong;
        if (!set_value(into, s, s->fallback, &wrong)) {
            fprintf(stderr, "default of %s\n", wrong.text);
            abort();
        }
    }
    char *named = argc ? take_config(argc, argv) : NULL;
    char *folder = path_config();
    char *path = named ? path_format("%s", named)
                       : path_format("%s/%s.conf", folder, program->name);
    bool ok = load_file(program, into, path, named != NULL, error) &&
              load_environment(program, into, error) &&
              (!argc || load_arguments(program, into, argc, argv, error));
    free(path);
    free(folder);
    free(named);
    if (!ok)
        config_clear(program, into);
    return ok ? CONFIG_READY : CONFIG_WRONG;
}

void config_clear(const struct config_program *program, void *settings)
{
    for (const struct setting *s = program->settings; s->name; s++)
        if (is_string(s)) {
            free(*(char **)field_of(settings, s));
            *(char **)field_of(settings, s) = NULL;
        }
}

bool config_sample(const struct config_program *program, struct buffer *into,
                   struct error *error)
{
    if (!buffer_printf(into, error, "# %s.conf: %s\n", program->name, program->purpose))
        return false;
    for (const struct setting *s = program->settings; s->name; s++) {
        if (!buffer_printf(into, error, "\n# %s\n", s->help))
            return false;
        if (s->type == SETTING_COUNT &&
            !buffer_printf(into, error, "# %" PRId64 " to %" PRId64 "\n", s->least,
                           s->most))
            return false;
        if (s->choices && !buffer_printf(into, error, "# %s\n", s->choices))
            return false;
        if (!buffer_printf(into, error, "# %s = \"%s\"\n", s->name, s->fallback))
            return false;
    }
    return true;
}
