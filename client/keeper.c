/* A private farm is one session: keeper, coordinator, worker. The keeper starts the
 * coordinator, and the worker once farmctl joined it; starts again what dies (the
 * coordinator at its old address, so that links find it); and ends, worker and all, when
 * the coordinator ends by itself, which it does after a minute without use. Whoever kills
 * the keeper ends the farm too: its children ask for that signal.
 */
#include "client/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/member.h"
#include "proto/places.h"

#define IDLE_S "60"

enum {
    TICK_MS = 100,
    PAUSE_MS = 1000,
    RESTARTS_MOST = 20,
    STOP_MS = 15000,
    LEFT_MS = 15000, /* most that a coordinator goes on after its keeper was killed */
    LEFT_WORKER_MS = 90000, /* and a worker, which finishes its images */
};

struct child {
    pid_t pid;
    const char *log;
    int64_t started;
    int restarts;
};

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    (void)number;
    stopped = 1;
}

static void spawn(struct child *self, const char *state, char *const *argv)
{
    self->started = clock_ms();
    self->pid = fork();
    if (self->pid)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGTERM, SIG_DFL);
    char *path = path_format("%s/%s", state, self->log);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log >= 0) {
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
    }
    close_range(3, ~0U, 0);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "%s: cannot be started\n", argv[0]);
    _exit(127);
}

/* At the port it had before when it is started again, so that links find it. */
static void start_coordinator(struct child *self, const char *state,
                              const char *programs)
{
    struct farm farm;
    char *program = path_format("%s/farm-coordinator", programs);
    const char *colon = self->restarts && farm_load(&farm, state, PLACE_ADDRESS, NULL)
                            ? strrchr(farm.address, ':')
                            : NULL;
    char *port = path_format("%s", colon ? colon + 1 : "0");
    char *argv[] = {program,  "--state", (char *)state, "--bind", "tcp://127.0.0.1",
                    "--port", port,      "--bulk-port", "0",      "--exit-when-idle-s",
                    IDLE_S,   NULL};
    spawn(self, state, argv);
    free(port);
    free(program);
}

/* The farm's port is another after every start: the worker is told. */
static bool tell_address(const char *state, const char *folder)
{
    struct buffer address = {0};
    char *from = path_format("%s/%s", state, PLACE_ADDRESS);
    char *to = path_format("%s/%s", folder, PLACE_FARM);
    bool told = path_read(from, 4096, &address, NULL) &&
                path_write(to, address.data, address.size, 0600, NULL);
    buffer_clear(&address);
    free(to);
    free(from);
    return told;
}

static void start_worker(struct child *self, const char *state, const char *programs)
{
    char *program = path_format("%s/farm-worker", programs);
    char *folder = path_format("%s/worker", state);
    char *depot = path_format("%s/%s", state, PLACE_BLOBS);
    char *argv[] = {program, "--state", folder, "--depot", depot, NULL};
    if (tell_address(state, folder))
        spawn(self, state, argv);
    free(depot);
    free(folder);
    free(program);
}

/* Whether what the keeper before this one left behind, when it was killed, has ended: only
 * one such program runs in `folder`. */
static bool is_free(const char *state, const char *folder)
{
    char *path = path_format("%s/%s" PLACE_LOCK, state, folder);
    int lock = path_lock(path, false, NULL);
    if (lock >= 0)
        close(lock);
    free(path);
    return lock >= 0;
}

/* Whether the child has ended; *status then says how. */
static bool has_ended(struct child *self, int *status)
{
    if (self->pid <= 0 || waitpid(self->pid, status, WNOHANG) != self->pid)
        return false;
    self->pid = 0;
    return true;
}

static void stop(struct child *self)
{
    if (self->pid <= 0)
        return;
    kill(self->pid, SIGTERM);
    for (int64_t end = clock_ms() + STOP_MS; clock_ms() < end; usleep(20000))
        if (has_ended(self, &(int){0}))
            return;
    kill(self->pid, SIGKILL);
    waitpid(self->pid, NULL, 0);
}

static bool may_restart(struct child *self)
{
    return ++self->restarts <= RESTARTS_MOST;
}

/* A worker that ends by itself cannot run here; its log says why. */
static bool note_failure(const char *path, int status)
{
    return !WIFEXITED(status) || !WEXITSTATUS(status) ||
           path_write(path, "", 0, 0600, NULL);
}

static void keep(const char *state, const char *programs)
{
    struct child coordinator = {.log = "coordinator.log"},
                 worker = {.log = "worker.log"};
    char *joined = path_format("%s/%s", state, KEEPER_JOINED);
    char *address = path_format("%s/%s", state, PLACE_ADDRESS);
    char *failed = path_format("%s/%s", state, KEEPER_FAILED);
    int64_t began = clock_ms();
    unlink(failed);
    while (!stopped) {
        int status = 0;
        if (!coordinator.pid && (is_free(state, "") || clock_ms() - began > LEFT_MS))
            start_coordinator(&coordinator, state, programs);
        usleep(TICK_MS * 1000);
        if (has_ended(&coordinator, &status)) {
            bool wanted = WIFEXITED(status) && !WIFSIGNALED(status);
            if (wanted || !may_restart(&coordinator))
                break;
        }
        if (has_ended(&worker, &status) &&
            (!note_failure(failed, status) || !may_restart(&worker)))
            break;
        if (!worker.pid && access(joined, F_OK) == 0 &&
            clock_ms() - worker.started > PAUSE_MS &&
            (is_free(state, "worker/") || clock_ms() - began > LEFT_WORKER_MS))
            start_worker(&worker, state, programs);
    }
    unlink(address); /* nobody finds it while it ends, which may take its worker long */
    stop(&worker);
    stop(&coordinator);
    unlink(address); /* of a coordinator that had just started */
    free(failed);
    free(address);
    free(joined);
}

bool keeper_start(const char *state, const char *programs, int running,
                  struct error *error)
{
    pid_t between = fork();
    if (between < 0)
        return error_set(error, "cannot start the private farm: no process left");
    if (between > 0) {
        waitpid(between, NULL, 0);
        return true;
    }
    setsid();
    if (fork())
        _exit(0);
    int null = open("/dev/null", O_RDWR);
    for (int file = 0; file < 3; file++)
        dup2(null, file);
    dup2(running, 3);
    close_range(4, ~0U, 0);
    struct sigaction action = {.sa_handler = on_stop};
    sigaction(SIGTERM, &action, NULL);
    prctl(PR_SET_NAME, "farmctl-keeper");
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (chdir("/") == 0)
        keep(state, programs);
    _exit(0);
}
