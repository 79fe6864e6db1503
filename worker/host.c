/* Why processes: a driver that hangs or crashes takes its process with it. The host itself
 * never loads one; even counting the devices is a child's work. Children hear from the host
 * by a pipe that is their stdin, not by signals, because a terminal's Ctrl-C reaches them
 * too; whatever ends the host ends them.
 */
#include "worker/host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "opencl/gpu.h"
#include "proto/places.h"
#include "worker/device.h"

enum {
    DEVICES_MOST = 64,
    BACK_OFF_FIRST_MS = 500,
    BACK_OFF_LAST_MS = 30000,
    STEADY_MS = 60000, /* a child that lived so long starts with the first back-off */
    GRACE_MS = 10000,  /* a child may take so much longer than it was told */
};

struct child {
    size_t index;
    pid_t pid; /* 0: not running */
    int orders;
    int64_t started, restart_at;
    int64_t back_off;
};

struct host {
    const struct worker_settings *settings;
    char *const *arguments;
    char instance[2 * DEVICE_INSTANCE + 1];
    struct child child[DEVICES_MOST];
    size_t children;
    unsigned asked;  /* how often it was told to end */
    int64_t kill_at; /* when children that still run are killed */
    sigset_t signals;
};

/* -1: listing failed and said why. */
static int count_devices(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct gpu_info *infos = NULL;
        size_t count = 0;
        struct error error = {0};
        if (!gpu_list(&infos, &count, &error)) {
            log_error("%s", error.text);
            _exit(255);
        }
        _exit(count < DEVICES_MOST ? (int)count : DEVICES_MOST);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        log_error("cannot list the OpenCL devices: %s", strerror(errno));
    else if (!WIFEXITED(status))
        log_error("the OpenCL drivers crashed while the devices were listed");
    else if (WEXITSTATUS(status) != 255)
        return WEXITSTATUS(status);
    return -1;
}

/* The setting `devices`: "all", or numbers by commas. */
static bool choose_devices(struct host *self, size_t count, struct error *error)
{
    const char *at = self->settings->devices;
    if (strcmp(at, "all") == 0) {
        for (; self->children < count; self->children++)
            self->child[self->children].index = self->children;
        return true;
    }
    while (self->children < DEVICES_MOST) {
        char *end;
        unsigned long index = strtoul(at, &end, 10);
        if (end == at || (*end && *end != ','))
            return error_set_kind(
                error, ERROR_INPUT,
                "devices is \"%s\", expected all or numbers by commas",
                self->settings->devices);
        if (index >= count)
            return error_set_kind(
                error, ERROR_INPUT,
                "there is no device %lu, the last is %zu; farm-worker "
                "devices lists them",
                index, count - 1);
        self->child[self->children++].index = index;
        if (!*end)
            return true;
        at = end + 1;
    }
    return error_set_kind(error, ERROR_INPUT, "devices names more than %d",
                          DEVICES_MOST);
}

static void become_child(const struct host *self, size_t index, int orders, pid_t host)
{
    size_t count = 0;
    while (self->arguments[count])
        count++;
    char **arguments = calloc(count + 4, sizeof *arguments);
    if (!arguments)
        abort();
    memcpy(arguments, self->arguments, count * sizeof *arguments);
    arguments[count] = (char *)(uintptr_t) "child";
    arguments[count + 1] = path_format("%zu", index);
    arguments[count + 2] = (char *)(uintptr_t)self->instance;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != host)
        _exit(0);
    dup2(orders, STDIN_FILENO);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &self->signals, NULL);
    execv("/proc/self/exe", arguments);
    log_error("cannot start a child: %s", strerror(errno));
    _exit(127);
}

static void start(struct host *self, struct child *child)
{
    int ends[2];
    pid_t host = getpid();
    child->started = clock_ms();
    child->restart_at = child->started + BACK_OFF_LAST_MS;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        log_error("no pipe to a child: %s", strerror(errno));
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_child(self, child->index, ends[0], host);
    close(ends[0]);
    child->orders = ends[1];
    child->pid = pid;
    if (pid < 0) {
        log_error("cannot start a child: %s", strerror(errno));
        close(ends[1]);
        child->pid = 0;
    }
}

static void tell(const struct host *self, char order)
{
    for (size_t i = 0; i < self->children; i++)
        if (self->child[i].pid && write(self->child[i].orders, &order, 1) != 1)
            log_debug("child %zu does not listen any more", self->child[i].index);
}

static void bury(struct child *child, int status, bool restart)
{
    int64_t now = clock_ms();
    close(child->orders);
    child->pid = 0;
    if (now - child->started >= STEADY_MS || !child->back_off)
        child->back_off = BACK_OFF_FIRST_MS;
    child->restart_at = now + child->back_off;
    if (restart && WIFSIGNALED(status))
        log_warn("device %zu's process died (%s), starting it again in %.1f s",
                 child->index, strsignal(WTERMSIG(status)),
                 (double)child->back_off / 1000);
    else if (restart)
        log_warn("device %zu's process ended (status %d), starting it again in %.1f s",
                 child->index, WEXITSTATUS(status), (double)child->back_off / 1000);
    child->back_off *= 2;
    if (child->back_off > BACK_OFF_LAST_MS)
        child->back_off = BACK_OFF_LAST_MS;
}

static void reap(struct host *self)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < self->children; i++)
            if (self->child[i].pid == pid)
                bury(&self->child[i], status, !self->asked);
}

static size_t running(const struct host *self)
{
    size_t count = 0;
    for (size_t i = 0; i < self->children; i++)
        count += self->child[i].pid != 0;
    return count;
}

static void on_end(struct host *self)
{
    self->asked++;
    if (self->asked == 1) {
        log_info("ending: the images under way get %lld s; ask again to end at once",
                 (long long)self->settings->drain_s);
        tell(self, DEVICE_DRAIN);
        self->kill_at = clock_ms() + self->settings->drain_s * 1000 + GRACE_MS;
    } else {
        tell(self, DEVICE_QUIT);
        self->kill_at = clock_ms() + GRACE_MS;
    }
}

/* Waits for a signal until the next thing is due. */
static void wait_for_something(struct host *self)
{
    int64_t now = clock_ms(), until = now + 60000;
    for (size_t i = 0; i < self->children && !self->asked; i++)
        if (!self->child[i].pid && self->child[i].restart_at < until)
            until = self->child[i].restart_at;
    if (self->asked && self->kill_at < until)
        until = self->kill_at;
    int64_t left = until > now ? until - now : 0;
    struct timespec patience = {left / 1000, left % 1000 * 1000000};
    int got = sigtimedwait(&self->signals, NULL, &patience);
    if (got == SIGTERM || got == SIGINT || got == SIGHUP)
        on_end(self);
}

static void run(struct host *self)
{
    do {
        int64_t now = clock_ms();
        for (size_t i = 0; i < self->children; i++) {
            struct child *child = &self->child[i];
            if (!child->pid && !self->asked && now >= child->restart_at)
                start(self, child);
            if (child->pid && self->asked && now >= self->kill_at)
                kill(child->pid, SIGKILL);
        }
        wait_for_something(self);
        reap(self);
    } while (!self->asked || running(self));
}

static bool prepare(struct host *self, int *lock, struct error *error)
{
    char *path = path_format("%s/" PLACE_LOCK, self->settings->state);
    *lock = path_lock(path, false, NULL);
    free(path);
    if (*lock < 0)
        return error_set_kind(
            error, ERROR_BUSY,
            "another farm-worker runs with %s; --state gives this one "
            "a folder of its own",
            self->settings->state);
    int count = count_devices();
    if (count < 0)
        return error_set(error, "without a list of devices there is nothing to run");
    if (count == 0)
        return error_set_kind(
            error, ERROR_NOT_FOUND,
            "no OpenCL device here: install your GPU's OpenCL driver, or "
            "pocl-opencl-icd to use the processor");
    uint8_t instance[DEVICE_INSTANCE];
    randombytes_buf(instance, sizeof instance);
    sodium_bin2hex(self->instance, sizeof self->instance, instance, sizeof instance);
    return choose_devices(self, (size_t)count, error);
}

int host_run(const struct worker_settings *settings, char *const *arguments)
{
    struct host self = {.settings = settings, .arguments = arguments};
    struct error error = {0};
    int lock = -1, status = 2;
    sigemptyset(&self.signals);
    sigaddset(&self.signals, SIGTERM);
    sigaddset(&self.signals, SIGINT);
    sigaddset(&self.signals, SIGHUP);
    sigaddset(&self.signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &self.signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (prepare(&self, &lock, &error)) {
        log_info("%zu OpenCL device%s", self.children, self.children == 1 ? "" : "s");
        run(&self);
        status = 0;
    } else {
        log_error("%s", error.text);
    }
    if (lock >= 0)
        close(lock);
    return status;
}
