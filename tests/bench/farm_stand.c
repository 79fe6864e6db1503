#include "tests/bench/farm_stand.h"

#include <dirent.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"

enum { HEARTBEAT_MS = 2000, CREDIT = 2 };

double farm_stand_cpu(pid_t process)
{
    double seconds = 0;
    char *folder = path_format("/proc/%d/task", (int)process);
    DIR *tasks = opendir(folder);
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char *path = path_format("%s/%s/schedstat", folder, task->d_name);
        FILE *file = fopen(path, "r");
        unsigned long long ran = 0;
        if (file && fscanf(file, "%llu", &ran) == 1)
            seconds += (double)ran / 1e9;
        if (file)
            fclose(file);
        free(path);
    }
    if (tasks)
        closedir(tasks);
    free(folder);
    return seconds;
}

double farm_stand_memory(pid_t process)
{
    char *path = path_format("/proc/%d/status", (int)process), line[256];
    FILE *file = fopen(path, "r");
    double kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtod(line + 6, NULL);
    if (file)
        fclose(file);
    free(path);
    return kib / 1024;
}

zsock_t **farm_stand_stall(struct farm_client *self, size_t count)
{
    zsock_t **sockets = calloc(count + 1, sizeof(zsock_t *));
    for (size_t i = 0; i < count; i++) {
        sockets[i] = zsock_new(ZMQ_DEALER);
        zsock_set_rcvhwm(sockets[i], 1);
        zsock_set_rcvbuf(sockets[i], 4096);
        farm_client_open(self, sockets[i], &self->admin_key, self->farm.address);
        farm_client_greet(self, sockets[i], NULL);
        Farm__Watch watch = FARM__WATCH__INIT;
        watch.credit = UINT32_MAX;
        ENVELOPE(envelope, WATCH, watch, &watch);
        farm_client_send(sockets[i], &envelope, NULL, 0);
    }
    return sockets;
}

void farm_stand_release(zsock_t ***sockets, size_t count)
{
    for (size_t i = 0; *sockets && i < count; i++)
        zsock_destroy(&(*sockets)[i]);
    free(*sockets);
    *sockets = NULL;
}

static void send_alive(struct farm_client *self, zsock_t *socket, bool first)
{
    ProtobufCBinaryData model = wire_bytes(self->model, BLOB_ID);
    Farm__Ready ready = FARM__READY__INIT;
    ready.credit = CREDIT;
    ready.models = &model;
    ready.n_models = ready.batch = 1;
    Farm__Heartbeat heartbeat = FARM__HEARTBEAT__INIT;
    ENVELOPE(offer, READY, ready, &ready);
    ENVELOPE(beat, HEARTBEAT, heartbeat, &heartbeat);
    farm_client_send(socket, first ? &offer : &beat, NULL, 0);
}

double farm_stand_idle(struct farm_client *self, size_t workers, double seconds)
{
    zsock_t **socket = calloc(workers + 1, sizeof(zsock_t *));
    for (size_t w = 0; w < workers; w++) {
        Farm__Device device = FARM__DEVICE__INIT;
        const struct keypair *key = &self->worker_key[w / FARM_CLIENT_DEVICES];
        device.index = (uint32_t)(w % FARM_CLIENT_DEVICES);
        device.name = device.kind = wire_text("none");
        socket[w] = farm_client_connect(self, key, self->farm.address);
        farm_client_greet(self, socket[w], &device);
        send_alive(self, socket[w], true);
    }
    zclock_sleep(HEARTBEAT_MS); /* what greeting costs is over */
    double used = farm_stand_cpu(self->process);
    int64_t began = clock_us(), next = 0;
    while ((double)(clock_us() - began) < seconds * 1e6) {
        size_t w = (size_t)next++ % (workers ? workers : 1);
        if (workers)
            send_alive(self, socket[w], false);
        zclock_sleep(workers ? HEARTBEAT_MS / (int)workers : HEARTBEAT_MS);
    }
    double passed = (double)(clock_us() - began) / 1e6;
    used = farm_stand_cpu(self->process) - used;
    farm_stand_release(&socket, workers);
    return used / passed;
}

static const char fill[] =
    "CREATE TEMP TABLE number (n INTEGER PRIMARY KEY);"
    "WITH RECURSIVE count(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM count WHERE "
    "n + 1 < %zu) INSERT INTO number SELECT n FROM count;"
    "INSERT OR IGNORE INTO blob SELECT randomblob(32), 16384 FROM number;"
    "INSERT INTO result (number, key, png, png_size, latents_size, pixels, seconds, "
    "step_pixels, node, superseded) SELECT (job.number - 1) * %zu + n + 1, "
    "randomblob(32), (SELECT id FROM blob LIMIT 1), 16384, 0, randomblob(32), 1, "
    "81920, "
    "'member', 0 FROM job, number;"
    "INSERT INTO task SELECT job.number, n, 3, (job.number - 1) * %zu + n + 1, '' FROM "
    "job, number;"
    "UPDATE job SET cursor = %zu;";

static void run_sql(struct farm_client *self, const char *sql)
{
    char *path = path_format("%s/farm.db", self->state), *why = NULL;
    sqlite3 *database = NULL;
    struct error error = {0};
    if (sqlite3_open(path, &database) != SQLITE_OK ||
        sqlite3_exec(database, sql, NULL, NULL, &why) != SQLITE_OK) {
        error_set(&error, "%s", why ? why : "it cannot be opened");
        farm_client_die("filling the database", &error);
    }
    sqlite3_close(database);
    free(path);
}

double farm_stand_restart(struct farm_client *self, size_t tasks)
{
    uint8_t job[16];
    for (int j = 0; j < 2; j++) /* a half of each is done, a half queued */
        farm_client_submit(self, tasks, job);
    zsock_destroy(&self->admin);
    kill(self->process, SIGTERM);
    waitpid(self->process, NULL, 0);
    char *sql = path_format(fill, tasks / 2, tasks / 2, tasks / 2, tasks / 2);
    run_sql(self, sql);
    free(sql);
    int64_t began = clock_us();
    farm_client_start(self);
    self->admin = farm_client_connect(self, &self->admin_key, self->farm.address);
    farm_client_greet(self, self->admin, NULL);
    return (double)(clock_us() - began) / 1e6;
}
