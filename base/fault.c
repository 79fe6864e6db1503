#include "base/fault.h"

#ifdef FARM_FAULTS

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"

static bool first_to_make(const char *file, size_t length)
{
    char *path = path_format("%.*s", (int)length, file);
    int made = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    free(path);
    if (made >= 0)
        close(made);
    return made >= 0;
}

bool fault_wanted(const char *name)
{
    const char *at = getenv("FARM_FAULT");
    size_t length = strlen(name);
    while (at && *at) {
        size_t item = strcspn(at, ",");
        if (item == length && strncmp(at, name, length) == 0)
            return true;
        if (item > length && strncmp(at, name, length) == 0 && at[length] == ':')
            return first_to_make(at + length + 1, item - length - 1);
        at += item;
        at += *at == ',';
    }
    return false;
}

void fault_point(const char *name)
{
    if (!fault_wanted(name))
        return;
    log_warn("fault %s: killing this process", name);
    raise(SIGKILL);
}

void fault_delay(const char *name)
{
    const char *at = getenv("FARM_DELAY");
    size_t length = strlen(name);
    if (!at || strncmp(at, name, length) != 0 || at[length] != ':')
        return;
    long ms = strtol(at + length + 1, NULL, 10);
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

#endif
