/* Any bytes as a settings file, for each program. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "config/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    union {
        struct coordinator_settings coordinator;
        struct worker_settings worker;
        struct client_settings client;
    } settings;
    static const struct config_program *const programs[] = {
        &coordinator_program, &worker_program, &client_program};
    char path[] = "/dev/shm/farm-fuzz-XXXXXX";
    struct error error = {0};
    close(mkstemp(path));
    if (!path_write(path, data, size, 0600, &error))
        abort();
    for (size_t p = 0; p < sizeof programs / sizeof *programs; p++) {
        char *argv[] = {"fuzz", "--config", path, NULL};
        int argc = 3;
        if (config_load(programs[p], &settings, &argc, argv, &error) == CONFIG_READY)
            config_clear(programs[p], &settings);
        else if (!*error.text)
            abort();
    }
    unlink(path);
    return 0;
}
