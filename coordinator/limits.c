#include "coordinator/limits.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

enum {
    BURST_S = 5,
    TOLD_MS = 60000,
    LOOK_MS = 500,
    SHUT_PERCENT = 90,
    OPEN_PERCENT = 70
};

bool limits_allow(struct member *member, int64_t rate, int64_t now_ms)
{
    double most = (double)rate * BURST_S;
    double more = (double)(now_ms - member->filled) * (double)rate / 1000;
    member->tokens = member->filled ? member->tokens + more : most;
    member->filled = now_ms;
    if (member->tokens > most)
        member->tokens = most;
    if (rate && member->tokens < 1)
        return false;
    member->tokens -= 1;
    return true;
}

void limits_charge(struct member *member, int64_t rate, double share)
{
    member->tokens -= (double)rate * BURST_S * share;
}

unsigned limits_offence(struct member *member, int64_t now_ms)
{
    member->offences++;
    if (member->told && now_ms - member->told < TOLD_MS)
        return 0;
    unsigned count = member->offences;
    member->offences = 0;
    member->told = now_ms;
    return count;
}

void limits_door_init(struct limits_door *self, zsock_t *socket)
{
    char *endpoint = zsock_last_endpoint(socket);
    *self = (struct limits_door){0};
    snprintf(self->endpoint, sizeof self->endpoint, "%s", endpoint ? endpoint : "");
    zstr_free(&endpoint);
}

static size_t open_files(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

void limits_mind(struct limits_door *self, zsock_t *socket, int64_t now_ms)
{
    struct rlimit most;
    if (now_ms - self->looked < LOOK_MS || getrlimit(RLIMIT_NOFILE, &most) != 0)
        return;
    self->looked = now_ms;
    size_t percent = open_files() * 100 / (size_t)(most.rlim_cur ? most.rlim_cur : 1);
    if (!self->shut && percent >= SHUT_PERCENT) {
        self->shut = zmq_unbind(zsock_resolve(socket), self->endpoint) == 0;
        log_warn("%zu %% of all files this process may open are: %s takes no new "
                 "connections; raise LimitNOFILE if these are members",
                 percent, self->endpoint);
    } else if (self->shut && percent < OPEN_PERCENT) {
        self->shut = zmq_bind(zsock_resolve(socket), self->endpoint) != 0;
        if (!self->shut)
            log_info("%s takes connections again", self->endpoint);
    }
}

uint64_t limits_memory(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
