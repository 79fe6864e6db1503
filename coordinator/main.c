/* farm-coordinator: settings, then the loop until it is told to stop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "coordinator/coordinator.h"

/* By kind of error, as farmctl does it; what it cannot name is 1. */
static int exit_of(const struct error *error)
{
    static const int codes[] = {
        [ERROR_INPUT] = 2, [ERROR_NOT_FOUND] = 2, [ERROR_DENIED] = 4};
    size_t kind = (size_t)error->kind;
    int code = kind < sizeof codes / sizeof *codes ? codes[kind] : 0;
    return code ? code : EXIT_FAILURE;
}

/* Takes --check out of the arguments. */
static bool take_check(int *argc, char **argv)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++)
        if (strcmp(argv[i], "--check") != 0)
            argv[kept++] = argv[i];
    bool found = kept < *argc;
    argv[kept] = NULL;
    *argc = kept;
    return found;
}

static bool run(const struct coordinator_settings *settings, struct error *error)
{
    struct coordinator *coordinator = coordinator_new(settings, error);
    bool ok = coordinator && coordinator_run(coordinator, error);
    coordinator_destroy(&coordinator);
    return ok;
}

int main(int argc, char **argv)
{
    struct coordinator_settings settings;
    struct error error = {0};
    bool check = take_check(&argc, argv);
    enum config_result loaded =
        config_load(&coordinator_program, &settings, &argc, argv, &error);
    if (loaded == CONFIG_SHOWN)
        return EXIT_SUCCESS;
    if (loaded == CONFIG_WRONG) {
        fprintf(stderr, "farm-coordinator: %s\n", error.text);
        return exit_of(&error);
    }
    if (argc > 1) {
        fprintf(stderr, "farm-coordinator: \"%s\" is no option; --help lists them\n",
                argv[1]);
        config_clear(&coordinator_program, &settings);
        return 2;
    }
    umask(077);
    log_open("coordinator", (enum log_level)settings.log);
    bool ok = check ? coordinator_check(&settings, &error) : run(&settings, &error);
    if (!ok)
        fprintf(stderr, "farm-coordinator: %s\n", error.text);
    config_clear(&coordinator_program, &settings);
    return ok ? EXIT_SUCCESS : exit_of(&error);
}
