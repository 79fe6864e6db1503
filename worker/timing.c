#include "worker/timing.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/path.h"

void timing_start(struct gpu *gpu, const struct worker_settings *settings)
{
    struct error error = {0};
    if ((settings->profile || *settings->trace) && !gpu_start_profile(gpu, &error))
        log_warn("no profile: %s", error.text);
}

void timing_show(struct gpu *gpu, const struct worker_settings *settings, size_t index)
{
    struct error error = {0};
    struct profile *profile = gpu ? gpu_profile(gpu) : NULL;
    if (!profile)
        return;
    if (settings->profile && !profile_print(profile, stderr, &error))
        log_warn("no profile: %s", error.text);
    char *path = path_format("%s.%zu", settings->trace, index);
    if (*settings->trace && !profile_write_trace(profile, path, &error))
        log_warn("no trace: %s", error.text);
    free(path);
}
