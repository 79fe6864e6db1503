/* A scheduler_config.json from outside, and a sampler's name with options: an error, or
 * steps of finite numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/path.h"
#include "worker/sd/sampler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan(const struct schedule_config *config, const char *name, size_t steps)
{
    struct error error;
    struct sampler_run run;
    struct sampler_options options = {
        .schedule = "Automatic", .steps = steps, .eta = 0.5, .strength = 0.6};
    if (!sampler_plan(&run, name, config, &options, &error))
        return;
    for (size_t i = 0; i < run.count; i++) {
        const struct step *step = &run.step[i];
        if (!isfinite(step->timestep) || !isfinite(step->x_x) || !isfinite(step->x_e) ||
            !isfinite(step->x_d) || !isfinite(step->noise) || step->save >= 4 ||
            step->keep >= 4)
            abort();
    }
    sampler_run_clear(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schedule_config config;
    struct error error;
    int file = memfd_create("fuzz", 0);
    char *path = path_format("/proc/self/fd/%d", file);
    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    if (schedule_config_load(&config, path, &error))
        for (const char *const *name = sampler_names(); *name; name++)
            plan(&config, *name, 7);
    free(path);
    close(file);

    char *name = calloc(1, size + 1);
    memcpy(name, data, size);
    schedule_config_defaults(&config);
    plan(&config, name, 3);
    free(name);
    return 0;
}
