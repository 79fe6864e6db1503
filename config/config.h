/* Settings of a program: one table, from which loading, --help and the sample file come.
 *
 * A value is looked for, last one wins, in: the table's default; the file
 * $XDG_CONFIG_HOME/clfarm/PROGRAM.conf (or --config FILE, which must exist); the
 * environment (prefix + NAME in capitals, '_' for '-'); the command line (--name value or
 * --name=value; a flag needs no value). A new setting is one row in config/settings.c.
 */
#ifndef FARM_CONFIG_H
#define FARM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

enum setting_type {
    SETTING_TEXT, /* char *, heap, never NULL */
    SETTING_PATH, /* char *, heap; a leading @state, @config or @cache of a default is the
                       XDG folder, ~/ the home folder; relative ones are made absolute */
    SETTING_COUNT,  /* int64_t in least..most */
    SETTING_CHOICE, /* unsigned: position in `choices` */
    SETTING_FLAG,   /* bool: yes or no */
};

struct setting {
    const char *name; /* "lease-ms"; NULL ends a table */
    enum setting_type type;
    size_t offset; /* in the program's struct */
    const char *fallback;
    int64_t least, most;
    const char *choices; /* "debug|info|warn|error" */
    const char *help;    /* one line, no full stop */
};

struct config_program {
    const char *name;        /* "farm-coordinator" */
    const char *synopsis;    /* "[OPTIONS]": what --help shows behind the name */
    const char *purpose;     /* one sentence for --help */
    const char *environment; /* "CLFARM_COORDINATOR_" */
    const struct setting *settings;
};

enum config_result {
    CONFIG_READY, /* *into is filled; config_clear frees it */
    CONFIG_SHOWN, /* --help, --version or --sample was answered on stdout: exit with 0 */
    CONFIG_WRONG, /* *error says which setting, from where: exit with 2 */
};

/* Fills *into (a struct the table's offsets fit). What is no option stays in argv[1] to
 * argv[*argc - 1], in order; "--" ends the options. argc may be NULL: no command line. */
enum config_result config_load(const struct config_program *program, void *into,
                               int *argc, char **argv, struct error *error);
void config_clear(const struct config_program *program, void *settings);

/* A file that sets nothing and says everything: each setting as a comment. */
bool config_sample(const struct config_program *program, struct buffer *into,
                   struct error *error);

#endif
