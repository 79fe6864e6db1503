#include "coordinator/limits.h"

#include <dirent.h>
#include <inttypes.h>
#include <sodium.h>
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
    char name[64];
    uint64_t unique; /* a name lives some moments longer than its socket */
    randombytes_buf(&unique, sizeof unique);
    snprintf(name, sizeof name, "inproc://door-%016" PRIx64, unique);
    if (zmq_socket_monitor(zsock_resolve(socket), name,
                           ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) != 0)
        return;
    self->monitor = zsock_new(ZMQ_PAIR);
    zsock_set_rcvhwm(self->monitor, 0); /* libzmq's threads wait where it is full */
    zsock_connect(self->monitor, "%s", name);
}

void limits_door_clear(struct limits_door *self)
{
    zsock_destroy(&self->monitor);
}

/* Strangers who knock and do not go on: nobody hears of them but here. */
static void count_broken(struct limits_door *self, int64_t now_ms)
{
    while (self->monitor && zsock_events(self->monitor) & ZMQ_POLLIN) {
        zmsg_t *event = zmsg_recv(self->monitor);
        self->broken += event && zmsg_size(event) == 2;
        zmsg_destroy(&event);
    }
    if (!self->broken || (self->told && now_ms - self->told < TOLD_MS))
        return;
    log_warn("%u connections to %s ended before their handshake did", self->broken,
             self->endpoint);
    self->told = now_ms;
    self->broken = 0;
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
    count_broken(self, now_ms);
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
