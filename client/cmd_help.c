#include <stdio.h>
#include <string.h>

#include "client/help.h"
#include "client/manual.h"
#include "proto/job/options.h"

int help_overview(int code)
{
    FILE *out = code ? stderr : stdout;
    fprintf(out, "usage: farmctl COMMAND [OPTIONS]\n\n");
    for (const struct command *const *command = commands; *command; command++)
        fprintf(out, "  %-10s %s\n", (*command)->name, (*command)->help);
    fprintf(out,
            "\n`farmctl help COMMAND` explains one. JOB is a job's id, the beginning "
            "of it, its\nlabel, or `last`. Exit: 0 done, 1 the farm says it failed, 2 "
            "wrong usage or input,\n3 farm unreachable, 4 not allowed, 130 "
            "interrupted.\n");
    return code;
}

static void print_flags(const struct flag *flags)
{
    for (const struct flag *flag = flags; flag && flag->name; flag++) {
        char name[60], letter[6] = "    ";
        if (flag->letter)
            snprintf(letter, sizeof letter, "-%c, ", flag->letter);
        snprintf(name, sizeof name, "%s--%s %s", letter, flag->name,
                 flag->metavar ? flag->metavar : "");
        printf("  %-26s %s\n", name, flag->help);
    }
}

/* The names of "name=other name|name|...". */
static void print_choices(const char *choices)
{
    const char *between = "; one of ";
    while (*choices) {
        fputs(between, stdout);
        fwrite(choices, 1, strcspn(choices, "=|"), stdout);
        between = ", ";
        choices += strcspn(choices, "|");
        choices += *choices == '|';
    }
}

static void print_options(void)
{
    printf("\nOptions of the picture (any of them may be an axis):\n");
    for (const struct option *option = options; option->name; option++) {
        char name[60];
        if (!strcmp(option->name, "prompt"))
            continue;
        snprintf(name, sizeof name, "    --%s %s", option->name,
                 option->metavar ? option->metavar : "");
        printf("  %-26s %s", name, option->help);
        if (option->type == OPTION_CHOICE || option->type == OPTION_SAMPLER)
            print_choices(option->choices);
        if (*option->fallback && strcmp(option->name, "seed"))
            printf(" (default %s)", option->fallback);
        printf("\n");
    }
}

int help_command(const struct command *command)
{
    printf("usage: farmctl %s %s\n\n%s.\n\nOptions:\n", command->name, command->usage,
           command->help);
    print_flags(command->flags);
    print_flags(flags_common);
    if (command->makes_jobs)
        print_options();
    return EXIT_DONE;
}

static int run(const struct arguments *arguments, struct error *error)
{
    int words;
    bool manual = arguments_has(arguments, "man");
    if (manual || arguments_has(arguments, "completion")) {
        (manual ? manual_print : completion_print)();
        return EXIT_DONE;
    }
    if (!arguments->rest_count)
        return help_overview(EXIT_DONE);
    const struct command *command =
        command_find((int)arguments->rest_count, arguments->rest, &words);
    if (command)
        return help_command(command);
    error_set_kind(error, ERROR_INPUT,
                   "there is no command \"%.60s\"; `farmctl help` lists the commands",
                   arguments->rest[0]);
    return EXIT_USAGE;
}

static const struct flag flags[] = {
    {"man", 0, NULL, "print the manual page, for man"},
    {"completion", 0, NULL, "print completion for bash"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_help;
const struct command cmd_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .help = "list the commands, or explain one",
    .flags = flags,
    .most = 2,
    .run = run,
};
