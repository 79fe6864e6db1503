#include "client/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/bundled.h"
#include "client/command.h"
#include "client/keeper.h"
#include "proto/places.h"

enum { START_MS = 30000, GREET_MS = 10000, WORKER_TOKEN_S = 600 };

char *local_state(void)
{
    char *base = path_state();
    char *state = path_format("%s/local", base);
    free(base);
    return state;
}

static bool is_file(const char *folder, const char *name)
{
    char *path = path_format("%s/%s", folder, name);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

/* The last line of a program's log, which says why it does not run. */
static bool last_words(const char *state, const char *file, const char *what,
                       struct error *error)
{
    char *path = path_format("%s/%s", state, file);
    struct buffer log = {0};
    const char *line = "it wrote nothing";
    if (path_read(path, 64 << 20, &log, NULL) && log.size) {
        buffer_text(&log);
        if (log.data[log.size - 1] == '\n')
            log.data[log.size - 1] = 0;
        const char *newline = strrchr((char *)log.data, '\n');
        line = newline ? newline + 1 : (char *)log.data;
        const char *program = strstr(line, " error farm-"); /* after the time */
        line = program ? program + strlen(" error ") : line;
    }
    error_set(error, "%s: %.300s (%s)", what, line, path);
    buffer_clear(&log);
    free(path);
    return false;
}

/* Whether a keeper runs; else the lock that says so is taken and given in *running. */
static bool is_running(const char *state, int *running, struct error *error)
{
    char *path = path_format("%s/%s", state, KEEPER_RUNNING);
    *running = path_lock(path, false, error);
    free(path);
    return *running < 0;
}

static bool start(const char *state, int running, bool quiet, struct error *error)
{
    char *programs = bundled_programs();
    char *address = path_format("%s/%s", state, PLACE_ADDRESS);
    bool ok = true;
    if (!is_file(programs, "farm-coordinator") || !is_file(programs, "farm-worker"))
        ok = error_set(error,
                       "farm-coordinator and farm-worker do not lie beside "
                       "farmctl in %s",
                       programs);
    if (ok && !quiet)
        fprintf(stderr, "farmctl: starting the private farm in %s\n", state);
    if (ok)
        unlink(address);
    ok = ok && keeper_start(state, programs, running, error);
    close(running);
    int64_t end = clock_ms() + START_MS;
    while (ok && !is_file(state, PLACE_ADDRESS)) {
        int free_again = -1;
        usleep(20000);
        if (clock_ms() > end || interrupt_count() ||
            !is_running(state, &free_again, NULL)) {
            ok = last_words(state, "coordinator.log", "the private farm does not start",
                            error);
        }
        if (free_again >= 0)
            close(free_again);
    }
    free(address);
    free(programs);
    return ok;
}

static struct session *connect_as_admin(const char *state, struct error *error)
{
    struct farm farm;
    struct keypair own = {0};
    struct joined joined;
    struct token token;
    struct session *session = NULL;
    char *folder = path_format("%s/client", state);
    char *key = path_format("%s/%s", folder, PLACE_KEY);
    char *token_path = path_format("%s/%s", state, PLACE_ADMIN_TOKEN);
    bool ok = farm_load(&farm, state, PLACE_ADDRESS, error);
    struct farm kept;
    if (ok && farm_load(&kept, folder, PLACE_FARM, NULL))
        memcpy(farm.signing_key, kept.signing_key, SIGNING_KEY);
    if (ok && !is_file(folder, PLACE_FARM))
        ok = token_read(token_path, &token, error) &&
             member_join(folder, &token, farm.address, &joined, error);
    if (ok && keypair_load(&own, key, error))
        session = session_open_farm(&farm, &own, folder, GREET_MS, error);
    if (session)
        session_set_local(session);
    keypair_wipe(&own);
    free(token_path);
    free(key);
    free(folder);
    return session;
}

/* Runs `farm-worker --state STATE/worker join -` with the token on its stdin. */
static bool run_join(const char *state, const char *token, struct error *error)
{
    char *programs = bundled_programs();
    char *command = path_format("%s/farm-worker", programs);
    char *folder = path_format("%s/worker", state);
    int ends[2] = {-1, -1}, status = -1;
    bool ok = pipe(ends) == 0;
    pid_t child = ok ? fork() : -1;
    if (!child) {
        dup2(ends[0], STDIN_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        close_range(3, ~0U, 0);
        execl(command, command, "--state", folder, "join", "-", (char *)NULL);
        _exit(127);
    }
    if (child > 0) {
        close(ends[0]);
        ok = write(ends[1], token, strlen(token)) == (ssize_t)strlen(token);
        close(ends[1]);
        ok = waitpid(child, &status, 0) == child && status == 0 && ok;
    }
    if (!ok || child < 0)
        ok = error_set(error,
                       "the private farm's worker could not join (%s join, exit %d)",
                       command, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    free(folder);
    free(command);
    free(programs);
    return ok;
}

static bool join_worker(struct session *session, const char *state, struct error *error)
{
    if (is_file(state, KEEPER_JOINED))
        return true;
    Farm__TokenNew wanted = FARM__TOKEN_NEW__INIT;
    wanted.role = FARM__ROLE__ROLE_WORKER;
    wanted.ttl_s = WORKER_TOKEN_S;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_TOKEN_NEW;
    ask.token_new = &wanted;
    struct message answer = {0};
    if (!session_ask(session, &ask, FARM__ENVELOPE__BODY_TOKEN, &answer, error))
        return false;
    char *token = wire_string(answer.envelope->token->text);
    char *joined = path_format("%s/%s", state, KEEPER_JOINED);
    bool ok = run_join(state, token, error) && path_write(joined, "", 0, 0600, error);
    free(joined);
    free(token);
    message_clear(&answer);
    return ok;
}

/* A farm found while it starts again or ends is waited for, and then started anew. */
static struct session *find_or_start(const char *state, bool quiet, struct error *error)
{
    struct session *session = NULL;
    int64_t end = clock_ms() + START_MS;
    bool again = true;
    while (again) {
        int running;
        struct error trouble = {0};
        bool up = is_running(state, &running, &trouble);
        if (up ? trouble.kind == ERROR_BUSY : start(state, running, quiet, &trouble))
            session = connect_as_admin(state, &trouble);
        again = !session && clock_ms() < end && !interrupt_count() &&
                (trouble.kind == ERROR_UNREACHABLE || trouble.kind == ERROR_NOT_FOUND);
        if (again)
            usleep(20000);
        else if (!session)
            *error = trouble;
    }
    return session;
}

struct session *local_open(bool quiet, struct error *error)
{
    char *state = local_state();
    char *path = path_format("%s/farmctl.lock", state);
    int lock =
        path_make_folders(state, 0700, error) ? path_lock(path, true, error) : -1;
    struct session *session = lock < 0 ? NULL : find_or_start(state, quiet, error);
    if (session &&
        (!join_worker(session, state, error) || !bundled_import(session, true, error)))
        session_close(&session);
    if (lock >= 0)
        close(lock);
    free(path);
    free(state);
    return session;
}

bool local_renders(int64_t since, struct error *error)
{
    char *state = local_state();
    char *failed = path_format("%s/%s", state, KEEPER_FAILED);
    int running = -1;
    struct stat found;
    bool ok = true;
    if (stat(failed, &found) == 0 && found.st_mtime >= since)
        ok = last_words(state, "worker.log", "the private farm's worker does not run",
                        error);
    else if (!is_running(state, &running, NULL))
        ok = error_set(error, "the private farm ended; why is in %s/coordinator.log",
                       state);
    if (running >= 0)
        close(running);
    free(failed);
    free(state);
    return ok;
}
