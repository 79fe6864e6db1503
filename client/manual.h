/* What is generated from the tables of commands and options for other programs to read: the
 * manual page and the shell's completion.
 */
#ifndef FARM_MANUAL_H
#define FARM_MANUAL_H

/* farmctl(1), as roff for man, on stdout. */
void manual_print(void);

/* A bash function that completes commands, options and the values an option may have, on
 * stdout; for /etc/bash_completion.d or a shell's start file. */
void completion_print(void);

#endif
