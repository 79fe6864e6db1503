/* farm-coordinator: settings, then the loop until it is told to stop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/path.h"
#include "coordinator/addresses.h"
#include "coordinator/backup.h"
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

static bool run(const struct coordinator_settings *settings, struct error *error)
{
    struct coordinator *coordinator = coordinator_new(settings, error);
    bool ok = coordinator && coordinator_run(coordinator, error);
    coordinator_destroy(&coordinator);
    return ok;
}

static bool check_config(const struct coordinator_settings *settings,
                         struct error *error)
{
    struct token named;
    zsock_t *probe = zsock_new(ZMQ_ROUTER);
    zsock_set_ipv6(probe, strchr(settings->bind, '[') != NULL);
    char *address = path_format("%s:*", settings->bind);
    bool can_bind = zmq_bind(zsock_resolve(probe), address) == 0;
    free(address);
    zsock_destroy(&probe);
    if (!can_bind)
        return error_set_kind(error, ERROR_INPUT,
                              "--bind %s is no address of this machine, like "
                              "tcp://0.0.0.0 or tcp://10.0.0.5",
                              settings->bind);
    if (!addresses_list(settings->bind, settings->advertise, (int)settings->port,
                        &named, error))
        return false;
    struct deny *deny = *settings->deny ? deny_open(settings->deny, error) : NULL;
    if (*settings->deny && !deny)
        return false;
    if (deny)
        printf("%s: %zu rules\n", settings->deny, deny_count(deny));
    deny_close(&deny);
    printf("%s, ports %d and %d, state in %s: these settings can be used\n",
           settings->bind, (int)settings->port, (int)settings->bulk_port,
           settings->state);
    return true;
}

/* What to do instead of running. */
static const struct mode {
    const char *option;
    bool (*act)(const struct coordinator_settings *settings, struct error *error);
} modes[] = {
    {"--check", coordinator_check}, {"--check-config", check_config},
    {"--backup", backup_make},      {"--restore", backup_restore},
    {"--repair", backup_repair},
};

/* Takes a mode's option out of the arguments; the last one counts. */
static const struct mode *take_mode(int *argc, char **argv)
{
    static const struct mode usual = {"", run};
    const struct mode *mode = &usual;
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        bool is_mode = false;
        for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++)
            if (strcmp(argv[i], modes[m].option) == 0) {
                mode = &modes[m];
                is_mode = true;
            }
        if (!is_mode)
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    *argc = kept;
    return mode;
}

int main(int argc, char **argv)
{
    struct coordinator_settings settings;
    struct error error = {0};
    const struct mode *mode = take_mode(&argc, argv);
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
    log_open("coordinator", (enum log_level)settings.log,
             (enum log_format)settings.log_format);
    bool ok = mode->act(&settings, &error);
    if (!ok)
        fprintf(stderr, "farm-coordinator: %s\n", error.text);
    config_clear(&coordinator_program, &settings);
    return ok ? EXIT_SUCCESS : exit_of(&error);
}
