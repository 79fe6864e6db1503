/* Help, from the tables of commands and options. */
#ifndef FARM_HELP_H
#define FARM_HELP_H

#include "client/command.h"

/* All commands with a sentence each: on stdout, or on stderr where code is not 0, which
 * both return. */
int help_overview(int code);
int help_command(const struct command *command);

#endif
