#include "client/manual.h"

#include <stdio.h>
#include <string.h>

#include "client/command.h"
#include "proto/job/options.h"

/* ---- The manual page */

/* Text as roff takes it: a backslash, a hyphen and a dot that begins a line have meanings
 * of their own there. */
static void roff(const char *text)
{
    bool begins = true;
    for (; *text; text++) {
        if (begins && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        begins = *text == '\n';
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void roff_flag(const char *name, char letter, const char *metavar)
{
    printf(".TP\n.B ");
    if (letter)
        printf("\\-%c, ", letter);
    printf("\\-\\-");
    roff(name);
    if (metavar) {
        printf(" \\fI");
        roff(metavar);
        printf("\\fR");
    }
    printf("\n");
}

static void roff_flags(const struct flag *flags)
{
    for (const struct flag *flag = flags; flag && flag->name; flag++) {
        roff_flag(flag->name, flag->letter, flag->metavar);
        roff(flag->help);
        printf("\n");
    }
}

static void roff_options(void)
{
    printf(".SH OPTIONS OF THE PICTURE\nOf the commands that make jobs; any of them "
           "may be an axis.\n");
    for (const struct option *option = options; option->name; option++) {
        if (!strcmp(option->name, "prompt"))
            continue;
        roff_flag(option->name, 0, option->metavar);
        roff(option->help);
        if (*option->fallback && strcmp(option->name, "seed")) {
            printf(" (default ");
            roff(option->fallback);
            printf(")");
        }
        printf("\n");
    }
}

void manual_print(void)
{
    printf(".TH FARMCTL 1 \"\" \"clfarm " FARM_VERSION "\" \"User Commands\"\n"
           ".SH NAME\nfarmctl \\- render Stable Diffusion on a farm of OpenCL "
           "devices\n"
           ".SH SYNOPSIS\n.B farmctl\n.I COMMAND\n[\\fIOPTIONS\\fR]\n"
           ".SH DESCRIPTION\n"
           "JOB is a job's id, the beginning of it, its label, or\n.BR last .\n"
           ".SH COMMANDS\n");
    for (const struct command *const *each = commands; *each; each++) {
        printf(".SS \"");
        roff((*each)->name);
        printf(" ");
        roff((*each)->usage);
        printf("\"\n");
        roff((*each)->help);
        printf(".\n");
        roff_flags((*each)->flags);
    }
    printf(".SH COMMON OPTIONS\n");
    roff_flags(flags_common);
    roff_options();
    printf(".SH EXIT STATUS\n"
           "0 done, 1 the farm says it failed, 2 wrong usage or input, 3 farm "
           "unreachable, 4 not allowed, 130 interrupted.\n"
           ".SH ENVIRONMENT\n.TP\n.B CLFARM_FARM\nthe farm to speak to where "
           "several were joined\n.TP\n.B NO_COLOR\nno colours, whatever its "
           "value\n");
}

/* ---- Completion */

static void words_of_flags(const struct flag *flags)
{
    for (const struct flag *flag = flags; flag && flag->name; flag++)
        printf(" --%s", flag->name);
}

static void words_of_options(void)
{
    for (const struct option *option = options; option->name; option++)
        if (strcmp(option->name, "prompt"))
            printf(" --%s", option->name);
}

/* The names of "name=other name|name|...", one a line: they may hold blanks. */
static void values_of(const char *choices)
{
    while (*choices) {
        fwrite(choices, 1, strcspn(choices, "=|"), stdout);
        putchar('\n');
        choices += strcspn(choices, "|");
        choices += *choices == '|';
    }
}

void completion_print(void)
{
    printf("# bash completion of farmctl " FARM_VERSION "\n"
           "_farmctl() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} words= values= IFS=$'\\n'\n"
           "    local before=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    case $before in\n");
    for (const struct option *option = options; option->name; option++) {
        if (!option->choices)
            continue;
        printf("    --%s) values='", option->name);
        values_of(option->choices);
        printf("' ;;\n");
    }
    printf("    esac\n"
           "    if [ -n \"$values\" ]; then\n"
           "        COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
           "        [ ${#COMPREPLY[@]} -eq 0 ] || "
           "COMPREPLY=($(printf '%%q\\n' \"${COMPREPLY[@]}\"))\n"
           "        return\n"
           "    fi\n"
           "    IFS=$' \\n'\n"
           "    case \"$COMP_CWORD ${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n"
           "    1\\ *) words='");
    for (const struct command *const *each = commands; *each; each++) {
        fwrite((*each)->name, 1, strcspn((*each)->name, " "), stdout);
        putchar(' ');
    }
    printf("' ;;\n");
    for (const struct command *const *each = commands; *each; each++) {
        printf("    *\" %s \"*|*\" %s\") words='", (*each)->name, (*each)->name);
        words_of_flags((*each)->flags);
        words_of_flags(flags_common);
        if ((*each)->makes_jobs)
            words_of_options();
        printf("' ;;\n");
    }
    printf("    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "}\n"
           "complete -o default -F _farmctl farmctl\n");
}
