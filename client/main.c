/* farmctl: the command line of a farm. Commands stand in commands.c, one file each. */
#include <czmq.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "client/command.h"
#include "client/help.h"

static int fail(const char *text)
{
    fprintf(stderr, "farmctl: %s\n", text);
    return EXIT_USAGE;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct arguments arguments;
    struct error error = {0};
    int code;
    if (!arguments_read(&arguments, command, argc, argv, &error))
        code = EXIT_USAGE;
    else if (arguments_has(&arguments, "help"))
        code = help_command(command);
    else
        code = command->run(&arguments, &error);
    if (code != EXIT_DONE && *error.text)
        fprintf(stderr, "farmctl: %s\n", error.text);
    arguments_clear(&arguments);
    return code;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "C.UTF-8"); /* widths of characters; numbers stay as in C */
    setenv("ZSYS_SIGHANDLER", "false", 1);
    log_open("farmctl", LOG_WARN_LINE, LOG_TEXT);
    interrupt_catch();
    if (argc < 2)
        return help_overview(EXIT_USAGE);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return help_overview(EXIT_DONE);
    if (!strcmp(argv[1], "--version")) {
        puts("farmctl " FARM_VERSION);
        return EXIT_DONE;
    }
    int words;
    const struct command *command = command_find(argc - 1, argv + 1, &words);
    if (!command) {
        struct error error = {0};
        error_set(&error,
                  "there is no command \"%.60s\"; `farmctl help` lists the commands",
                  argv[1]);
        return fail(error.text);
    }
    return run(command, argc - words, argv + words);
}
