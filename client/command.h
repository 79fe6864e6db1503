/* One command of farmctl: one file cmd_NAME.c with one const entry, listed in commands.c. */
#ifndef FARM_COMMAND_H
#define FARM_COMMAND_H

#include "client/arguments.h"

/* Exit codes, the same for every command. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FARM_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_NOT_ALLOWED = 4,
    EXIT_INTERRUPTED = 130,
};

struct command {
    const char *name;         /* "model add": two words are two arguments */
    const char *usage;        /* what follows the name: "[OPTIONS] PROMPT..." */
    const char *help;         /* one sentence */
    const struct flag *flags; /* NULL: only the common ones */
    bool makes_jobs;          /* takes the options of a render too */
    size_t least, most;       /* number of arguments that are no options */
    int (*run)(const struct arguments *arguments, struct error *error);
};

/* All commands, NULL-terminated; the one the first words of argv name, and how many words
 * that took. NULL when there is none. */
extern const struct command *const commands[];
const struct command *command_find(int argc, char **argv, int *words);

/* The exit code for an error. run() fills error and returns command_failed(error); an exit
 * code other than 0 with an empty error was explained before. */
int command_failed(const struct error *error);

/* Ctrl-C is counted, from interrupt_catch on; forgetting starts again at 0. */
void interrupt_catch(void);
int interrupt_count(void);
void interrupt_forget(void);

#endif
