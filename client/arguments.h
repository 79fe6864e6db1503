/* The command line, read by tables: the flags every command has, the command's own, and for
 * commands that make jobs the options of proto/job/option_table.c. Forms: --name value,
 * --name=value, -n value, -nvalue; options may stand anywhere before a "--". (Not
 * getopt_long: its struct option would take the name of ours, and its messages say less.) */
#ifndef FARM_ARGUMENTS_H
#define FARM_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct flag {
    const char *name;    /* NULL ends a table */
    char letter;         /* 0: none */
    const char *metavar; /* NULL: takes no value */
    const char *help;
};

struct command;

/* What was given, in order; values are borrowed from argv. */
struct argument {
    const char *name, *value;
};

struct arguments {
    const struct command *command;
    struct argument *given;
    size_t count;
    char **rest; /* what is no option */
    size_t rest_count;
    bool json, quiet, local;
    const char *farm;
};

extern const struct flag flags_common[];

/* Reads what follows the command's name. argv[0] is skipped. */
bool arguments_read(struct arguments *self, const struct command *command, int argc,
                    char **argv, struct error *error);
void arguments_clear(struct arguments *self);

/* The last value given for the option, or fallback; whether it was given; the next one
 * from *at on (start with 0), NULL at the end. */
const char *arguments_value(const struct arguments *self, const char *name,
                            const char *fallback);
bool arguments_has(const struct arguments *self, const char *name);
const char *arguments_next(const struct arguments *self, const char *name, size_t *at);

/* "-5": a job's priority, from -1000 to 1000. */
bool argument_priority(const char *text, int32_t *priority, struct error *error);

/* "5": steps between two checkpoints, 0: none; at most 100000. */
bool argument_steps(const char *text, uint32_t *steps, struct error *error);

/* A whole number from least to most, or fallback when it was not given. */
bool arguments_number(const struct arguments *self, const char *name, long least,
                      long most, long *value, struct error *error);

#endif
